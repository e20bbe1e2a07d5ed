"""Every variant of every lowering is the definition, and so are its transposes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from jax import lax

from cases import Case
from formulations import (
    BY_GEMM,
    LAYOUTS,
    WITH_VARIANTS,
    check,
    formulation,
    serves,
    variants_of,
)
from jconvt._lowerings import LOWERINGS
from jconvt._lowerings._problem import Slot
from programs import equations

CASES = [
    Case("0d_groups", (), (), groups=2, channels=(4, 6)),
    # short filters: an odd number of blocks, an even one, and residues of 2 and 3 taps
    Case("k4_s2_p1", (3,), (4,), stride=2, padding=1),
    Case("k3_s1_p1", (4,), (3,), padding=1),
    Case("k5_s2_p1", (4,), (5,), stride=2, padding=1),
    Case("k7_s3_p2_groups", (3,), (7,), 3, 2, groups=2, channels=(4, 6)),
    # long ones
    Case("k9_s2_p3", (3,), (9,), stride=2, padding=3),
    Case("k3_s2_d3", (4,), (3,), stride=2, padding=1, dilation=3),
    Case("k4_s6_d4", (2,), (4,), stride=6, padding=5, dilation=4),
    Case("k3_s2_d2_depthwise", (4,), (3,), 2, 1, 0, 2, groups=3, channels=(3, 6)),
    Case("k2_s4_p1_holes", (3,), (2,), 4, 1, output_padding=1),
    # cropped to the last output that an outer element or tap reaches, or to no tap
    Case("crop_low", (4,), (5,), stride=2, padding=((4, 0),)),
    Case("crop_high", (4,), (5,), stride=2, padding=((1, 4),)),
    Case("crop_to_one", (1,), (5,), stride=3, padding=2),
    Case("crop_to_a_hole", (2,), (2,), stride=5, padding=((1, 1),), dilation=2),
    Case("crop_to_holes", (1,), (2,), stride=2, padding=((3, 4),), dilation=9),
    Case("crop_taps", (1,), (7,), stride=2, padding=((3, 2),)),
    # filters on both axes, on one of them, and beside residues that have none
    Case("2d_short", (3, 2), (4, 2), stride=(2, 1), padding=((2, 1), (0, 1))),
    Case("2d_long_by_short", (3, 3), (3, 2), dilation=(2, 1), padding=((4, 1), (0, 0))),
    Case("2d_block_by_overlap", (3, 2), (2, 3), stride=(2, 1), padding=(1, 0)),
    Case("2d_holes", (3, 2), (2, 3), (3, 4), (0, 1), dilation=(1, 2), channels=(3, 2)),
    Case("2d_groups", (2, 3), (4, 3), (2, 3), (1, 1), groups=2, channels=(4, 2)),
    Case("3d_short", (2, 1, 3), (2, 1, 2), padding=((0, 1), (0, 0), (1, 1))),
    Case("3d_holes", (2, 3, 2), (1, 3, 2), (1, 2, 3), (0, 1, 0), 0, 1, 2, (2, 4)),
    Case("3d_overlap", (2, 2, 2), (2, 2, 3), (2, 1, 4), 0, channels=(1, 2)),
]
BY_NAME = {case.name: case for case in CASES}
# One after the other, so that cases of each rank meet each layout.
TRIED = [
    pytest.param(lowering, case, kind, id=f"{lowering}-{case}-{kind}")
    for case, kind in zip(CASES, itertools.cycle(LAYOUTS), strict=False)
    for lowering in WITH_VARIANTS
    if serves(lowering, case)
]


@pytest.mark.parametrize(("lowering", "case", "kind"), TRIED)
def test_variants(lowering, case, kind):
    check(lowering, case, kind)


@pytest.mark.parametrize("lowering", BY_GEMM)
def test_each_operand_has_its_own_precision(lowering):
    """The weight is the first operand of a GEMM where features stand first."""
    case = BY_NAME["k4_s2_p1"]
    of_input, of_weight = lax.Precision.HIGHEST, lax.Precision.DEFAULT
    x, w, _ = case.arrays()[:3]
    for name, variant in variants_of(lowering, case).items():
        function = formulation(
            lowering,
            case,
            variant,
            dtype=np.float32,
            precision=(of_input, of_weight),
        )
        pair = (of_weight, of_input) if variant.first else (of_input, of_weight)
        for equation in equations("dot_general", function, x, w):
            assert equation.params["precision"] == pair, name


def test_every_lowering_that_has_variants_is_tried():
    case = BY_NAME["k4_s2_p1"]
    several = [name for name in LOWERINGS if len(variants_of(name, case)) > 1]
    assert several == list(WITH_VARIANTS)


ORDERS = ["features first", "features last"]
EARLY = [f"{order}, blocks early" for order in ORDERS]


@pytest.mark.parametrize(
    ("lowering", "name", "variants"),
    [
        ("gather", "k4_s2_p1", [*ORDERS, *EARLY]),
        ("gather", "k3_s1_p1", ORDERS),  # each block is one output
        ("winograd", "k5_s2_p1", [*ORDERS, *EARLY]),
        ("winograd", "2d_long_by_short", ORDERS),
        ("overlap_add", "k4_s2_p1", [*ORDERS, "features last, weight as given"]),
        ("tap_sums", "k4_s2_p1", ORDERS),
    ],
)
def test_variants_are_those_that_differ(lowering, name, variants):
    assert sorted(variants_of(lowering, BY_NAME[name])) == sorted(variants)


@pytest.mark.parametrize("slot", Slot)
def test_one_wrong_bit_would_be_caught(monkeypatch, slot):
    """The canary: a lowering that is off by a rounding in one of the slots."""
    case, row = CASES[0], LOWERINGS["gather"]

    def lower(*arguments):
        return row.lower(*arguments) * (1 + 2**-52 * (arguments[-1] == slot))

    monkeypatch.setitem(LOWERINGS, "gather", replace(row, lower=lower))
    with pytest.raises(AssertionError, match="value" if slot == "forward" else slot):
        check("gather", case)
