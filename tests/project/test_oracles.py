"""The oracles agree with each other, and the comparison fails when it must."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from cases import CORE, GEOMETRIES, MINDSPORE, PUBLISHED, TORCH, Case, random
from jconvt._shell.definition import three_maps

by_name = {"ids": str}
NOT_EMPTY = [
    case
    for case in CORE + TORCH + MINDSPORE
    if 0 not in case.input_shape + case.weight_shape + case.output_shape
]


def test_names_are_unique():
    names = [case.name for case in GEOMETRIES + PUBLISHED]
    assert len(names) == len(set(names))


def test_scatter_is_the_definition_on_paper():
    """Three elements, two taps, stride two, worked by hand."""
    x, w = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[10.0, 1.0]]])
    options = {"stride": (2,), "dilation": (1,)}
    np.testing.assert_array_equal(
        oracles.scatter(x, w, crop=[(0, 0)], **options), [[[10, 1, 20, 2, 30, 3]]]
    )
    np.testing.assert_array_equal(
        oracles.scatter(x, w, np.array([0.5]), crop=[(1, -2)], **options),
        [[[1.5, 20.5, 2.5, 30.5, 3.5, 0.5, 0.5]]],
    )


@pytest.mark.parametrize("case", CORE, **by_name)
def test_output_shape(case):
    x, w, b, _ = case.arrays()
    assert oracles.scatter(x, w, b, **case.geometry).shape == case.output_shape


@pytest.mark.parametrize("case", NOT_EMPTY, **by_name)
def test_scatter_is_the_adjoint_of_the_forward_convolution(case):
    x, w, _, _ = case.arrays(np.float64)
    with jax.enable_x64(True):
        adjoint = oracles.adjoint_of_forward(x, w, **case.geometry)
    expected = oracles.expect_value(x, w, **case.geometry)
    oracles.assert_expected(adjoint, expected, np.float64)


@pytest.mark.parametrize("case", GEOMETRIES, **by_name)
def test_gathers_are_the_adjoints_of_the_scatter(case):
    """<scatter(x, w), g> = <x, dx> = <w, dw>, and a bias adds <b, db>: in integers."""
    x, w, b, g = (
        np.zeros(case.channels[1], np.int64) if a is None else a.astype(np.int64)
        for a in case.arrays(np.int8)
    )
    dx, dw, db = (
        gradient.value
        for gradient in oracles.expect_gradients(g, x, w, **case.geometry)
    )
    assert (dx.shape, dw.shape, db.shape) == (x.shape, w.shape, b.shape)
    product = np.vdot(oracles.scatter(x, w, **case.geometry), g)
    assert product == np.vdot(x, dx) == np.vdot(w, dw)
    with_bias = np.vdot(oracles.scatter(x, w, b, **case.geometry), g)
    assert with_bias - product == np.vdot(b, db)


@pytest.mark.parametrize("case", GEOMETRIES, **by_name)
def test_the_two_definitions_agree(case):
    """Loops over taps here, and over elements and taps in `doctor`: in integers."""
    x, w, _, g = (None if a is None else a.astype(int) for a in case.arrays(np.int8))
    low = [first for first, _ in case.geometry["crop"]]
    theirs = three_maps(x, w, g, **case.geometry | {"crop": low})
    np.testing.assert_array_equal(oracles.scatter(x, w, **case.geometry), theirs.output)
    dx, dw, _ = oracles.expect_gradients(g, x, w, **case.geometry)
    np.testing.assert_array_equal(dx.value, theirs.input_gradient)
    np.testing.assert_array_equal(dw.value, theirs.weight_gradient)


@pytest.mark.parametrize("case", CORE, **by_name)
def test_circular_wraps_the_full_scatter(case):
    """Each output is the sum of the full scatter's elements a period apart."""
    x, w, _, _ = case.arrays(np.int8)
    options = {k: v for k, v in case.geometry.items() if k != "crop"}
    y = oracles.scatter(x, w, crop=[(0, 0)] * case.rank, **options)
    spans = oracles.extent(case.kernel, options["dilation"])
    for axis, (n, s, e) in enumerate(
        zip(case.space, options["stride"], spans, strict=True), start=2
    ):
        y, low = np.moveaxis(y, axis, 0), max(e - s, 0) // 2
        wrapped = np.zeros((n * s, *y.shape[1:]), y.dtype)
        for position, values in enumerate(y if n else ()):
            wrapped[(position - low) % (n * s)] += values
        y = np.moveaxis(wrapped, 0, axis)
    np.testing.assert_array_equal(oracles.circular(x, w, **options), y)


@pytest.mark.parametrize("case", CORE, **by_name)
def test_circular_conserves_the_sum(case):
    """Wrapping neither drops nor adds anything."""
    x, w, _, _ = case.arrays(np.int8)
    options = {k: v for k, v in case.geometry.items() if k != "crop"}
    y = oracles.circular(x, w, **options)
    crop = [(0, 0)] * case.rank
    full = oracles.scatter(x, w, crop=crop, **options)
    space = tuple(range(2, 2 + case.rank))
    if 0 not in case.space:
        np.testing.assert_array_equal(y.sum(space), full.sum(space))
    size = [n * s for n, s in zip(case.space, case.each(case.stride), strict=True)]
    assert y.shape[2:] == tuple(size)


@pytest.mark.parametrize("s", range(1, 7))
@pytest.mark.parametrize("k", range(1, 8))
def test_padding_rules_agree_where_they_must(k, s):
    for n in (1, 2, 5):
        for d in (1, 2, 3):
            full = (n - 1) * s + d * (k - 1) + 1
            for rule in (oracles.same_crop, oracles.same_lower_crop):
                low, high = rule(n, k, s, d)
                assert full - low - high == n * s
                assert low >= 0
            upper, lower = oracles.same_crop(n, k, s, d), rule(n, k, s, d)
            assert lower[0] - upper[0] in (0, 1)
            assert oracles.onnx_crop(n, k, s, d, auto_pad="SAME_UPPER") == upper
            assert oracles.onnx_crop(n, k, s, d, auto_pad="SAME_LOWER") == lower
            assert sum(oracles.causal_crop(n, k, s, d)) == full - n * s
            low, high = oracles.valid_crop(n, k, s, d)
            wide = full - low - high
            assert (wide - d * (k - 1) - 1) // s + 1 == n


# Canaries -----------------------------------------------------------------------------

CANARY = Case("canary", (4,), (4,), stride=2, padding=1, channels=(3, 4))


def canary(dtype):
    x, w, b, _ = CANARY.arrays(dtype)
    expected = oracles.expect_value(x, w, b, **CANARY.geometry)
    return expected.value.astype(dtype), expected


FLOATS = [jnp.float16, jnp.bfloat16, np.float32, np.float64, np.complex64]
EVERY = [*FLOATS, np.int8, np.uint32, np.int64]


@pytest.mark.parametrize("dtype", EVERY, ids=lambda d: np.dtype(d).name)
def test_comparison_accepts_the_rounded_oracle(dtype):
    value, expected = canary(dtype)
    oracles.assert_expected(value, expected, dtype)


@pytest.mark.parametrize("dtype", EVERY, ids=lambda d: np.dtype(d).name)
def test_comparison_fails_on_one_perturbed_value(dtype):
    """A relative change of thirty times the type's spacing is not let through."""
    value, expected = canary(dtype)
    where = np.unravel_index(np.argmax(np.abs(expected.value)), value.shape)
    if jnp.issubdtype(dtype, jnp.integer):
        value[where] += np.dtype(dtype).type(1)
    else:
        value[where] *= 1 + (100 if np.dtype(dtype).kind == "c" else 30) * float(
            jnp.finfo(dtype).eps
        )
    with pytest.raises(AssertionError, match=r"1 of|Mismatched elements: 1"):
        oracles.assert_expected(value, expected, dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_comparison_fails_on_the_non_finite(dtype, value):
    actual, expected = canary(dtype)
    actual[0, 0, 0] = value
    with pytest.raises(AssertionError, match="elements are off"):
        oracles.assert_expected(actual, expected, dtype)


def test_comparison_fails_on_a_nan_of_the_oracle():
    with pytest.raises(AssertionError, match="elements are off"):
        oracles.assert_close(np.zeros(2), np.array([0.0, np.nan]), dtype=np.float64)


@pytest.mark.parametrize("shape", [(2, 4, 7), (2, 4, 9), (1, 2, 4, 8), (4, 8), (64,)])
def test_comparison_fails_on_a_wrong_shape(shape):
    value, expected = canary(np.float32)
    with pytest.raises(AssertionError, match="shape"):
        oracles.assert_expected(np.resize(value, shape), expected, np.float32)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.complex64, np.int32])
def test_comparison_fails_on_a_wrong_type(dtype):
    value, expected = canary(np.float32)
    with pytest.raises(AssertionError, match="dtype"):
        oracles.assert_expected(value.astype(dtype), expected, np.float32)


def test_comparison_fails_on_a_sum_in_sixteen_bits():
    """A running sum kept in the narrow type errs by more than one rounding."""
    terms = random(np.random.default_rng(0), (4096,), np.float32).astype(jnp.bfloat16)
    wide = np.float64(terms.astype(np.float64).sum())
    magnitude = np.abs(terms.astype(np.float64)).sum()
    narrow = jnp.bfloat16(0)
    for term in terms:
        narrow = jnp.bfloat16(float(narrow) + float(term))
    options = {"magnitude": magnitude, "terms": 4096, "dtype": jnp.bfloat16}
    oracles.assert_close(jnp.bfloat16(wide), wide, **options)
    with pytest.raises(AssertionError, match="elements are off"):
        oracles.assert_close(narrow, wide, **options)
