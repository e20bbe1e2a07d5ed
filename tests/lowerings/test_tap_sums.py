"""Sums of taps where rows and loops do not come out even."""

import math

import jax
import pytest

from cases import Case
from formulations import check, one_map
from jconvt._call.problem import Map
from jconvt._lowerings.taps.work import work_of_gradient
from jconvt._lowerings.work import Variant
from problems import geometry, problem

CASES = [
    Case("nine_rows", (9,), (4,), 2, 1, groups=3, channels=(3, 3)),
    Case("thirteen_rows", (13, 2), (3, 2), 2, groups=2, channels=(2, 4)),
    Case("thirty_taps", (2, 3), (6, 5), 2, 1, groups=2, channels=(2, 2)),
    Case("fifty_four_taps", (2, 3), (9, 6), 3, 2, groups=2, channels=(2, 4)),
    Case("channels", (3, 4), (2, 3), channels=(3, 2)),
    Case("channels_of_groups", (3, 5), (2, 7), 2, (1, 2), groups=2, channels=(6, 4)),
    Case("two_loops", (2, 4), (5, 13), padding=(3, 5), channels=(3, 2)),
    Case("two_loops_and_residues", (2, 5), (3, 21), (1, 2), (0, 9), channels=(5, 2)),
    Case("rows_apart", (3, 4), (9, 2), (2, 1), (3, 0), channels=(3, 1)),
]


@pytest.mark.parametrize("kind", ["first", "last"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_row_and_no_tap_is_left_out(case, kind):
    check("tap_sums", case, kind)


@pytest.mark.parametrize(("channels", "same"), [((1, 4), False), ((2, 4), True)])
@pytest.mark.parametrize("kind", ["first", "last"])
def test_an_output_sums_over_channels_with_features_first(channels, same, kind):
    """Whatever the variant says: with features last that sum is no vector code."""
    case = Case("", (3, 4), (2, 3), channels=channels)

    def program(first):
        variant = Variant(first=first)
        function, operands = one_map(Map.OUTPUT, "tap_sums", case, variant, kind)
        with jax.enable_x64(True):
            return jax.jit(function).lower(*operands).as_text()

    assert (program(True) == program(False)) == same


@pytest.mark.parametrize("which", [Map.INPUT, Map.WEIGHT])
@pytest.mark.parametrize(
    ("channels", "first", "served"),
    [((16, 1), False, 3), ((2, 1), False, 2), ((16, 1), True, 1), ((16, 2), False, 1)],
)
def test_one_output_channel_serves_input_channels(which, channels, first, served):
    """Up to three; the products are those of whole vectors of 16."""
    layer = problem(geometry(3, 1, rank=2), 16, 1, channels, first=first)
    lanes = 16 if first else max(math.prod(channels), 8)
    rounded = layer.inputs * channels[1] * 9 // lanes * max(lanes, 16)
    assert work_of_gradient(layer, first, which).summed == rounded // served
