"""The counts that choices rest on are those of the traced programs."""

import itertools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cases import Case
from formulations import (
    BY_GEMM,
    LAYOUTS,
    one_map,
    problem_for,
    serves,
    variants_of,
)
from jconvt._call.problem import Map
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import PLAIN, Variant
from programs import Dot, dots, equations

CASES = [
    Case("k4_s2_p1", (5,), (4,), stride=2, padding=1),
    Case("k3_s1", (18,), (3,), channels=(3, 17)),
    Case("k5_s2_p1_groups", (4,), (5,), 2, 1, groups=2, channels=(4, 6)),
    Case("k9_s4_p2", (3,), (9,), stride=4, padding=2, channels=(5, 1)),
    Case("k2_s4_holes", (3,), (2,), 4, 1, output_padding=1),
    Case("k3_s2_d3", (4,), (3,), stride=2, padding=2, dilation=3),
    Case("depthwise", (4,), (5,), 2, 1, groups=3, channels=(3, 3)),
    Case("crop_taps", (1,), (7,), stride=2, padding=((3, 2),)),
    Case("2d_blocks", (3, 2), (2, 2), stride=2),
    Case("2d_k4_s2_p1", (3, 2), (4, 4), stride=2, padding=1),
    Case("2d_long_by_short", (2, 3), (7, 3), stride=(2, 1), padding=((4, 1), (1, 0))),
    Case("2d_groups", (2, 3), (4, 3), (2, 3), (1, 1), groups=2, channels=(4, 2)),
    Case("3d", (2, 1, 3), (2, 1, 3), (1, 2, 2), (0, 0, 1), channels=(2, 3)),
]
BY_NAME = {case.name: case for case in CASES}
# Where the only patch is the input, with blocks early or not.
AS_IT_IS = [("2d_blocks", False), ("k2_s4_holes", True)]
EVERY = [
    pytest.param(lowering, case, kind, id=f"{lowering}-{case}-{kind}")
    for case, kind in zip(CASES, itertools.cycle(LAYOUTS), strict=False)
    for lowering in BY_GEMM
    if serves(lowering, case)
]


def works(lowering, case, kind, slot):
    """Each variant with its counts."""
    problem = problem_for(case, kind)
    for name, variant in variants_of(lowering, case, kind).items():
        yield name, variant, LOWERINGS[lowering].work(problem, variant, slot)


def whole_vectors(n):
    """Lanes of `n` numbers in vectors of 16."""
    return 16 * -(-n // 16)


def check_gemms(work, found, name):
    assert work.calls == len(found), name
    assert work.multiply_adds == sum(dot.multiply_adds for dot in found), name
    elements = sum(dot.left + dot.right + dot.result for dot in found)
    assert work.operands == elements, name


@pytest.mark.parametrize(("lowering", "case", "kind"), EVERY)
def test_counts_of_the_output(lowering, case, kind):
    """Positions stand in the columns with features first, else in the rows."""
    for name, variant, work in works(lowering, case, kind, Map.OUTPUT):
        function, operands = one_map(Map.OUTPUT, lowering, case, variant, kind)
        with jax.enable_x64(True):
            found = dots(function, *operands)
        check_gemms(work, found, name)
        assert work.convolved == 0, name
        assert work.lanes == sum(
            dot.batch * dot.rows * dot.inner * whole_vectors(dot.columns)
            for dot in found
        ), name
        lefts, rights = (sum(getattr(d, of) for d in found) for of in ("left", "right"))
        patches, kernels = (rights, lefts) if variant.first else (lefts, rights)
        as_it_is = lowering == "overlap_add" or (case.name, variant.early) in AS_IT_IS
        channels, _ = case.channels
        if lowering == "winograd" and not variant.first:
            # A short row is summed as a vector is, and copied as four elements are.
            patches = patches * whole_vectors(channels) // channels
        if lowering == "gather" and not variant.first:
            patches *= -(-4 // channels)
        assert work.gathered == (0 if as_it_is else patches), name
        assert work.prepared == (0 if variant.as_given else kernels), name


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("lowering", BY_GEMM)
def test_features_in_another_order_are_moved(lowering, kind):
    """Input and output pass through memory once more."""
    case = BY_NAME["2d_k4_s2_p1"]
    problem = problem_for(case, kind)
    for name, variant, work in works(lowering, case, kind, Map.OUTPUT):
        moved = problem.inputs + problem.outputs
        same = variant.first == (kind == "first")
        assert work.transposed == (0 if same else moved), name
        batch_inside = kind == "first" and variant.first
        assert work.swapped == (moved if batch_inside else 0), name


@pytest.mark.parametrize("slot", [Map.INPUT, Map.WEIGHT])
@pytest.mark.parametrize(("lowering", "case", "kind"), EVERY)
def test_counts_of_the_gradients(lowering, case, kind, slot):
    """A transpose of a GEMM is a GEMM of the same sizes in other roles."""
    for name, variant, work in works(lowering, case, kind, slot):
        function, operands = one_map(slot, lowering, case, variant, kind)
        with jax.enable_x64(True):
            found = dots(function, *operands)
        check_gemms(work, found, name)
        assert work.lanes == sum(
            dot.batch * dot.inner * vectors_of_gradient(dot, slot, variant)
            for dot in found
        ), name


def vectors_of_gradient(dot, slot, variant):
    """Its rows are of the cotangent, which is the first operand."""
    if slot == Map.WEIGHT:
        return whole_vectors(dot.rows) * whole_vectors(dot.columns)
    if variant.first:
        return whole_vectors(dot.rows) * dot.columns
    return dot.rows * whole_vectors(dot.columns)


def test_one_image_with_features_first_is_as_it_is():
    problem = replace(problem_for(BY_NAME["2d_k4_s2_p1"]), batch=1)
    work = LOWERINGS["gather"].work(problem, Variant(first=True), Map.OUTPUT)
    assert work.transposed == work.swapped == 0


DEPTHWISE = [
    Case("k4_s2_p1", (5,), (4,), 2, 1, groups=3, channels=(3, 3)),
    Case("k3_s2", (5,), (3,), 2, 0, groups=4, channels=(4, 8)),
    Case("crop_taps", (1,), (7,), 2, ((3, 2),), groups=3, channels=(3, 3)),
    Case("2d", (3, 2), (4, 3), (2, 1), (1, 1), groups=2, channels=(2, 4)),
]


@pytest.mark.parametrize("slot", Map)
@pytest.mark.parametrize("kind", ["first", "last"])
@pytest.mark.parametrize("case", DEPTHWISE, ids=str)
def test_sums_count_every_product(case, kind, slot):
    """Of elements and taps; for the weight gradient, of elements and cotangents.

    Twice where the sum is fused with an interleave of the last axis. Gradients take as
    long for fewer channels as for eight.
    """
    variant = Variant(first=kind == "first")
    work = LOWERINGS["tap_sums"].work(problem_for(case, kind), variant, slot)
    function, operands = one_map(slot, "tap_sums", case, variant, kind)
    with jax.enable_x64(True):
        found = equations("mul", function, *operands)
    shapes = [equation.outvars[0].aval.shape for equation in found]
    products = sum(map(math.prod, shapes))
    assert work.multiply_adds == products
    by_rows = kind == "first" and slot != Map.WEIGHT
    least = 1 if slot == Map.OUTPUT else 8
    vector = shapes[0][-1] if by_rows else max(least, case.channels[1])
    stride = case.stride if isinstance(case.stride, int) else case.stride[-1]
    times = 2 if kind == "first" and slot == Map.OUTPUT and stride > 1 else 1
    assert work.summed == -(-times * products // vector) * whole_vectors(vector)
    assert work.lanes == work.convolved == 0


@pytest.mark.parametrize(("kernel", "loops"), [(11, 0), (12, 2)])
def test_the_most_memory_of_sums_has_the_padded_input_and_each_loop(kernel, loops):
    """An output's, with features first: 121 terms are one loop, 144 are two."""
    case = Case("", (5, 5), (kernel,) * 2, channels=(1, 1))
    problem = problem_for(case)
    work = LOWERINGS["tap_sums"].work(problem, Variant(first=True), Map.OUTPUT)
    padded = problem.batch * (5 + 2 * (kernel - 1)) ** 2
    # The images of one channel lie behind it already.
    assert work.peak == padded + problem.weights + loops * problem.outputs


@pytest.mark.parametrize("slot", Map)
@pytest.mark.parametrize("lowering", BY_GEMM)
def test_temporaries_are_of_the_right_order(lowering, slot):
    """XLA's own count of them, which also depends on what it fuses and reuses."""
    case = Case("k4_s2", (64,), (4,), stride=2, padding=1, channels=(32, 16))
    for name, variant, work in works(lowering, case, "first", slot):
        function, operands = one_map(slot, lowering, case, variant)
        with jax.enable_x64(True):
            program = jax.jit(function).lower(*operands).compile()
        elements = program.memory_analysis().temp_size_in_bytes / 8
        assert work.temporary / 4 < elements < work.temporary * 4, name


def test_every_product_is_counted_where_none_is_wasted():
    """Blocks of whole strides, none cropped: what is executed is what is useful."""
    case = BY_NAME["2d_blocks"]
    problem = problem_for(case)
    for lowering in ("gather", "overlap_add"):
        for _, _, work in works(lowering, case, "first", Map.OUTPUT):
            assert work.executed == problem.useful


def test_taps_that_reach_no_output_are_left_out():
    """One element and 7 taps, 3 of them cropped at one end and 2 at the other."""
    case = BY_NAME["crop_taps"]
    inputs, outputs = case.channels
    for name, _, work in works("overlap_add", case, "first", Map.OUTPUT):
        assert work.executed == case.batch * inputs * outputs * 2, name


STRIDED = Case("k4_s2_p1", (5, 3), (4, 3), 2, 1, channels=(4, 6))
NOT_SCATTERED = [
    Case("stride_1", (5, 3), (4, 3), 1, 1, channels=(4, 6)),
    Case("groups", (5, 3), (4, 3), 2, 1, groups=2, channels=(4, 6)),
    Case("dilated", (5, 3), (4, 3), 2, 1, 0, (1, 3), channels=(4, 6)),
    Case("volume", (2, 2, 2), (2, 2, 2), 2, channels=(4, 6)),
]


def native(slot, case):
    """What JAX's own form takes: one convolution of a dilated input."""
    return LOWERINGS["lhs_dilation"].work(problem_for(case, "last"), PLAIN, slot)


def test_native_products_are_scattered_in_the_output_alone():
    """Cropped ones too: XLA:CPU adds up all products of an input element and a tap."""
    elements, taps = STRIDED.batch * 5 * 3, 4 * 3
    products = elements * taps * STRIDED.channels[1]
    found = {slot: native(slot, STRIDED) for slot in Map}
    assert [found[slot].scattered for slot in Map] == [products, 0, 0]
    kernels = problem_for(STRIDED).weights
    assert found[Map.OUTPUT].temporary == products + kernels
    assert found[Map.INPUT].temporary == kernels
    moved = problem_for(STRIDED).inputs + problem_for(STRIDED).outputs
    assert found[Map.WEIGHT].temporary == kernels + moved


@pytest.mark.parametrize("case", NOT_SCATTERED, ids=str)
def test_only_dilated_inputs_of_plain_convolutions_are_scattered(case):
    """XLA:CPU knows no others for transposed ones: it multiplies the zeros."""
    for slot in Map:
        assert native(slot, case).scattered == 0
    inflated = native(Map.OUTPUT, case).inflated
    assert (inflated > 0) == (case.name != "stride_1")


def test_products_are_found():
    """The canary: a GEMM, one of three groups in a call, one more in a call of that."""

    @jax.jit
    def inner(a, b):
        return a @ b

    @jax.jit
    def outer(a, b):
        return jnp.einsum("gij,gjk->gik", a, b), inner(a[0].T, a[0])

    def function(a, b):
        return outer(a, b), b[0] @ b[0].T

    found = dots(function, np.ones((3, 4, 5)), np.ones((3, 5, 7)))
    assert sorted(found) == [Dot(1, 5, 5, 4), Dot(1, 5, 5, 7), Dot(3, 4, 7, 5)]
    assert [dot.multiply_adds for dot in sorted(found)] == [100, 175, 420]


def test_short_rows_of_winograd_are_put_together_as_whole_vectors():
    """Rows of 2 residues of 3 channels, with features last; else rows of positions."""
    case = Case("", (4,), (4,), 2, 1, channels=(2, 3))
    found = works("winograd", case, "last", Map.OUTPUT)
    first, last = (
        {work.joined for _, variant, work in found if variant.first == first}
        for found, first in zip(itertools.tee(found), (True, False), strict=True)
    )
    assert last == {joined * 16 // 6 for joined in first}


@pytest.mark.parametrize(
    ("made", "as_given", "added"),
    [
        (Map.OUTPUT, True, 2 * 3 * 6 * (5 + 2)),  # padded products, and their sums
        (Map.INPUT, True, 2 * 3 * 6 * 5),
        (Map.INPUT, False, 32 * 3 * 5),  # the weight's copy is more
    ],
)
def test_the_most_memory_of_overlap_add(made, as_given, added):
    """Beside products and output: what one axis adds up, or a copy of the weight."""
    case = Case("", (4,), (5,), 2, channels=(32, 3))
    problem = problem_for(case, "last")
    work = LOWERINGS["overlap_add"].work(problem, Variant(as_given=as_given), made)
    assert work.peak == 2 * 4 * 3 * 5 + added + problem.outputs
