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
    PyTorch computes the fan-in of a transposed layer as ``C_out/groups * prod(K)``,
    from the *output* channels, although the sum is over the input channels.

    Args:
      fan_in: None: computed from the shape, which must then be that of a weight,
        ``(C_in, C_out/groups, *K)``. For a bias, give the fan-in of the weight.
      dtype: dtype if the initializer is called without one; None: JAX's default float.
        Real and imaginary parts of a complex dtype are drawn independently.

    Returns:
      ``init(key, shape, dtype)``.

    Raises:
      TypeError: `fan_in` is not an int.
      ValueError: `fan_in` is negative; in the initializer, the shape is not that of a
        weight, or the dtype is neither floating nor complex.

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

    Over two axes this is bilinear upsampling. An output element lies between two input
    elements and weights each by its distance to the other, so along an axis the taps
    are a tent of half-width `factor` about the middle of the kernel::

        tap(t) = max(0, 1 - |t - (K-1)/2| / factor)

    The kernel must hold the whole tent: K odd and at least 2*factor - 1, or even and at
    least 2*factor. Then taps that are `factor` apart sum to 1, and a constant image
    stays constant wherever two input elements are in reach.

    To resize with the corners aligned, take 2*factor - 1 taps and padding ``factor -
    1``. To resize as `jax.image.resize` does, with pixel centres at halves, take
    padding ``"SAME"`` and 2*factor taps if the factor is even, 2*factor - 1 if it is
    odd; the outermost ``factor // 2`` elements then fade towards zero.

    Args:
      factor: the layer's `stride`, an int or one for each spatial axis. None: (K+1)//2,
        the largest factor whose tent fits into K taps.
      groups: the layer's `groups`. The layer must have as many channels out as in.
      dtype: dtype if the initializer is called without one; None: JAX's default float.

    Returns:
      ``init(key, shape, dtype)`` for the shape of a weight, ``(C, C/groups, *K)``. The
      key is ignored.

    Raises:
      TypeError: `factor` or `groups` has the wrong type.
      ValueError: `factor` or `groups` is less than 1; in the initializer, the shape
        changes the number of channels, the kernel is too small for the tent, or the
        dtype is neither floating nor complex.

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

    An output element of a transposed convolution uses the taps of one phase, which are
    ``stride`` apart; if the phases are independent, the output has a checkerboard. This
    initializer draws a kernel of m = K // stride taps per axis from `inner` and repeats
    each tap `stride` times, so that all phases are equal. The layer then computes a
    convolution with the small kernel and repeats its elements (ICNR, Aitken et al.,
    arXiv:1707.02937, for this layer).

    If K is not a multiple of the stride, the repeated kernel can start at any of r + 1
    positions, with r = K % stride. The weight is the mean over these positions, which
    smooths the upsampled image by a box of r + 1 elements. It is symmetric and uses all
    taps, and every phase has the same sum, so a constant input gives a constant output.

    Args:
      inner: any initializer of ``jax.nn.initializers`` or of this module. It is called
        with the shape ``(C_in, C_out/groups, *m)``, the taps that an output element
        uses.
      stride: the layer's `stride`, an int or one for each spatial axis. The layer's
        dilation must be 1.

    Returns:
      ``init(key, shape, dtype)`` for the shape of a weight, ``(C_in, C_out/groups,
      *K)``.

    Raises:
      TypeError: `inner` is not callable, or `stride` has the wrong type.
      ValueError: `stride` is less than 1; in the initializer, the kernel is smaller
        than the stride, so that some phases have no tap.

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
