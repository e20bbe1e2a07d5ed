"""`Preference`: a lowering, and the layers for which a table prefers it."""

from collections.abc import Callable
from typing import NamedTuple

from jconvt._call.problem import Map, Problem
from jconvt._lowerings.work import Variant


def always(problem: Problem) -> bool:
    """Every layer."""
    del problem
    return True


class Preference(NamedTuple):
    """A lowering, and the layers for which it is preferred if it can serve.

    Without a variant, the one that costs least on a CPU is used.
    """

    lowering: str
    where: Callable[[Problem], bool] = always
    variant: Callable[[Problem], Variant] | None = None


Table = dict[Map, tuple[Preference, ...]]
"""Map -> what is preferred, in order."""
