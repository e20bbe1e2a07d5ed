"""What may compute a map on a platform, by entries of `Lowerings`, the likely first."""

from collections import Counter
from collections.abc import Callable, Iterable

from jconvt._call.problem import Map, Problem
from jconvt._choice.choose import (
    best_variant,
    candidates,
    choose,
    entry_for,
    estimate,
    work_of,
)
from jconvt._choice.cost import allowed_bytes, seconds
from jconvt._choice.formulation import Formulation
from jconvt._lowerings.table import LOWERINGS

HOPELESS = 5.0
"""What is estimated at more than so many times the least is not timed on a CPU."""


def automatic(which: Map, platform: str, problem: Problem) -> str:
    """The entry that says what ``"auto"`` runs on one device."""
    return entry_for(which, problem, choose(which, platform, problem))


def entries_for(which: Map, platform: str, problem: Problem) -> list[str]:
    """What else than the automatic pick to time, in the order in which to time it.

    On a CPU they are what the choice compares, all of which keep the promise about
    memory. On other platforms they are all lowerings that can serve; whether they keep
    it is read from the compiled program (`may_use`).
    """
    find = _on_a_cpu if platform == "cpu" else _elsewhere
    times = find(which, problem)
    auto = choose(which, platform, problem)
    ordered = _lowerings_in_turn([auto, *sorted(times, key=lambda f: times[f])])
    return [
        entry_for(which, problem, formulation)
        for formulation in ordered
        if formulation != auto
    ]


def _lowerings_in_turn(ranked: Iterable[Formulation]) -> list[Formulation]:
    """The first of each lowering, then the second of each, and so on.

    Estimates are off by lowering rather than by variant. Where time is short, each
    lowering is timed once before another variant of one is.
    """
    seen, rounds = Counter[str](), dict[Formulation, int]()
    for formulation in ranked:
        if formulation not in rounds:
            rounds[formulation] = seen[formulation.lowering]
            seen[formulation.lowering] += 1
    return sorted(rounds, key=lambda f: rounds[f])


def _on_a_cpu(which: Map, problem: Problem) -> dict[Formulation, float]:
    found = candidates(which, problem)
    times = {
        formulation: estimate(which, problem, formulation) for formulation in found
    }
    most = HOPELESS * min(times.values())
    return {formulation: time for formulation, time in times.items() if time <= most}


def _elsewhere(which: Map, problem: Problem) -> dict[Formulation, float]:
    found = [
        best_variant(which, name, problem)
        for name, row in LOWERINGS.items()
        if row.refuses(problem.geometry, problem.static) is None
    ]
    return {f: seconds(which, problem, work_of(which, problem, f)) for f in found}


def may_use(
    platform: str, problem: Problem, temporary: int, native: Callable[[], int]
) -> bool:
    """Whether a program with so many bytes of temporaries keeps the promise of memory.

    `native` compiles the native form and gives the bytes of its temporaries.
    """
    return platform == "cpu" or temporary <= allowed_bytes(problem, native())
