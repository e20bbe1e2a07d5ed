"""The forms in which each map of a drawn layer is compiled."""

from collections.abc import Iterator

import jconvt
from benchmarks.aot.drawn.sample import problem_of_form
from benchmarks.aot.forms import AUTO, NATIVE, Form
from benchmarks.aot.maps import Forward
from jconvt._call.lowerings import Entry, field_of
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.row import Lowering
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import Variant

MAP_NAMES = {
    "forward": Map.OUTPUT,
    "input-gradient": Map.INPUT,
    "weight-gradient": Map.WEIGHT,
}
"""What `benchmarks.aot.maps` calls each map."""

_NEVER = ("gather", "winograd")
"""Lowerings whose programs take a TPU's compiler minutes, and that were never the best
of the zoo."""

_FEW = 4
"""`tap_sums` takes element-wise products: no more than so many channels of a group."""


def entries(form: Form, map_name: str) -> Iterator[str]:
    """JAX's own form, the choice, and every lowering with its variants."""
    which, problem = MAP_NAMES[map_name], problem_of_form(form)
    yield from (NATIVE, AUTO)
    for row in LOWERINGS.values():
        if row.refuses(problem.geometry, static=True) is None and _is_tried(
            row, which, problem
        ):
            variants = [v for v in row.variants(problem) if not v.as_given]
            for variant in variants:
                yield _entry(row, variant, several=len(variants) > 1)


def forward(form: Form, map_name: str, entry: str) -> Forward:
    """The layer, with this map in this form."""
    if entry in (NATIVE, AUTO):
        return form.forward(entry)
    return form.forward(jconvt.Lowerings(**{field_of(MAP_NAMES[map_name]): entry}))


def _is_tried(row: Lowering, which: Map, problem: Problem) -> bool:
    groups = problem.geometry.groups
    if row.name == "tap_sums":
        return problem.in_channels * problem.out_channels <= _FEW * groups**2
    if row.name == "role_swapped":
        return which == Map.WEIGHT
    return row.name not in _NEVER


def _entry(row: Lowering, variant: Variant, several: bool) -> str:
    return str(Entry(row.name, str(variant) if several else None))
