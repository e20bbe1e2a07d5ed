"""One padding for each spatial axis: names, pairs and ints in any mixture.

With a separable kernel a layer of two axes is two layers of one axis, one after the
other, and each is computed by the oracles with the padding of its own axis.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
import oracles
from cases import RULES

SPACE, KERNEL, STRIDE, DILATION = (4, 3), (3, 4), (2, 3), (2, 1)
KINDS = ("SAME", "CIRCULAR", "CAUSAL", "VALID", (2, -1), "CIRCULAR", 1, "SAME_LOWER")


def whole(seed, *shape):
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


def along(axis, x, taps, padding):
    """The layer of one axis, with every line of the other as an image of its own."""
    lines = np.moveaxis(x, axis, -1)
    flat = lines.reshape(-1, 1, lines.shape[-1])
    w = taps.reshape(1, 1, -1)
    n, k, s, d = (option[axis] for option in (SPACE, KERNEL, STRIDE, DILATION))
    options = {"stride": (s,), "dilation": (d,)}
    if padding == "CIRCULAR":
        y = oracles.circular(flat, w, **options)
    else:
        crop = RULES[padding](n, k, s, d) if isinstance(padding, str) else padding
        crop = (crop, crop) if isinstance(crop, int) else crop
        y = oracles.scatter(flat, w, crop=(crop,), **options)
    y = np.asarray(y).reshape(*lines.shape[:-1], -1)
    return np.moveaxis(y, -1, axis)


def operands():
    taps = [whole(seed, k) for seed, k in enumerate(KERNEL)]
    return whole(7, *SPACE), taps


def conv_transpose(x, w, padding):
    return jconvt.conv_transpose(
        x, w, stride=STRIDE, dilation=DILATION, padding=padding
    )


@pytest.mark.parametrize("padding", [*itertools.pairwise(KINDS)], ids=str)
def test_each_axis_has_its_own_padding(padding):
    x, taps = operands()
    wanted = along(1, along(0, x, taps[0], padding[0]), taps[1], padding[1])
    w = np.outer(*taps)[None, None]
    y = conv_transpose(x[None, None], w, padding)
    np.testing.assert_array_equal(y[0, 0], wanted)
    options = {"stride": STRIDE, "dilation": DILATION, "padding": padding}
    shape = jconvt.output_shape((1, 1, *SPACE), w.shape, **options)
    explained = jconvt.explain((1, 1, *SPACE), w.shape, **options).output_shape
    assert shape == explained == y.shape


@pytest.mark.parametrize(
    "padding", [("CIRCULAR", "CAUSAL"), ((0, 2), "CIRCULAR_LOWER"), ("SAME", 1)]
)
def test_gradients(padding):
    """Each gradient is the adjoint: <y(x, w), c> = <x, dx> = <w, dw>."""
    x, w = whole(0, 2, 2, *SPACE), whole(1, 2, 3, *KERNEL)
    y, pull_back = jax.vjp(lambda x, w: conv_transpose(x, w, padding), x, w)
    cotangent = whole(2, *y.shape)
    dx, dw = pull_back(jnp.asarray(cotangent))
    wanted = np.vdot(y, cotangent)
    assert wanted != 0
    np.testing.assert_array_equal(np.vdot(x, dx), wanted)
    np.testing.assert_array_equal(np.vdot(w, dw), wanted)


def test_any_case_of_letters():
    x, taps = operands()
    x, w = x[None, None], np.outer(*taps)[None, None]
    mixed = conv_transpose(x, w, ["causal", "Same"])
    np.testing.assert_array_equal(mixed, conv_transpose(x, w, ("CAUSAL", "SAME")))


def test_a_dilation_beyond_the_period_of_one_axis():
    """Of the periodic axis alone it counts modulo the output's size."""
    x, w = whole(0, 1, 1, 3, 3), whole(1, 1, 1, 2, 2)
    once, far = (
        jconvt.conv_transpose(x, w, dilation=d, padding=(1, "CIRCULAR"))
        for d in ((5, 1), (5, 1 + 3 * 1000))
    )
    assert once.shape == (1, 1, 6, 3)
    # Half of the overlap is cropped low, 0 and 1500: the same place in a period of 3.
    np.testing.assert_array_equal(far, once)


def test_output_padding_and_output_size_of_the_other_axis():
    """A periodic axis takes none; its neighbour does."""
    shapes = (1, 1, 3, 3), (1, 1, 4, 4)
    options = {"stride": 2, "padding": (1, "CIRCULAR")}
    shape = jconvt.output_shape(*shapes, **options, output_padding=(1, 0))
    assert shape == (1, 1, 7, 6)
    assert jconvt.output_shape(*shapes, **options, output_size=(7, 6)) == shape
    with pytest.raises(ValueError, match=r"between \(6, 6\) and \(7, 6\)"):
        jconvt.output_shape(*shapes, **options, output_size=(7, 7))


ERRORS = {
    "unknown name": (
        {"padding": (1, "SAM")},
        ValueError,
        "`padding[1]` must be an int, a (low, high) pair or one of VALID, SAME, "
        "SAME_LOWER, CAUSAL, CIRCULAR, CIRCULAR_LOWER; got 'SAM'. Did you mean 'SAME'?",
    ),
    "too few": (
        {"padding": ("SAME",)},
        ValueError,
        "`padding` must hold 2 ints, (low, high) pairs or names, one for each spatial "
        "axis; got 1: ('SAME',).",
    ),
    "names in a pair": (
        {"padding": (1, ("SAME", "SAME"))},
        TypeError,
        "`padding[1]` must hold two ints; got 'SAME' of type str.",
    ),
    "output_padding": (
        {"padding": (1, "CIRCULAR"), "output_padding": 1, "stride": 2},
        ValueError,
        "`output_padding[1]` must be 0 with padding[1] 'CIRCULAR', whose output is "
        "n*stride; got 1.",
    ),
    "huge": (
        {"padding": ("SAME", (0, 2**31))},
        ValueError,
        "`padding` must not be larger than 2147483647; got 2147483648.",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    options, error, message = ERRORS[name]
    with pytest.raises(error) as caught:
        jconvt.output_shape((1, 1, 3, 3), (1, 1, 4, 4), **options)
    assert str(caught.value) == f"output_shape: {message}"


def test_the_functions_of_one_to_three_axes_take_none_of_it():
    x, taps = operands()
    with pytest.raises(TypeError, match="Strings and"):
        jconvt.conv_transpose2d(
            x[None, None], np.outer(*taps)[None, None], padding=("SAME", 1)
        )
