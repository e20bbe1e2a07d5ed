"""Median times of contenders that run in turn, so that drift slows all alike."""

import time
from collections.abc import Callable, Mapping

import numpy as np

Run = Callable[[], object]
"""Runs once and returns when the result is there."""

TURN = 20e-3
"""Seconds that a turn lasts, where runs are short."""

ROUNDS = 5
"""Turns of each contender, at least."""


def race(
    runs: Mapping[str, Run], *, seconds: float = 1.0, rounds: int = ROUNDS
) -> dict[str, float]:
    """Median seconds of each contender.

    Each must have run once before, so that it is compiled. A round gives every
    contender one turn; a turn repeats short runs until it has lasted `TURN`. There are
    at least `rounds` rounds, and more until `seconds` have been spent.
    """
    plans = {name: _plan(run) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    done = 0
    while done < rounds or (time.perf_counter() - start < seconds and done < 200):
        for name, run in runs.items():
            times[name].append(_turn(run, *plans[name]))
        done += 1
    return {name: float(np.median(values)) for name, values in times.items()}


def _plan(run: Run) -> tuple[int, int]:
    """How many runs of a turn warm up, and how many are timed.

    For about 10 ms threads and caches are still those of the contender before, and a
    short run takes up to twice as long. A long run hardly changes by that.
    """
    once = _turn(run, 0, 1)
    if once > 10 * TURN:
        return 0, 1
    once = max(1e-7, min(once, _turn(run, 0, 1), _turn(run, 0, 1)))
    counted = max(1, min(1000, int(TURN / once)))
    return 1 + counted // 2, counted


def _turn(run: Run, warming: int, counted: int) -> float:
    for _ in range(warming):
        run()
    start = time.perf_counter()
    for _ in range(counted):
        run()
    return (time.perf_counter() - start) / counted
