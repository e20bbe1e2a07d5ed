"""Rearrangements of axes: merge, split, move, extend, pad, crop, depth-to-space."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jconvt._call.geometry import Size


def permute(array: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """`lax.transpose`, but no operation at all if the order stays as it is."""
    if axes == tuple(range(array.ndim)):
        return array
    return lax.transpose(array, axes)


def merge_axes(y: jax.Array, axis: int, count: int = 2) -> jax.Array:
    """Merge `count` neighbouring axes, beginning with `axis`, into one.

    Two at a time: under explicit sharding JAX refuses a reshape that merges more.
    """
    for _ in range(count - 1):
        shape = y.shape
        merged = (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
        y = lax.reshape(y, merged)
    return y


def split_axis(y: jax.Array, axis: int, sizes: Sequence[Size]) -> jax.Array:
    """Split `axis` into axes of these sizes; the first one keeps the sharding.

    Under explicit sharding JAX asks where the sharding goes.
    """
    shape = (*y.shape[:axis], *sizes, *y.shape[axis + 1 :])
    spec = jax.typeof(y).sharding.spec
    if all(along is None for along in spec):
        return lax.reshape(y, shape)
    rest = [None] * (len(sizes) - 1)
    to = PartitionSpec(*spec[: axis + 1], *rest, *spec[axis + 1 :])
    return lax.reshape(y, shape, out_sharding=to)


def split_runs(
    y: jax.Array, runs: Iterable[tuple[int, int]], axis: int
) -> dict[tuple[int, int], jax.Array]:
    """(start, length) -> these elements of an axis, for `runs` that do not overlap.

    By one `lax.split`, whose transpose is a concatenation. The transpose of a slice for
    each would be a sum of arrays padded with zeros.
    """
    wanted = list(runs)
    ends = itertools.chain.from_iterable((start, start + n) for start, n in wanted)
    bounds = sorted({0, y.shape[axis], *ends})
    sizes = [end - start for start, end in itertools.pairwise(bounds)]
    parts = dict(zip(bounds, lax.split(y, sizes, axis), strict=False))
    return {(start, n): parts[start] for start, n in wanted}


def move_axis(y: jax.Array, axis: int, to: int) -> jax.Array:
    """`jnp.moveaxis` for axes counted from 0, at a fraction of its tracing time."""
    order = [i for i in range(y.ndim) if i != axis]
    order.insert(to, axis)
    return permute(y, tuple(order))


def wrap_axis(x: jax.Array, axis: int, before: int, after: int) -> jax.Array:
    """Extend `x` periodically by so many elements, by several periods if needed."""
    if not (before or after):
        return x
    n = x.shape[axis]
    if not isinstance(n, int):
        index = jnp.arange(-before, n + after) % n
        return jnp.take(x, index, axis=axis, mode="clip")
    periods = lax.concatenate([x] * (1 + -(-before // n) + -(-after // n)), axis)
    start = -before % n
    return lax.slice_in_dim(periods, start, start + n + before + after, axis=axis)


def pad_axis(x: jax.Array, axis: int, low: Size, high: Size) -> jax.Array:
    """Append zeros along an axis; negative: remove elements, all of them at most."""
    if not (low or high):
        return x
    n = x.shape[axis]
    if isinstance(n, int) and n + min(low, 0) + min(high, 0) <= 0:
        return lax.slice_in_dim(x, 0, 0, axis=axis)
    return pad(x, [(low, high, 0)], axis)


def pad(
    y: jax.Array, pads: Sequence[tuple[Size, Size, int]], first: int = 0
) -> jax.Array:
    """`lax.pad` with zeros: (low, high, interior) of axis `first` and the next ones."""
    rest = y.ndim - first - len(pads)
    unpadded = (0, 0, 0)
    config = [*[unpadded] * first, *pads, *[unpadded] * rest]
    return lax.pad(y, jnp.zeros((), y.dtype), config)


def space_out(y: jax.Array, axes: Mapping[int, tuple[int, int, int]]) -> jax.Array:
    """Put zeros between the elements of some axes and at their ends.

    `axes` maps the number of an axis to (low, high, apart): zeros at either end, and
    the distance at which neighbouring elements are placed. No axis may be empty.
    """
    config = [(0, 0, 0)] * y.ndim
    for axis, (low, high, apart) in axes.items():
        if apart == 1 or isinstance(y.shape[axis], int):
            config[axis] = low, high, apart - 1
            continue
        # lax counts the zeros between elements of an unknown number as ``max(...)``,
        # which it cannot compare with the size that is expected.
        y = lax.expand_dims(y, [axis + 1])
        y = merge_axes(pad_axis(y, axis + 1, 0, apart - 1), axis)
        config[axis] = low, high - apart + 1, 0
    if any(map(any, config)):
        y = lax.pad(y, jnp.zeros((), y.dtype), config)
    return y


def crop_space(
    y: jax.Array, crops: Sequence[tuple[Size, Size]], first: int = 1
) -> jax.Array:
    """Remove (low, high) elements of axis `first` and the next; negative adds zeros."""
    return pad_space(y, [(-low, -high) for low, high in crops], first)


def pad_space(
    y: jax.Array, pads: Sequence[tuple[Size, Size]], first: int = 1
) -> jax.Array:
    """Append (low, high) zeros to axis `first` and the next; negative removes."""
    if all(ends == (0, 0) for ends in pads):
        return y
    return pad(y, [(low, high, 0) for low, high in pads], first)


def depth_to_space(y: jax.Array, rank: int, first: int = 1) -> jax.Array:
    """(..., *blocks, *residues, ...) -> (..., *(blocks times residues), ...).

    `first` is the number of axes before the blocks.
    """
    order = list(range(first))
    for axis in range(first, first + rank):
        order += [axis, axis + rank]
    y = lax.transpose(y, (*order, *range(first + 2 * rank, y.ndim)))
    for axis in range(first, first + rank):
        y = merge_axes(y, axis)
    return y


def grouped_weight(w: jax.Array, groups: int) -> jax.Array:
    """(I, O, *K) with O per group -> (I/groups, groups*O, *K), as lax wants groups."""
    if groups == 1:
        return w
    in_channels, out_channels, *taps = w.shape
    w = w.reshape(groups, in_channels // groups, out_channels, *taps)
    w = jnp.moveaxis(w, 0, 1)
    return w.reshape(in_channels // groups, groups * out_channels, *taps)


def add_arrays(arrays: Sequence[jax.Array]) -> jax.Array:
    """The sum of one or more arrays, from left to right."""
    return sum(arrays[1:], start=arrays[0])
