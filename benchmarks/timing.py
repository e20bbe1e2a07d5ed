"""Contenders in turn, in one process, warm: medians, so that drift hits all alike."""

import time
from collections.abc import Callable, Mapping

import numpy as np

Run = Callable[[], object]
"""Runs once and returns when the result is there."""


def race(
    runs: Mapping[str, Run], *, seconds: float = 1.0, rounds: int = 5
) -> dict[str, float]:
    """Median seconds of each contender.

    Each has run once before (so it is compiled). A round gives every contender one
    turn; a turn repeats short runs until it has lasted 2 ms. There are at least
    `rounds` rounds, and more until `seconds` have been spent.
    """
    repeats = {name: _repeats(run) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    done = 0
    while done < rounds or (time.perf_counter() - start < seconds and done < 200):
        for name, run in runs.items():
            times[name].append(_turn(run, repeats[name]))
        done += 1
    return {name: float(np.median(values)) for name, values in times.items()}


def _repeats(run: Run) -> int:
    run()
    once = min(_turn(run, 1), _turn(run, 1))
    return max(1, min(1000, int(2e-3 / max(once, 1e-7))))


def _turn(run: Run, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats
