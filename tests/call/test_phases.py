"""What the transposes of `phases` hold: its values are tested with the others."""

import jax
import pytest

from cases import Case
from formulations import one_map
from jconvt._call.problem import Map
from jconvt._lowerings.work import PLAIN
from programs import equations

CASES = [
    Case("k4_s2", (3, 3), (4, 4), stride=2, padding=1),
    Case("k5_s3_groups", (4,), (5,), stride=3, padding=1, groups=2, channels=(4, 6)),
    Case("k3_s6_d4", (4,), (3,), stride=6, padding=2, dilation=4),
    Case("k3_s1_d3", (5, 4), (3, 2), 1, 1, 0, (3, 2), 2, (4, 6)),
    Case("k2_s4", (3,), (2,), stride=4, padding=1, output_padding=1),
]


@pytest.mark.parametrize("slot", Map)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_written_with_zeros_between(case, slot):
    """Neither the input, nor the cotangent, nor the weight gradient's taps."""
    function, operands = one_map(slot, "phases", case, PLAIN)
    with jax.enable_x64(True):
        pads = equations("pad", function, *operands)
        convolutions = equations("conv_general_dilated", function, *operands)
    assert convolutions
    for pad in pads:
        assert all(between == 0 for *_, between in pad.params["padding_config"])
    for convolution in convolutions:
        assert set(convolution.params["lhs_dilation"]) == {1}
        assert set(convolution.params["rhs_dilation"]) == {1}
