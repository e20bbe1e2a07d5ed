"""A fake clock for `jconvt.tune`, and the lowerings in a traced program."""

import jax
from jax.extend import core

CANDIDATES = ["phases", "gather/features last", "overlap_add/features first"]
"""What is timed beside the automatic formulation, for every map."""

MAPS = ("forward", "input gradient", "weight gradient")


class Clock:
    """Stands for the races of `jconvt.tune`: tells times by name, and notes who ran.

    Attributes:
      seconds: of a contender; 1.0 where it has none.
      races: the names of each race.
    """

    def __init__(self, **seconds):
        self.seconds = {"auto": 1.0, "tuned": 1.0} | seconds
        self.races = []

    def __call__(self, runs, *, seconds, rounds):
        for run in runs.values():
            run()
        self.races.append(tuple(runs))
        return {name: self.seconds.get(name, 1.0) for name in runs}


def install(monkeypatch, clock, candidates=CANDIDATES):
    """Lets the clock tell the times, of few candidates."""
    monkeypatch.setattr("jconvt._tune.measure.race", clock)
    if candidates is not None:
        monkeypatch.setattr(
            "jconvt._tune.tune.entries_for", lambda *_: list(candidates)
        )
    return clock


def lowerings_in(function, *arguments):
    """(map, lowering) of each transposed convolution in a function's trace."""
    found = _equations(jax.make_jaxpr(function)(*arguments))
    return [
        (name.removeprefix("conv_transpose").lstrip("_") or "forward", lowering)
        for name, lowering in found
    ]


def _equations(value):
    if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
        for equation in getattr(value, "jaxpr", value).eqns:
            if equation.primitive.name.startswith("conv_transpose"):
                yield equation.primitive.name, equation.params["call"].lowering
            yield from _equations(tuple(equation.params.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _equations(item)
