"""The process that compiles: a task is one map of one drawn layer.

An event names the form that is about to be compiled and how long it may take; the last
event of a task holds the estimates. What has been compiled is kept in a file, so that
nothing is compiled twice when a process has to be ended.
"""

import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import jax
from jax.sharding import Sharding

from benchmarks.aot.compiling import Compiler
from benchmarks.aot.drawn.entries import entries, forward
from benchmarks.aot.drawn.sample import sample
from benchmarks.aot.kept import Kept
from benchmarks.aot.maps import MAPS
from benchmarks.aot.targets import TARGETS
from benchmarks.cliffs.worker import serve

TARGET = TARGETS["tpu"]


def answer(task: dict[str, Any], events: TextIO) -> None:
    """Compile one map of a layer in every form that the task does not leave out."""

    def tell(**event: Any) -> None:
        print(json.dumps(event), file=events, flush=True)

    form = sample(task["seed"], task["number"])
    if form is None:
        tell(done={"readings": {}, "lost": {}})
        return
    readings: dict[str, dict[str, int]] = {}
    lost: dict[str, str] = {}
    arguments, compiler = form.arguments(_place()), _compiler(task["kept"])
    for entry in entries(form, task["map"]):
        if entry in task["without"]:
            continue
        tell(trying=entry, allowed=task["patience"])
        program = MAPS[task["map"]](forward(form, task["map"], entry))
        try:
            found = compiler(program, arguments)
        except Exception as error:  # an error of one form is a result
            lost[entry] = f"{type(error).__name__}: {error}"[:200]
            continue
        if found is not None and not found.loops:
            readings[entry] = {"cycles": found.cycles, "moved": found.unestimated_bytes}
    jax.clear_caches()
    tell(done={"readings": readings, "lost": lost})


@cache
def _place() -> Sharding:
    return TARGET.place()


@cache
def _compiler(kept: str) -> Compiler:
    return Compiler(Kept(Path(kept), TARGET.versions()))


if __name__ == "__main__":
    # Several of these processes run at once: none of them uses a device.
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    sys.exit(serve(answer))
