"""Single axes of arrays: merged, split, moved, continued, padded."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jconvt._call.geometry import Size


def permute(array: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """`lax.transpose`, but no operation at all where the order stays as it is."""
    if axes == tuple(range(array.ndim)):
        return array
    return lax.transpose(array, axes)


def merge_axes(y: jax.Array, axis: int) -> jax.Array:
    """Merge `axis` and the next one.

    One pair at a time: with explicit sharding JAX refuses a reshape that merges more.
    """
    shape = y.shape
    merged = (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
    return lax.reshape(y, merged)


def split_axis(y: jax.Array, axis: int, sizes: Sequence[Size]) -> jax.Array:
    """The inverse of merging: `axis` as several, the first of them sharded as it was.

    With explicit sharding JAX asks where the sharding goes.
    """
    shape = (*y.shape[:axis], *sizes, *y.shape[axis + 1 :])
    spec = jax.typeof(y).sharding.spec
    if all(along is None for along in spec):
        return lax.reshape(y, shape)
    rest = [None] * (len(sizes) - 1)
    to = PartitionSpec(*spec[: axis + 1], *rest, *spec[axis + 1 :])
    return lax.reshape(y, shape, out_sharding=to)


def move_axis(y: jax.Array, axis: int, to: int) -> jax.Array:
    """`jnp.moveaxis` for axes counted from 0, at a fraction of its tracing time."""
    order = [i for i in range(y.ndim) if i != axis]
    order.insert(to, axis)
    return y if order == list(range(y.ndim)) else lax.transpose(y, order)


def wrap_axis(x: jax.Array, axis: int, before: int, after: int) -> jax.Array:
    """Continue `x` periodically by so many elements, several periods if need be."""
    if not (before or after):
        return x
    n = x.shape[axis]
    if not isinstance(n, int):
        index = jnp.arange(-before, n + after) % n
        return jnp.take(x, index, axis=axis, mode="clip")
    whole = lax.concatenate([x] * (1 + -(-before // n) + -(-after // n)), axis)
    start = -before % n
    return lax.slice_in_dim(whole, start, start + n + before + after, axis=axis)


def pad_axis(x: jax.Array, axis: int, low: int, high: int) -> jax.Array:
    """Append zeros along an axis; negative: remove elements, to nothing at most."""
    if not (low or high):
        return x
    n = x.shape[axis]
    if isinstance(n, int) and n + min(low, 0) + min(high, 0) <= 0:
        return lax.slice_in_dim(x, 0, 0, axis=axis)
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (low, high, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), pads)
