"""Compiles a function of arrays and reads the program."""

from collections.abc import Sequence
from typing import Any

import jax

from benchmarks.aot.kept import Kept
from benchmarks.aot.maps import Task
from benchmarks.aot.reading import Reading, read


class Compiler:
    """Compiles for where the arguments are; the same program only once."""

    def __init__(self, kept: Kept, only_kept: bool = False) -> None:
        self._kept = kept
        self._only_kept = only_kept

    def __call__(
        self, task: Task, arguments: Sequence[jax.ShapeDtypeStruct]
    ) -> Reading | None:
        """The reading of `task`, compiled for `arguments`; None where it may not be."""

        def program(
            *arrays: jax.Array,
        ) -> Any:  # one name, so that equal ones are equal
            return task(*arrays)

        lowered = jax.jit(program).lower(*arguments)
        text = lowered.as_text()
        found = self._kept.get(text)
        if found is None and not self._only_kept:
            compiled = lowered.compile()
            memory = compiled.memory_analysis()
            temporary = 0 if memory is None else memory.temp_size_in_bytes
            found = read(compiled.as_text() or "", temporary)
            self._kept.add(text, found)
        return found
