"""The process that races: tasks come in as lines of JSON, and events go out so.

An event says which contender is about to run and how long it may take, so that the
parent knows whom to leave out when this process hangs or dies; the last event of a task
holds the times.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TextIO

from benchmarks.cliffs.contenders import AUTO, NATIVE, TORCH, chosen, contenders
from benchmarks.cliffs.draw import draw
from benchmarks.cliffs.race import race


def answer(task: dict[str, Any], events: TextIO) -> None:
    """Race one layer in one mode, without the contenders that the task leaves out."""

    def tell(**event: Any) -> None:
        print(json.dumps(event), file=events, flush=True)

    drawn = draw(task["seed"], task["number"])
    entrants = contenders(drawn, task["mode"], task["candidates"])
    choice = chosen(drawn, task["mode"]) if task["candidates"] else ""
    times = race(
        {name: c for name, c in entrants.items() if name not in task["without"]},
        always=(AUTO, TORCH, NATIVE, choice),
        budget=task["budget"],
        announce=lambda name, allowed: tell(trying=name, allowed=allowed),
    )
    tell(done=asdict(times) | {"chosen": choice})


def serve(answer: Callable[[dict[str, Any], TextIO], None]) -> None:
    """Answer tasks until there are no more."""
    # Libraries may print; the pipe is for events alone.
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if find_spec("torch") is not None:
        import_module("torch")  # now, so that PyTorch's first run does not pay for it
    print(json.dumps({"ready": True}), file=events, flush=True)
    for line in sys.stdin:
        answer(json.loads(line), events)


if __name__ == "__main__":
    serve(answer)
