"""Overlap-add with groups, whose gradients read few taps one by one."""

import jax
import pytest

from cases import Case
from formulations import check, one_map
from jconvt._call.problem import Map
from jconvt._lowerings.work import Variant

FEW = Case("128_taps", (2, 3), (16, 8), (4, 2), (3, 2), groups=2, channels=(4, 2))
MANY = Case("130_taps", (2, 3), (13, 10), (4, 2), (3, 2), groups=2, channels=(4, 2))


@pytest.mark.parametrize("kind", ["first", "last"])
@pytest.mark.parametrize("case", [FEW, MANY], ids=str)
def test_no_tap_is_left_out(case, kind):
    check("overlap_add", case, kind)


@pytest.mark.parametrize(("case", "separate"), [(FEW, True), (MANY, False)], ids=str)
@pytest.mark.parametrize("slot", [Map.INPUT, Map.WEIGHT])
def test_a_gradient_reads_few_taps_one_by_one(case, separate, slot):
    """A program with a slice for each of hundreds takes long to compile."""
    function, operands = one_map(slot, "overlap_add", case, Variant(), "last")
    with jax.enable_x64(True):
        lines = jax.jit(function).lower(*operands).as_text().count("stablehlo.slice")
    assert (lines >= 128) == separate
