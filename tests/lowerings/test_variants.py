"""Every variant of every lowering is the definition, and so are its transposes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from jax import lax

from formulations import (
    BY_GEMM,
    CASES,
    LAYOUTS,
    WITH_VARIANTS,
    check,
    formulation,
    serves,
    variants_of,
)
from jconvt._call.problem import Map
from jconvt._lowerings.table import LOWERINGS
from programs import equations

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


@pytest.mark.parametrize("slot", Map)
def test_one_wrong_bit_would_be_caught(monkeypatch, slot):
    """The canary: a lowering that is off by a rounding in one of the slots."""
    case, row = CASES[0], LOWERINGS["gather"]

    def lower(*arguments):
        return row.lower(*arguments) * (1 + 2**-52 * (arguments[-1] == slot))

    monkeypatch.setitem(LOWERINGS, "gather", replace(row, lower=lower))
    with pytest.raises(AssertionError, match="value" if slot == "forward" else slot):
        check("gather", case)
