"""What `auto` takes, and what is refused, where a program would outgrow its use."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jconvt
from jconvt._choice import PLATFORMS, Slot, choose
from jconvt._geometry import Geometry
from jconvt._lowerings import LOWERINGS


def geometry(k, s, d=1, groups=1, rank=1):
    crop = ((0, 0),) * rank
    return Geometry(
        kernel_size=(k,) * rank,
        stride=(s,) * rank,
        dilation=(d,) * rank,
        crop=crop,
        groups=groups,
    )


EVERYWHERE = list(
    itertools.product(Slot, PLATFORMS, (True, False), (np.float32, np.float64))
)


@pytest.mark.parametrize(
    ("g", "never"),
    [
        pytest.param(geometry(3, 2, 64, groups=4), "overlap_add", id="wide_dilation"),
        pytest.param(geometry(3, 1, 10**6), "overlap_add", id="absurd_dilation"),
        pytest.param(geometry(40, 9, rank=2), "phases", id="81_residues"),
        pytest.param(geometry(5 * 10**8, 10**9, 7), "phases", id="absurd_stride"),
        pytest.param(geometry(4, 2), "matmul", id="overlap"),
    ],
)
def test_auto_takes_what_serves_and_stays_in_proportion(g, never):
    for slot, platform, static, dtype in EVERYWHERE:
        name = choose(slot, platform, g, np.dtype(dtype), static)
        assert name != never
        assert LOWERINGS[name].refuses(g, static) is None


@pytest.mark.parametrize(
    ("lowering", "options", "reason"),
    [
        ("phases", {"stride": 10**9}, "at most 4096 output residues"),
        ("overlap_add", {"dilation": 10**6}, "of at most 4096 strides"),
    ],
)
def test_absurd_options_are_refused_by_a_pinned_lowering(lowering, options, reason):
    with pytest.raises(ValueError, match=reason):
        jconvt.output_shape((1, 1, 1), (1, 1, 3), lowering=lowering, **options)


def test_outputs_between_the_taps_are_zero_in_every_lowering():
    """Full positions 3 to 5 of taps at 0 and 9: no phase has an element to read."""
    x, w = jnp.ones((1, 1, 1)), jnp.ones((1, 1, 2))
    options = {"stride": 2, "dilation": 9, "padding": [(3, 4)]}
    for name in ("auto", "lhs_dilation", "phases", "overlap_add", "role_swapped"):
        y, pull = jax.vjp(
            lambda x, name=name: jconvt.conv_transpose(x, w, lowering=name, **options),
            x,
        )
        np.testing.assert_array_equal(y, np.zeros((1, 1, 3)))
        np.testing.assert_array_equal(pull(jnp.ones_like(y))[0], np.zeros((1, 1, 1)))


@pytest.mark.parametrize("junk", [None, 3, (0.0, 1.0, 2.0), ("a", 1, 2)])
def test_junk_in_dimension_numbers_is_a_type_error(junk):
    numbers = lax.ConvDimensionNumbers((0, 1, 2), junk, (0, 1, 2))
    with pytest.raises(TypeError, match="`dimension_numbers` must hold tuples of ints"):
        jconvt.output_shape((1, 1, 1), (1, 1, 3), dimension_numbers=numbers)
