"""Winograd's minimal filtering: two neighbouring outputs with fewer multiplications.

Two outputs of a filter of r taps need r + 1 multiplications instead of 2r (Winograd,
"Arithmetic Complexity of Computations", 1980; for r = 2 it is Karatsuba's identity)::

    y0 = d0*g0 + ... + d(r-1)*g(r-1)        y1 = d1*g0 + ... + dr*g(r-1)

Both outputs need d1, ..., d(r-1); only y0 needs d0, and only y1 needs dr. In the forms
below d0 enters y0 alone and dr enters y1 alone, so a non-finite element reaches exactly
the outputs whose sums contain it. Forms for four or more outputs do not have this
property: in them, elements enter outputs that do not need them and cancel.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

Rows = tuple[tuple[float, ...], ...]


class Filter(NamedTuple):
    """``outputs = join @ ((split @ elements) * (prepare @ taps))``, row by row."""

    split: Rows
    """products x (taps + 1) elements."""
    prepare: Rows
    """products x taps."""
    join: Rows
    """2 outputs x products."""


PAIRS: dict[int, Filter] = {
    1: Filter(
        split=((1, 0), (0, 1)),
        prepare=((1,), (1,)),
        join=((1, 0), (0, 1)),
    ),
    2: Filter(
        split=((1, -1, 0), (0, 1, 0), (0, -1, 1)),
        prepare=((1, 0), (1, 1), (0, 1)),
        join=((1, 1, 0), (0, 1, 1)),
    ),
    3: Filter(
        split=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        prepare=((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
        join=((1, 1, 1, 0), (0, 1, -1, -1)),
    ),
}
"""Number of taps -> the filter for two neighbouring outputs."""


def combine(row: Sequence[float], terms: Sequence[Any]) -> Any:
    """The sum of ``row[i] * terms[i]``, without operations for factors 0 and 1."""
    found = [
        term if factor == 1 else factor * term
        for factor, term in zip(row, terms, strict=True)
        if factor
    ]
    return sum(found[1:], start=found[0])
