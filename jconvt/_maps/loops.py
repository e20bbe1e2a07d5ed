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
from jconvt._maps.invariant import loop

Arrays = Mapping[Map, jax.Array]
"""The two operands of a map."""


def in_batches(
    made: Map,
    operands: Arrays,
    call: Call,
    shape: Sizes,
    count: int,
    run: Callable[[Arrays, Sizes], jax.Array],
    *,
    together: bool,
) -> jax.Array:
    """The array `made`, of `shape`, computed in `count` pieces of the batch.

    `run` computes a piece of the result from pieces of the operands and the shape of
    the result. `together`: a piece holds images that are neighbours. The result then
    keeps its shape in the loop, and XLA adds a bias to it in place; behind a reshape it
    would make another array of that size. Otherwise a piece holds every count-th image,
    so that each device of a sharded batch works on its own images.
    """
    axes = {Map.INPUT: call.layout.input[0], Map.OUTPUT: call.layout.output[0]}

    def apart(which: Map, shape: Sizes) -> Sizes:
        at = axes[which]
        if together:
            return shape
        return (*shape[:at], shape[at] // count, count, *shape[at + 1 :])

    arrays = {
        which: a if which == Map.WEIGHT else lax.reshape(a, apart(which, a.shape))
        for which, a in operands.items()
    }

    def taken(which: Map, i: jax.Array) -> jax.Array:
        if which == Map.WEIGHT:
            return arrays[which]
        a, at = arrays[which], axes[which]
        if together:
            images = a.shape[at] // count
            return lax.dynamic_slice_in_dim(a, i * images, images, at)
        return lax.dynamic_index_in_dim(a, i, at + 1, keepdims=False)

    def piece(i: jax.Array, shape: Sizes) -> jax.Array:
        return run({which: taken(which, i) for which in arrays}, shape)

    if made == Map.WEIGHT:
        return _sum(call, shape, lambda i: piece(i, shape), count)
    at = axes[made]
    images = shape[at] // count

    def body(i: jax.Array, total: jax.Array) -> jax.Array:
        made_here = piece(i, (*shape[:at], images, *shape[at + 1 :]))
        if together:
            return lax.dynamic_update_slice_in_dim(total, made_here, i * images, at)
        return lax.dynamic_update_index_in_dim(total, made_here, i, at + 1)

    zeros = jnp.zeros(apart(made, shape), call.numerics.result)
    total = loop(count, body, zeros)
    return total if together else merge_axes(total, at)


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
    total = loop(rows.count, lambda i, t: put(t, rows.piece, i), zeros)
    return total if rows.rest is None else put(total, rows.rest, 0)


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
    total = loop(count, body, zero)
    return (total if rest is None else total + rest).astype(call.numerics.result)
