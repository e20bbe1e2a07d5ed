"""The file of results: a line of JSON for each layer, mode and environment."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.candidates import problem_of_layer
from benchmarks.cliffs.draw import Drawn
from benchmarks.environment import environment
from benchmarks.layers import Layer

Line = dict[str, Any]

WHERE = ("processor", "isa", "jax", "torch", "commit")
"""What besides the layer and the mode tells lines apart."""


def where() -> dict[str, str]:
    """The processor, its vectors, the versions and the commit of this process."""
    facts = environment()
    isa = _isa(facts["processor"], os.environ.get("XLA_FLAGS", ""))
    return {name: (facts | {"isa": isa}).get(name, "") for name in WHERE}


def _isa(processor: str, flags: str) -> str:
    """The widest vectors that XLA may use: the processor's, or fewer by a flag."""
    limit = re.search(r"--xla_cpu_max_isa=(\w+)", flags)
    if limit:
        return limit[1].lower()
    return processor.rpartition(" ")[2].removesuffix("f")


def line(task: Line, drawn: Drawn, times: Line) -> Line:
    """What is kept of a layer that has raced."""
    names = ("seed", "number", "mode")
    return {
        **{name: task[name] for name in names},
        **where(),
        "layer": asdict(drawn.layer),
        "channels_last": drawn.channels_last,
        "useful": problem_of_layer(drawn.layer, not drawn.channels_last).useful,
        **times,
    }


def key(line: Line) -> tuple[Any, ...]:
    """What a line is about; a search skips what its file has."""
    return tuple(line.get(name, "") for name in ("seed", "number", "mode", *WHERE))


def append(path: Path, line: Line) -> None:
    """Write a line at once, so that an interrupted search loses nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read(paths: Iterable[Path]) -> list[Line]:
    """The lines of several files; a file that does not exist has none.

    The last line of a file whose search was ended may be cut off: it is left out.
    """
    found = []
    for path in paths:
        for text in path.read_text().splitlines() if path.exists() else ():
            try:
                found.append(json.loads(text))
            except json.JSONDecodeError:
                continue
    return found


def layer_of(line: Line) -> Layer:
    """The layer of a line."""
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in line["layer"].items()
    }
    return Layer(**fields)
