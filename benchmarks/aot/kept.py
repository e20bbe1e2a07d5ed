"""Readings stored by program, so that an interrupted run continues where it ended."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from benchmarks.aot.reading import Reading

_READERS = ("hlo.py", "reading.py", "targets.py", "h100.txtpb")
"""What decides, beside the program and the compiler, how its reading comes out."""


class Kept:
    """A file of readings, each by what it follows from.

    That is the program, the compilers' versions, and the files in `_READERS`.
    A line is appended as soon as it is known, so that nothing but the last one is lost
    when the process ends.
    """

    def __init__(self, file: Path, versions: Mapping[str, str]) -> None:
        self._file = file
        readers = [Path(__file__).with_name(name).read_text() for name in _READERS]
        self._salt = json.dumps([*versions.items(), *readers])
        self._found: dict[str, Reading] = {}
        lines = file.read_text().splitlines() if file.exists() else []
        for line in lines:
            try:
                key, values = json.loads(line)
            except json.JSONDecodeError:  # the process ended while it was written
                continue
            self._found[key] = Reading(**values)

    def get(self, program: str) -> Reading | None:
        """The stored reading of the program, or None."""
        return self._found.get(self._key(program))

    def add(self, program: str, found: Reading) -> None:
        """Store the reading of the program."""
        key = self._key(program)
        self._found[key] = found
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps([key, asdict(found)]) + "\n")

    def _key(self, program: str) -> str:
        return sha256((self._salt + program).encode()).hexdigest()
