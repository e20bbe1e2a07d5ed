"""Initializers for transposed convolutions, in the style of `jax.nn.initializers`.

Each function here returns an initializer ``init(key, shape, dtype)``, for the layers of
this library (``weight_init``, ``bias_init``) and for any others.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes, lax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from jconvt._call.arguments import IntOrInts, Shape, check_int, check_ints
from jconvt._call.tracebacks import ends_traceback

__all__ = ["bilinear", "icnr", "torch_uniform"]


@ends_traceback
def torch_uniform(
    *, fan_in: int | None = None, dtype: DTypeLike | None = None
) -> Initializer:
    """PyTorch's default initialization of a transposed convolution.

    Uniform in [-b, b) with ``b = 1/sqrt(fan_in)``, for the weight and for the bias.
    PyTorch counts the fan-in of a transposed layer as ``C_out/groups * prod(K)``: of
    the *output* channels, although it is the input channels that are summed over.

    Args:
      fan_in: None (the default): derived from the shape, which must then be a weight's,
        ``(C_in, C_out/groups, *K)``. For a bias: give the weight's.
      dtype: dtype where the initializer is called with none; JAX's default float if
        None. Of a complex dtype real and imaginary part are drawn independently.

    Returns:
      ``init(key, shape, dtype)``.

    Raises:
      TypeError: `fan_in` is not an int.
      ValueError: `fan_in` is negative; in the initializer, a shape that tells no
        fan-in, or a dtype neither floating nor complex.

    Example:
      >>> import jax, jconvt.initializers
      >>> init = jconvt.initializers.torch_uniform()
      >>> weight = init(jax.random.key(0), (8, 4, 5, 5))
      >>> weight.shape, bool(abs(weight).max() <= 0.1)
      ((8, 4, 5, 5), True)
      >>> init = jconvt.initializers.torch_uniform(fan_in=4 * 5 * 5)
      >>> init(jax.random.key(1), (4,), "bfloat16").dtype
      dtype(bfloat16)
    """
    if fan_in is not None:
        check_int("torch_uniform", "fan_in", fan_in, 0)
    default_dtype = float if dtype is None else dtype

    @ends_traceback
    def init(
        key: jax.Array,
        shape: Shape,
        dtype: DTypeLike | None = None,
        out_sharding: Any = None,
    ) -> jax.Array:
        # At least 1, so that a layer without output channels has (empty) parameters.
        bound = 1 / math.sqrt(max(_fan_in(shape) if fan_in is None else fan_in, 1))
        result = _inexact("torch_uniform", default_dtype if dtype is None else dtype)

        def draw(key: jax.Array, dtype: np.dtype[Any]) -> jax.Array:
            return jax.random.uniform(
                key, tuple(shape), dtype, -bound, bound, out_sharding=out_sharding
            )

        if jnp.issubdtype(result, jnp.complexfloating):
            real = np.finfo(result).dtype
            return lax.complex(*(draw(k, real) for k in jax.random.split(key)))
        return draw(key, result)

    return init


def _fan_in(shape: Shape) -> int:
    """The fan-in of a weight (C_in, C_out/groups, *K), as PyTorch counts it."""
    if len(shape) < 2:
        raise ValueError(
            f"torch_uniform: `shape` must be a weight's, (C_in, C_out/groups, *kernel),"
            f" to tell the fan-in; got {tuple(shape)}. For a bias give `fan_in`."
        )
    return math.prod(shape[1:])


@ends_traceback
def bilinear(
    *,
    factor: IntOrInts | None = None,
    groups: int = 1,
    dtype: DTypeLike | None = None,
) -> Initializer:
    """Linear interpolation of each channel, by any factor over any number of axes.

    Over two axes that is bilinear upsampling. Output element o lies between two input
    elements, factor apart, and is weighted by its distances to them, so along an axis
    the taps are a tent of half-width `factor` about the middle of the kernel::

        tap(t) = max(0, 1 - |t - (K-1)/2| / factor)

    Taps `factor` apart sum to 1 if the kernel holds the whole tent, so if K is odd and
    at least 2*factor - 1 or even and at least 2*factor. A constant image stays constant
    wherever two input elements are in reach: a crop of ``factor - 1`` from 2*factor - 1
    taps leaves just these outputs, and resizes with the corners aligned. To resize by
    pixels (centres at halves), as `jax.image.resize` does, take 2*factor taps for an
    even factor and 2*factor - 1 for an odd one, with padding ``"SAME"``, that is
    ``factor // 2``; the outermost ``factor // 2`` elements then fade towards zero.

    Args:
      factor: output elements between neighbouring input elements, which the layer calls
        `stride`; an int or one for each spatial axis. None (the default): (K+1)//2, the
        largest whose tent K taps hold.
      groups: the layer's. It must keep the number of channels; channels do not mix.
      dtype: dtype where the initializer is called with none; JAX's default float if
        None.

    Returns:
      ``init(key, shape, dtype)`` for the shape of a weight, ``(C, C/groups, *K)``. The
      key is ignored.

    Raises:
      TypeError: `factor` or `groups` is not ints.
      ValueError: one is less than 1; in the initializer, a shape that changes the
        number of channels, a kernel too small for the tent, or a dtype neither floating
        nor complex.

    Example:
      >>> import jax, jax.numpy as jnp, jconvt, jconvt.initializers
      >>> weight = jconvt.initializers.bilinear()(None, (1, 1, 4))
      >>> weight
      Array([[[0.25, 0.75, 0.75, 0.25]]], dtype=float32)
      >>> x = jnp.array([[[0., 4., 8.]]])
      >>> jconvt.conv_transpose(x, weight, stride=2, padding="SAME")
      Array([[[0., 1., 3., 5., 7., 6.]]], dtype=float32)
    """
    function = "bilinear"
    default_dtype = float if dtype is None else dtype
    check_int(function, "groups", groups, 1)
    if factor is not None:
        rank = len(factor) if isinstance(factor, tuple | list) else 1
        check_ints(function, "factor", factor, rank, 1)

    @ends_traceback
    def init(
        key: jax.Array | None,
        shape: Shape,
        dtype: DTypeLike | None = None,
        out_sharding: Any = None,
    ) -> jax.Array:
        del key
        channels, per_group, *kernel_size = _weight_shape(function, shape)
        if channels != per_group * groups:
            raise ValueError(
                f"{function}: `shape` must be (C, C/groups, *kernel), with as many "
                f"channels out as in; got {tuple(shape)} with groups={groups}."
            )
        factors = (
            [(k + 1) // 2 for k in kernel_size]
            if factor is None
            else check_ints(function, "factor", factor, len(kernel_size), 1)
        )
        taps = np.ones(())
        for k, f in zip(kernel_size, factors, strict=True):
            taps = np.multiply.outer(taps, _tent(k, f))
        # Within its group channel i is number i % per_group.
        same = np.arange(channels)[:, None] % per_group == np.arange(per_group)
        weight = np.multiply.outer(same.astype(float), taps)
        result = _inexact(function, default_dtype if dtype is None else dtype)
        return _placed(jnp.asarray(weight, result), out_sharding)

    return init


@ends_traceback
def icnr(inner: Initializer, *, stride: IntOrInts) -> Initializer:
    """Initialization without checkerboards: nearest-neighbour upsampling at step 0.

    Each output element of a transposed convolution sees the taps of one phase, those
    ``stride`` apart, and independent phases draw a checkerboard. This draws a kernel of
    m = K // stride taps per axis from `inner` and repeats each tap `stride` times, so
    that all phases are the same: the layer computes the convolution that the small
    kernel defines at the input's resolution, and repeats its elements (ICNR, Aitken et
    al., arXiv:1707.02937, for this layer).

    Where K is not a multiple of the stride, r = K % stride taps are left over, and the
    repeated kernel can start at any of r + 1 positions. The weight is the mean over
    them: the nearest-neighbour upsampling, smoothed by a box of r + 1 elements. It is
    symmetric, uses all taps, and each phase still has the same sum, so a constant input
    gives a constant output.

    Args:
      inner: any initializer of ``jax.nn.initializers`` or of this module. It is called
        with the shape ``(C_in, C_out/groups, *m)``, whose fan-in is what an output
        element sees.
      stride: the layer's, an int or one for each spatial axis. Its dilation must be 1.

    Returns:
      ``init(key, shape, dtype)`` for the shape of a weight, ``(C_in, C_out/groups,
      *K)``.

    Raises:
      TypeError: `inner` is not callable, or `stride` not ints.
      ValueError: a stride less than 1; in the initializer, a kernel smaller than the
        stride, some of whose phases would have no tap.

    Example:
      >>> import jax, jconvt, jconvt.initializers
      >>> from jax.nn.initializers import normal
      >>> init = jconvt.initializers.icnr(normal(), stride=2)
      >>> weight = init(jax.random.key(0), (1, 1, 4))
      >>> bool((weight[..., 0::2] == weight[..., 1::2]).all())
      True
    """
    function = "icnr"
    if not callable(inner):
        raise TypeError(
            f"{function}: `inner` must be an initializer, called with key, shape and "
            f"dtype; got {inner!r} of type {type(inner).__name__}."
        )
    rank = len(stride) if isinstance(stride, tuple | list) else 1
    check_ints(function, "stride", stride, rank, 1)

    @ends_traceback
    def init(
        key: jax.Array,
        shape: Shape,
        dtype: DTypeLike | None = None,
        out_sharding: Any = None,
    ) -> jax.Array:
        *channels, kernel_size = (*shape[:2], _weight_shape(function, shape)[2:])
        strides = check_ints(function, "stride", stride, len(kernel_size), 1)
        if any(k < s for k, s in zip(kernel_size, strides, strict=True)):
            raise ValueError(
                f"{function}: `shape` must have a kernel of at least `stride` taps on "
                f"every axis; got {tuple(shape)} with stride {strides}."
            )
        small = tuple(k // s for k, s in zip(kernel_size, strides, strict=True))
        shape = (*channels, *small)
        weight = inner(key, shape) if dtype is None else inner(key, shape, dtype)
        for axis, (k, s) in enumerate(zip(kernel_size, strides, strict=True), start=2):
            weight = _repeat_and_smooth(weight, axis, s, k % s + 1)
        return _placed(weight, out_sharding)

    return init


def _repeat_and_smooth(weight: jax.Array, axis: int, times: int, box: int) -> jax.Array:
    """Each element `times` times, then the mean over `box` shifts by one."""
    repeated = jnp.repeat(weight, times, axis=axis)
    if box == 1:
        return repeated
    size = repeated.shape[axis] + box - 1
    padded = [
        jnp.pad(
            repeated,
            [(0, 0)] * axis
            + [(i, size - repeated.shape[axis] - i)]
            + [(0, 0)] * (weight.ndim - axis - 1),
        )
        for i in range(box)
    ]
    return sum(padded[1:], start=padded[0]) / box


def _tent(taps: int, factor: int) -> np.ndarray[Any, Any]:
    """`taps` samples of a tent of half-width `factor`, or the error."""
    if taps < 2 * factor - taps % 2:
        raise ValueError(
            f"bilinear: `shape` must have at least 2*factor - 1 taps an axis if odd, "
            f"2*factor if even; got {taps} for a factor of {factor}."
        )
    distance = np.abs(np.arange(taps) - (taps - 1) / 2)
    return np.maximum(0, factor - distance) / factor


def _weight_shape(function: str, shape: Shape) -> tuple[int, ...]:
    if len(shape) < 2:
        raise ValueError(
            f"{function}: `shape` must be a weight's, (C_in, C_out/groups, *kernel); "
            f"got {tuple(shape)}."
        )
    return tuple(shape)


def _inexact(function: str, dtype: DTypeLike) -> np.dtype[Any]:
    """The dtype as JAX has it, if it is floating or complex, or a ValueError."""
    result = np.dtype(dtypes.canonicalize_dtype(dtype))
    if not jnp.issubdtype(result, jnp.inexact):
        raise ValueError(
            f"{function}: `dtype` must be floating or complex; got {result}."
        )
    return result


def _placed(weight: jax.Array, out_sharding: Any) -> jax.Array:
    if out_sharding is None:
        return weight
    return jax.sharding.reshard(weight, out_sharding)
