"""The times of one layer's contenders, in bounded time.

Every contender first runs twice: once to compile and warm up, once for a first time.
The contenders that are not far behind then race in turn (`jconvt._shell.timing.race`),
and their medians replace the first times.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from benchmarks.contenders import Unsupported
from jconvt._shell.timing import TURN, Run
from jconvt._shell.timing import race as in_turn

FAR_BEHIND = 20
"""A contender whose first time is so many times the best one's is not repeated."""

ROUNDS = 3
FIRST_SHARE = 0.6
"""Of the time for a layer, what first runs may take; later candidates are not tried."""

PATIENCE = 20.0
"""Seconds that the first contender may take to compile and to run twice."""

COMPILE = 5.0
"""Seconds that a later contender may take to compile, beside two runs that are far
behind."""

LONG = 10.0
"""Seconds: a shorter first call is always repeated, even where the time for a layer is
over. The time of a first call includes compiling, so it must not stand for a run."""

LEAST_SHARE = 0.2
"""Of the time for a layer, what candidates may take even if the others were slow."""

RACING = "all, in turn"
"""What `announce` is told when the race in turn begins."""


@dataclass
class Times:
    """The outcome for one layer.

    Attributes:
      seconds: of each contender that ran: a median, or the first time if that was far
        behind.
      lost: the contenders without a time, and why.
      untried: the candidates for which there was no time.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    untried: int = 0


def race(
    contenders: Mapping[str, Callable[[], Run]],
    *,
    always: Collection[str],
    budget: float,
    announce: Callable[[str, float], None],
) -> Times:
    """Time the contenders within about `budget` seconds.

    The contenders named in `always` are tried however late it is. `announce` is told
    the name of each contender before it runs, and after how many seconds to give it up.
    """
    start, times = time.perf_counter(), Times()
    runs: dict[str, Run] = {}
    began = math.inf  # when the first candidate began
    for name, make in contenders.items():
        now = time.perf_counter() - start
        if name not in always:
            began = min(began, now)
        late = now > FIRST_SHARE * budget and now - began > LEAST_SHARE * budget
        if late and name not in always:
            times.untried += 1
            continue
        announce(name, _patience(times.seconds, budget))
        try:
            runs[name], times.seconds[name] = _first(make, once=max(LONG, budget / 4))
        except Unsupported:
            continue
        except Exception as error:  # an error of one contender is a result
            times.lost[name] = f"{type(error).__name__}: {error}"[:200]
    announce(RACING, PATIENCE + 2 * budget)
    left = budget - (time.perf_counter() - start)
    chosen = _worth_repeating(times.seconds, always, left)
    if chosen:
        again = {name: runs[name] for name in chosen}
        times.seconds |= in_turn(again, seconds=0, rounds=ROUNDS)
    return times


def _patience(seconds: Mapping[str, float], budget: float) -> float:
    """How long the next contender may take, by the first times so far."""
    if not seconds:
        return PATIENCE
    return min(budget / 2, COMPILE + 2 * FAR_BEHIND * min(seconds.values()))


def _first(make: Callable[[], Run], once: float) -> tuple[Run, float]:
    """A warm run, and how long its second call takes.

    If the first call takes longer than `once`, its own time stands for that, though
    compilation is in it.
    """
    run = make()
    start = time.perf_counter()
    run()
    spent = time.perf_counter() - start
    if spent > once:
        return run, spent
    start = time.perf_counter()
    run()
    return run, time.perf_counter() - start


def _worth_repeating(
    seconds: Mapping[str, float], always: Collection[str], left: float
) -> list[str]:
    """The contenders to race: as many as fit in the time left, the fastest first.

    Those in `always` go before the others.
    """
    best = min(seconds.values(), default=0.0)
    near = [name for name, spent in seconds.items() if spent <= FAR_BEHIND * best]
    chosen: list[str] = []
    for name in sorted(near, key=lambda name: (name not in always, seconds[name])):
        # A round gives a short run a turn, half of it to warm up, and one goes ahead.
        cost = (ROUNDS + 1) * max(1.5 * TURN, seconds[name])
        if cost <= left:
            left -= cost
            chosen.append(name)
    return chosen
