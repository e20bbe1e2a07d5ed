"""What jconvt is measured against; nothing here uses it.

`scatter` is the definition of the transposed convolution, a loop over the kernel's taps
in NumPy; the `gradient_of_*` are its adjoints, written as gathers; `adjoint_of_forward`
is what JAX makes of the forward convolution; and the `*_crop` are the frameworks'
padding rules, each straight from its own definition. Arrays are channels first: input
(N, C, *S), weight (C, M/groups, *K); `crop` holds one (low, high) pair an axis and may
be negative. With `period`, the size of each output axis, positions count modulo it.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def widen(array):
    """The array in the widest type of its kind, where the oracles calculate.

    Integers of every width become int64: sums modulo 2**64 hold modulo 2**bits too.
    """
    array = np.asarray(array)
    for kind, wide in (
        (jnp.integer, np.int64),
        (jnp.complexfloating, np.complex128),
        (jnp.floating, np.float64),
    ):
        if jnp.issubdtype(array.dtype, kind):
            return array.astype(wide)
    raise TypeError(f"no oracle for {array.dtype}")


# The definition -----------------------------------------------------------------------


def extent(kernel, dilation):
    """Positions that a dilated kernel spans, an axis each."""
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))


def full_size(space, kernel, stride, dilation):
    """Size of the result before any crop."""
    spans = extent(kernel, dilation)
    return tuple((n - 1) * s + e for n, s, e in zip(space, stride, spans, strict=True))


def cropped_size(space, kernel, stride, crop, dilation):
    """Size of the result after the crop."""
    full = full_size(space, kernel, stride, dilation)
    return tuple(f - low - high for f, (low, high) in zip(full, crop, strict=True))


def meetings(space, size, kernel, stride, crop, dilation, period=None):
    """For each tap, the input elements that it sends into the output, and where to.

    Element i and tap t meet at output ``i*stride + t*dilation - low``. No two elements
    of one tap meet at the same output.
    """
    for t in np.ndindex(*kernel):
        inputs, outputs = [], []
        for axis, tap in enumerate(t):
            low, _ = crop[axis]
            o = np.arange(space[axis]) * stride[axis] + tap * dilation[axis] - low
            if period and period[axis]:
                o %= period[axis]
            inside = (o >= 0) & (o < size[axis])
            inputs.append(np.flatnonzero(inside))
            outputs.append(o[inside])
        yield t, np.ix_(*inputs), np.ix_(*outputs)


def scatter(x, w, bias=None, *, stride, crop, dilation, groups=1, period=None):
    """Input element i adds `w[t] * x[i]` at position `i*stride + t*dilation - low`."""
    x, w = widen(x), widen(w)
    (batch, channels, *space), (_, per_group, *kernel) = x.shape, w.shape
    size = cropped_size(space, kernel, stride, crop, dilation)
    wraps = period or [None] * len(size)
    size = [m if p is None else p for p, m in zip(wraps, size, strict=True)]
    y = np.zeros((batch, groups, per_group, *size), np.result_type(x, w))
    x = x.reshape(batch, groups, channels // groups, *space)
    w = w.reshape(groups, channels // groups, per_group, *kernel)
    for t, i, o in meetings(space, size, kernel, stride, crop, dilation, period):
        y[..., *o] += np.einsum("ngc...,gcm->ngm...", x[..., *i], w[..., *t])
    y = y.reshape(batch, groups * per_group, *size)
    if bias is None:
        return y
    return y + widen(bias).reshape(-1, *[1] * len(size))


# Its adjoints -------------------------------------------------------------------------


def gradient_of_input(
    cotangent, w, *, space, stride, crop, dilation, groups=1, period=None
):
    """Gathers `w[t] * cotangent[i*stride + t*dilation - low]` for input element i."""
    w, g = widen(w), widen(cotangent)
    (batch, _, *size), (channels, per_group, *kernel) = g.shape, w.shape
    w = w.reshape(groups, channels // groups, per_group, *kernel)
    g = g.reshape(batch, groups, per_group, *size)
    dx = np.zeros((batch, groups, channels // groups, *space), np.result_type(w, g))
    for t, i, o in meetings(space, size, kernel, stride, crop, dilation, period):
        dx[..., *i] += np.einsum("ngm...,gcm->ngc...", g[..., *o], w[..., *t])
    return dx.reshape(batch, channels, *space)


def gradient_of_weight(
    cotangent, x, *, kernel, stride, crop, dilation, groups=1, period=None
):
    """Gathers `x[i] * cotangent[i*stride + t*dilation - low]` for tap t."""
    x, g = widen(x), widen(cotangent)
    (batch, channels, *space), (_, features, *size) = x.shape, g.shape
    per_group = features // groups
    x = x.reshape(batch, groups, channels // groups, *space)
    g = g.reshape(batch, groups, per_group, *size)
    shape = (groups, channels // groups, per_group, *kernel)
    dw = np.zeros(shape, np.result_type(x, g))
    for t, i, o in meetings(space, size, kernel, stride, crop, dilation, period):
        xs, gs = _flat(x[..., *i]), _flat(g[..., *o])
        dw[..., *t] = np.einsum("ngci,ngmi->gcm", xs, gs)
    return dw.reshape(channels, per_group, *kernel)


def _flat(array):
    """Space as one axis, the fourth."""
    return array.reshape(*array.shape[:3], math.prod(array.shape[3:]))


def gradient_of_bias(cotangent):
    """The cotangent summed over batch and space."""
    axes = [axis for axis in range(cotangent.ndim) if axis != 1]
    return widen(cotangent).sum(axis=tuple(axes))


def adjoint_of_forward(x, w, *, stride, crop, dilation, groups=1):
    """`jax.vjp` of the forward convolution that `crop` pads, applied to `x`."""
    size = cropped_size(x.shape[2:], w.shape[2:], stride, crop, dilation)
    y = jnp.zeros((x.shape[0], groups * w.shape[1], *size), x.dtype)
    spatial = "".join("0123456789"[: len(size)])

    def forward(y, w):
        return lax.conv_general_dilated(
            y,
            w,
            window_strides=stride,
            padding=crop,
            rhs_dilation=dilation,
            feature_group_count=groups,
            dimension_numbers=(f"NC{spatial}", f"OI{spatial}", f"NC{spatial}"),
            precision=lax.Precision.HIGHEST,
        )

    @jax.jit
    def adjoint(x, y, w):
        return jax.vjp(lambda y: forward(y, w), y)[1](x)[0]

    return adjoint(x, y, w)


def circular(x, w, bias=None, *, stride, dilation, groups=1):
    """The full scatter wrapped on a period of n*stride, started half the overlap in."""
    space, spans = x.shape[2:], extent(w.shape[2:], dilation)
    low = [max(e - s, 0) // 2 for e, s in zip(spans, stride, strict=True)]
    return scatter(
        x,
        w,
        bias,
        stride=stride,
        crop=[(first, 0) for first in low],
        dilation=dilation,
        groups=groups,
        period=[n * s for n, s in zip(space, stride, strict=True)],
    )


# Padding rules, an axis at a time: input size n, kernel k, stride s, dilation d -------


def torch_crop(padding, output_padding=0):
    """PyTorch: `padding` off both ends, `output_padding` more at the high end."""
    return padding, padding - output_padding


def same_crop(n, k, s, d):
    """TensorFlow: the padding 'SAME' gives a convolution from n*s to n elements."""
    wide = n * s
    total = max((n - 1) * s + d * (k - 1) + 1 - wide, 0)
    low = total // 2
    return low, (n - 1) * s + d * (k - 1) + 1 - wide - low


def same_lower_crop(n, k, s, d):
    """The same size as `same_crop`, with the odd element cropped at the low end."""
    total = (n - 1) * s + d * (k - 1) + 1 - n * s
    low = max(total, 0) - max(total, 0) // 2
    return low, total - low


def valid_crop(n, k, s, d):
    """TensorFlow: the longest signal that a 'VALID' convolution takes to n elements.

    Keras and lax pick out of the s lengths that do so: (n-1)*s + max(k_e, s).
    """
    span = d * (k - 1) + 1
    return 0, span - max(span, s)


def causal_crop(n, k, s, d):
    """n*s outputs, none of which sees a later input: all is cropped at the end."""
    return 0, (n - 1) * s + d * (k - 1) + 1 - n * s


def onnx_crop(
    n, k, s, d, pads=(0, 0), output_padding=0, output_shape=None, auto_pad="NOTSET"
):
    """ONNX ConvTranspose: explicit pads, or pads that reach a wanted size.

    Where the wanted size is more than there is, zeros go to the end, as its node test
    `convtranspose_output_shape` and ONNX Runtime have it.
    """
    full = s * (n - 1) + d * (k - 1) + 1
    if auto_pad.startswith("SAME") and output_shape is None:
        output_shape = n * s
    if output_shape is None:
        low, high = pads if auto_pad == "NOTSET" else (0, 0)
        return low, high - output_padding
    total = max(full + output_padding - output_shape, 0)
    low = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
    return low, full - output_shape - low


# Comparison ---------------------------------------------------------------------------


class Expected(NamedTuple):
    """A value, what its terms sum to in magnitude, and how many terms there are."""

    value: np.ndarray
    magnitude: np.ndarray
    terms: int


def _one_norm(array):
    array = widen(array)
    return np.abs(array.real) + np.abs(array.imag)


def _expect(oracle, terms, *arrays, **geometry):
    """The oracle of the arrays and of their magnitudes."""
    sizes = [None if array is None else _one_norm(array) for array in arrays]
    return Expected(oracle(*arrays, **geometry), oracle(*sizes, **geometry), terms)


def expect_value(x, w, bias=None, *, groups=1, **geometry):
    terms = w.shape[0] // groups * math.prod(w.shape[2:]) + 1
    return _expect(scatter, terms, x, w, bias, groups=groups, **geometry)


def expect_circular(x, w, bias=None, *, groups=1, **geometry):
    # i*stride takes each value once in a period: a tap reaches an output at most once.
    terms = w.shape[0] // groups * math.prod(w.shape[2:]) + 1
    return _expect(circular, terms, x, w, bias, groups=groups, **geometry)


def expect_gradients(cotangent, x, w, *, groups=1, **geometry):
    """What `jax.vjp` gives for input, weight and bias."""
    batch, per_group = x.shape[0], w.shape[1]
    space, kernel = x.shape[2:], w.shape[2:]
    geometry["groups"] = groups
    dx = _expect(
        lambda g, w: gradient_of_input(g, w, space=space, **geometry),
        per_group * math.prod(kernel),
        cotangent,
        w,
    )
    dw = _expect(
        lambda g, x: gradient_of_weight(g, x, kernel=kernel, **geometry),
        batch * math.prod(space),
        cotangent,
        x,
    )
    terms = batch * math.prod(cotangent.shape[2:])
    db = _expect(gradient_of_bias, terms, cotangent)
    return dx, dw, db


def accumulator(dtype):
    """The type in which sums of that type are promised to be taken."""
    sixteen_bits = (jnp.float16, jnp.bfloat16)
    return np.float32 if dtype in sixteen_bits else dtype


def sum_error(terms, dtype):
    """Error of a sum of products in any order, in units of the sum of magnitudes.

    n roundings err by at most n*u / (1 - n*u), with u half the spacing at one. A
    product and a bias add one each. A complex product taken as three real ones sums
    magnitudes up to twice as large, and two such sums are combined.
    """
    unit = float(jnp.finfo(dtype).eps) / 2
    if jnp.issubdtype(dtype, jnp.complexfloating):
        unit, terms = 4 * unit, terms + 2
    roundings = (terms + 2) * unit
    return roundings / (1 - roundings)


def assert_close(
    actual,
    desired,
    *,
    magnitude=None,
    terms=1,
    dtype,
    accumulate=None,
    biased=False,
):
    """Equal shape and type, and each element as near as its own sum can promise.

    The bound is that of `terms` products summed in `accumulate` (by default what the
    library promises for `dtype`) with magnitudes that sum to `magnitude`, the same for
    the oracle's own float64 sum, and one rounding to `dtype`; with `biased` one more,
    of the sum before a bias is added to it. Integers: equal modulo 2**bits.
    """
    actual, desired = np.asarray(actual), np.asarray(desired)
    dtype = np.dtype(dtype)
    assert actual.dtype == dtype, f"dtype {actual.dtype}, expected {dtype}"
    assert actual.shape == desired.shape, (
        f"shape {actual.shape}, expected {desired.shape}"
    )
    if jnp.issubdtype(dtype, jnp.integer):
        np.testing.assert_array_equal(actual, desired.astype(dtype))
        return
    magnitude = np.abs(desired) if magnitude is None else magnitude
    error = sum_error(terms, accumulate or accumulator(dtype))
    error = (error + sum_error(terms, np.float64)) * magnitude
    info = jnp.finfo(dtype)
    rounding = float(info.eps) / 2 * (np.abs(desired) + error) + float(info.tiny)
    if biased:
        rounding += float(info.eps) / 2 * magnitude
    difference = np.abs(widen(actual) - desired)
    far = ~(difference <= error + rounding)  # a NaN is far from everything
    if far.any():
        worst = np.unravel_index(np.argmax(np.where(far, 1, 0)), far.shape)
        raise AssertionError(
            f"{far.sum()} of {far.size} elements are off; the first, at "
            f"{tuple(map(int, worst))}, is {actual[worst]} and should be "
            f"{desired[worst]} within {(error + rounding)[worst]:.2e}"
        )


def assert_expected(actual, expected, dtype, accumulate=None):
    """`assert_close` to an `Expected`."""
    assert_close(
        actual,
        expected.value,
        magnitude=expected.magnitude,
        terms=expected.terms,
        dtype=dtype,
        accumulate=accumulate,
        biased=np.dtype(dtype).itemsize == 2,
    )


def filtered(expected, rank, *operands):
    """The same value with the bound that minimal filtering keeps.

    A filter's products mix neighbouring elements, so an element's bound is by the
    largest magnitudes, not by its own sum. Per axis the absolute values of split,
    prepare and join multiply to 4 (2 taps) or 8 (3 taps) for an output and to 8 at most
    for a gradient: to at most 4 times the taps.
    """
    largest = math.prod(float(np.max(_one_norm(a))) for a in operands)
    magnitude = np.full(
        expected.value.shape, 4**rank * expected.terms * largest, np.float64
    )
    return Expected(expected.value, magnitude, 2 * expected.terms)


def permute(array, source, target):
    """The array with its axes, named by the letters of `source`, in another order."""
    return np.transpose(array, [source.index(letter) for letter in target])
