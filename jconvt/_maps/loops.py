"""Computes a map piece by piece in a loop, so that temporaries stay small.

`jconvt._choice.pieces` decides on the pieces.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.call import Call, Sizes
from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map
from jconvt._choice.pieces import Rows, Segment
from jconvt._lowerings.axes import merge_axes, pad_axis

Arrays = Mapping[Map, jax.Array]
"""The two operands of a map."""


def contiguous_batches(
    made: Map,
    operands: Arrays,
    call: Call,
    shape: Sizes,
    count: int,
    run: Callable[[Arrays, Sizes], jax.Array],
) -> jax.Array:
    """The array `made`, of `shape`, computed in `count` pieces of the batch.

    `run` computes a piece of the result from pieces of the operands and the shape of
    the result. The loop carries the result in its own shape: XLA then adds a bias to it
    in place, where behind a reshape it makes another array of that size.
    """
    axes = _batch_axes(call)

    def piece(i: jax.Array, shape: Sizes) -> jax.Array:
        taken = dict(operands)
        for which, at in axes.items():
            if which in taken:
                a, images = taken[which], taken[which].shape[at] // count
                taken[which] = lax.dynamic_slice_in_dim(a, i * images, images, at)
        return run(taken, shape)

    if made == Map.WEIGHT:
        return _sum(call, shape, lambda i: piece(i, shape), count)
    at = axes[made]
    images = shape[at] // count

    def body(i: jax.Array, total: jax.Array) -> jax.Array:
        made_here = piece(i, (*shape[:at], images, *shape[at + 1 :]))
        return lax.dynamic_update_slice_in_dim(total, made_here, i * images, at)

    return lax.fori_loop(0, count, body, jnp.zeros(shape, call.numerics.result))


def strided_batches(
    made: Map,
    operands: Arrays,
    call: Call,
    shape: Sizes,
    count: int,
    run: Callable[[Arrays, Sizes], jax.Array],
) -> jax.Array:
    """As `contiguous_batches`, but a piece holds every count-th image.

    So each device of a sharded batch works on its own images.
    """
    axes = _batch_axes(call)

    def cut(which: Map, shape: Sizes) -> Sizes:
        at = axes[which]
        return (*shape[:at], shape[at] // count, count, *shape[at + 1 :])

    arrays = {
        which: a if which == Map.WEIGHT else lax.reshape(a, cut(which, a.shape))
        for which, a in operands.items()
    }

    def piece(i: jax.Array, shape: Sizes) -> jax.Array:
        taken = {
            which: a
            if which == Map.WEIGHT
            else lax.dynamic_index_in_dim(a, i, axes[which] + 1, keepdims=False)
            for which, a in arrays.items()
        }
        return run(taken, shape)

    if made == Map.WEIGHT:
        return _sum(call, shape, lambda i: piece(i, shape), count)
    at = axes[made]
    apart = cut(made, shape)
    piece_shape = (*apart[: at + 1], *apart[at + 2 :])

    def body(i: jax.Array, total: jax.Array) -> jax.Array:
        made_here = piece(i, piece_shape)
        return lax.dynamic_update_index_in_dim(total, made_here, i, at + 1)

    zeros = jnp.zeros(apart, call.numerics.result)
    return merge_axes(lax.fori_loop(0, count, body, zeros), at)


def in_rows(
    made: Map,
    operands: Arrays,
    call: Call,
    shape: Sizes,
    rows: Rows,
    axis: int,
    run: Callable[[Arrays, Sizes, Geometry], jax.Array],
) -> jax.Array:
    """The array `made`, of `shape`, computed in pieces of a spatial axis.

    `run` computes a piece of the result from pieces of the operands, the shape of the
    result and the geometry of the piece.
    """
    layout = call.layout
    at = {Map.INPUT: layout.input[2 + axis], Map.OUTPUT: layout.output[2 + axis]}
    pads = {Map.INPUT: rows.pad_in, Map.OUTPUT: rows.pad_out}
    arrays = {
        which: a if which == Map.WEIGHT else pad_axis(a, at[which], *pads[which])
        for which, a in operands.items()
    }
    steps = {
        Map.INPUT: rows.blocks,
        Map.OUTPUT: rows.blocks * call.geometry.stride[axis],
    }

    def begin(which: Map, of: Segment, i: jax.Array | int) -> jax.Array | int:
        first = of.first_in if which == Map.INPUT else of.first_out
        return pads[which][0] + first + i * steps[which]

    def length(which: Map, of: Segment) -> int:
        return of.inputs if which == Map.INPUT else of.outputs

    def piece(of: Segment, i: jax.Array | int) -> jax.Array:
        taken = {
            which: a
            if which == Map.WEIGHT
            else lax.dynamic_slice_in_dim(
                a, begin(which, of, i), length(which, of), axis=at[which]
            )
            for which, a in arrays.items()
        }
        wanted = shape
        if made != Map.WEIGHT:
            wanted = (*shape[: at[made]], length(made, of), *shape[at[made] + 1 :])
        return run(taken, wanted, of.geometry)

    if made == Map.WEIGHT:
        rest = None if rows.rest is None else piece(rows.rest, 0)
        return _sum(call, shape, lambda i: piece(rows.piece, i), rows.count, rest)

    def put(total: jax.Array, of: Segment, i: jax.Array | int) -> jax.Array:
        start = begin(made, of, i)
        return lax.dynamic_update_slice_in_dim(total, piece(of, i), start, at[made])

    zeros = jnp.zeros(shape, call.numerics.result)
    total = lax.fori_loop(0, rows.count, lambda i, t: put(t, rows.piece, i), zeros)
    return total if rows.rest is None else put(total, rows.rest, 0)


def _batch_axes(call: Call) -> dict[Map, int]:
    """Where the batch is, in the arrays that have one."""
    return {Map.INPUT: call.layout.input[0], Map.OUTPUT: call.layout.output[0]}


def _sum(
    call: Call,
    shape: Sizes,
    piece: Callable[[jax.Array], jax.Array],
    count: int,
    rest: jax.Array | None = None,
) -> jax.Array:
    """The sum of the pieces of a weight gradient, rounded once."""

    def body(i: jax.Array, total: jax.Array) -> jax.Array:
        return total + piece(i)

    zero = jnp.zeros(shape, call.numerics.accumulation)
    total = lax.fori_loop(0, count, body, zero)
    return (total if rest is None else total + rest).astype(call.numerics.result)
