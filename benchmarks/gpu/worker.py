"""The process that races: one layer in one mode and dtype for each task.

It speaks with `benchmarks.cliffs.child.Child`, as the worker of that search does.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO

import numpy as np

from benchmarks.cliffs.race import race
from benchmarks.cliffs.worker import serve
from benchmarks.gpu.contenders import CONTENDERS, Make, calls, free, set_precision
from benchmarks.layers import from_json
from benchmarks.racing import difference, tolerance
from jconvt._shell.timing import Run

PATIENCE = 90.0
"""Seconds in which a contender must have compiled and run: XLA times algorithms too."""

SECONDS = 300.0
"""For a layer in one mode and dtype, at most, with all that is compiled for it."""


def answer(task: dict[str, Any], events: TextIO) -> None:
    """Race the contenders that the task does not leave out."""

    end = time.monotonic() + task["budget"]

    def tell(**event: Any) -> None:
        print(json.dumps(event), file=events, flush=True)

    def announce(name: str, _: float) -> None:
        tell(trying=name, allowed=max(1.0, min(PATIENCE, end - time.monotonic())))

    set_precision(task["dtype"], task["precision"])
    checked = _checked(task)
    times = race(
        {
            name: partial(checked, make)
            for name, make in CONTENDERS.items()
            if name not in task["without"]
        },
        always=CONTENDERS,
        budget=SECONDS,
        announce=announce,
    )
    free()
    seconds = {name: spent / calls() for name, spent in times.seconds.items()}
    tell(done={"seconds": seconds, "lost": times.lost})


def _checked(task: dict[str, Any]) -> Callable[[Make], Run]:
    """Prepares contenders; one whose values differ from the first one's is an error."""
    layer, dtype = from_json(task["layer"]), task["dtype"]
    # TensorFloat-32 rounds operands as float16 does.
    rounded = (dtype, task["precision"]) == ("float32", "tf32")
    allowed = tolerance(layer, "float16" if rounded else dtype)
    reference: list[np.ndarray] = []

    def prepare(make: Make) -> Run:
        prepared = make(layer, dtype, task["train"])
        found = prepared.result()
        if not reference:
            reference.append(found)
        if wrong := difference(found, reference[0], allowed):
            raise ValueError(wrong)
        return prepared.run

    return prepare


if __name__ == "__main__":
    serve(answer)
