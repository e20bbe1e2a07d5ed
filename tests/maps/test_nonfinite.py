"""A NaN or infinity reaches the sums that contain it, and no other.

Which sums those are is the scatter of an indicator: one at the element, ones for all
that it is multiplied by.
"""

import jax
import numpy as np
import pytest

import jconvt
import oracles
from cases import Case

CASES = [
    Case("k3_s2", (4,), (3,), stride=2, padding=1),
    Case("k5_s3", (4,), (5,), stride=3, padding=1, output_padding=1),
    Case("k4_s2", (5,), (4,), stride=2, padding=1),
    Case("k3_s1", (5,), (3,), padding=1),
    Case("k3_s3_blocks", (4,), (3,), stride=3),
    Case("k3_s3_blocks_cropped", (4,), (3,), stride=3, padding=1),
    Case("k2_s5_holes", (4,), (2,), stride=5, output_padding=2),
    Case("k3_s2_d3", (4,), (3,), stride=2, dilation=3),
    Case("k3_s2_d2_holes", (4,), (3,), stride=2, dilation=2),
    Case("k4_s6_d4", (3,), (4,), stride=6, dilation=4),
    Case("crop_negative", (4,), (3,), stride=2, padding=((-3, 2),)),
    Case("crop_drops_input", (7,), (2,), stride=2, padding=((5, 4),)),
    Case("kernel_over_input", (2,), (7,), stride=2, padding=1),
    Case("same", (4,), (5,), stride=3, padding="SAME"),
    Case("groups", (4,), (3,), stride=2, groups=2, channels=(4, 4)),
    Case("depthwise", (4,), (3,), stride=2, groups=3, channels=(3, 3)),
    Case("depthwise_d2", (4,), (3,), 2, dilation=2, groups=3, channels=(3, 3)),
    Case("2d_k3_s2", (3, 3), (3, 3), stride=2, padding=1, output_padding=1),
    Case("2d_blocks", (3, 2), (2, 3), stride=(2, 3)),
    Case("2d_block_by_overlap", (3, 3), (2, 3), stride=2, padding=(0, 1)),
    Case("2d_holes_by_overlap", (3, 3), (1, 3), stride=2),
    Case("2d_groups", (3, 2), (3, 3), stride=2, groups=2, channels=(4, 2)),
    Case("3d_k3_s2", (2, 3, 2), (3, 3, 3), stride=2, padding=1),
    Case("3d_uneven", (2, 2, 3), (2, 3, 1), stride=(2, 2, 3), dilation=(1, 3, 1)),
]
SHORT = [
    case
    for case in CASES
    if case.name
    in (
        "k3_s2",
        "k5_s3",
        "k3_s3_blocks",
        "k3_s2_d3",
        "depthwise",
        "2d_groups",
        "3d_k3_s2",
    )
]


def eager(function):
    return function


def under_vmap(function):
    return jax.jit(lambda a: jax.vmap(lambda row: function(row[None])[0])(a))


def in_scan(function):
    def step(_, row):
        return None, function(row[None])[0]

    return jax.jit(lambda a: jax.lax.scan(step, None, a)[1])


EVERY = [(case, jax.jit) for case in CASES]
EVERY += [(case, way) for case in SHORT for way in (eager, under_vmap, in_scan)]
EVERY = [pytest.param(case, way, id=f"{case}-{way.__name__}") for case, way in EVERY]


def some_places(shape):
    """The first element, the last and one in the middle."""
    batch, channels, *space = shape
    middle = [(n // 2) for n in space]
    yield 0, 0, *[0] * len(space)
    yield batch - 1, channels - 1, *[n - 1 for n in space]
    yield 0, channels // 2, *middle


def assert_reaches(function, array, reached):
    """A bad value at each of some places makes non-finite just what it reaches."""
    clean = np.isfinite(np.asarray(function(array)))
    assert clean.all()
    for place in some_places(array.shape):
        indicator = np.zeros(array.shape)
        indicator[place] = 1
        expected = reached(indicator) != 0
        for value in (np.nan, np.inf, -np.inf):
            dirty = array.copy()
            dirty[place] = value
            actual = ~np.isfinite(np.asarray(function(dirty)))
            np.testing.assert_array_equal(
                actual, expected, err_msg=f"{value} at {place}"
            )


@pytest.mark.parametrize(("case", "way"), EVERY)
def test_input(case, way):
    x, w, b, _ = case.arrays()
    ones = np.ones(w.shape)
    assert_reaches(
        way(lambda x: jconvt.conv_transpose(x, w, b, **case.options)),
        x,
        lambda indicator: oracles.scatter(indicator, ones, **case.geometry),
    )


@pytest.mark.parametrize(("case", "way"), EVERY)
def test_cotangent(case, way):
    x, w, b, g = case.arrays()
    ones = np.ones(w.shape)

    def pull(g):
        def function(x):
            return jconvt.conv_transpose(x, w, b, **case.options)

        return jax.vjp(function, x[: len(g)])[1](g)[0]

    assert_reaches(
        way(pull),
        g,
        lambda indicator: oracles.gradient_of_input(
            indicator, ones, space=case.space, **case.geometry
        ),
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_weight_reaches_at_least_its_outputs(case):
    x, w, b, _ = case.arrays()
    function = jax.jit(lambda w: jconvt.conv_transpose(x, w, b, **case.options))
    place = tuple(n // 2 for n in w.shape)
    indicator, dirty = np.zeros(w.shape), w.copy()
    indicator[place], dirty[place] = 1, np.nan
    reached = oracles.scatter(np.ones(x.shape), indicator, **case.geometry) != 0
    assert np.isnan(np.asarray(function(dirty)))[reached].all()


def test_bias_reaches_its_channel():
    case = CASES[0]
    x, w, b, _ = case.arrays()
    b[1] = np.nan
    y = np.asarray(jconvt.conv_transpose(x, w, b, **case.options))
    expected = np.zeros(y.shape, bool)
    expected[:, 1] = True
    np.testing.assert_array_equal(np.isnan(y), expected)


# `role_swapped`, which multiplies inputs by zeros, is for weight gradients alone.
LOWERINGS = [
    "lhs_dilation",
    "phases",
    "fused_phases",
    "gather",
    "winograd",
    "overlap_add",
    "tap_sums",
    "matmul",
    "space_to_batch",
]
EACH = ("k5_s3", "k4_s2", "k3_s3_blocks", "k3_s2_d3", "2d_k3_s2", "2d_block_by_overlap")


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("case", [c for c in CASES if c.name in EACH], ids=str)
def test_lowering(case, lowering):
    """Each formulation that `auto` may take keeps the promise by itself."""
    x, w, b, _ = case.arrays()
    ones, options = np.ones(w.shape), {**case.options, "lowering": lowering}

    def function(x):
        return jconvt.conv_transpose(x, w, b, **options)

    try:
        jax.eval_shape(function, x)
    except ValueError as error:
        pytest.skip(str(error))
    assert_reaches(
        jax.jit(function),
        x,
        lambda indicator: oracles.scatter(indicator, ones, **case.geometry),
    )


def test_a_zero_padded_kernel_would_be_caught():
    """The canary: the same map by a kernel with one zero tap more fails the check."""
    case = CASES[0]
    x, w, _, _ = case.arrays()
    padded = np.pad(w, [(0, 0), (0, 0), (0, 1)])
    with pytest.raises(AssertionError, match="at"):
        assert_reaches(
            jax.jit(
                lambda x: jconvt.conv_transpose(
                    x, padded, stride=2, padding=[(1, 2)], lowering="lhs_dilation"
                )
            ),
            x,
            lambda indicator: oracles.scatter(
                indicator, np.ones(w.shape), **case.geometry
            ),
        )
