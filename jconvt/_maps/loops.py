"""A map computed piece by piece, in a loop. See `jconvt._choice.pieces`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconvt._call.call import Shape
from jconvt._call.geometry import Geometry
from jconvt._call.layout import Layout
from jconvt._choice.pieces import Rows, Segment
from jconvt._lowerings.axes import merge_axes, pad_axis
from jconvt._maps.batching import Role

Arrays = Mapping[Role, jax.Array]
"""The two operands of a map."""


Run = Callable[[Arrays, Shape, Geometry], jax.Array]
"""The map of a piece: operands, shape of the result, geometry -> result."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What is computed piece by piece.

    Attributes:
      made: the array that the map makes.
      shape: of that array.
      dtype: of that array.
      accumulation: of a piece's weight gradient, and of their sum.
    """

    made: Role
    shape: Shape
    dtype: np.dtype[Any]
    accumulation: np.dtype[Any]
    geometry: Geometry
    layout: Layout


def in_batches(whole: Whole, operands: Arrays, count: int, run: Run) -> jax.Array:
    """`run` for each of `count` pieces of the batch: every count-th image.

    An array that is sharded along its batch stays so, each device with its own images.
    """
    made, layout = whole.made, whole.layout
    axes = {Role.INPUT: layout.input[0], Role.OUTPUT: layout.output[0]}

    def cut(role: Role, shape: Shape) -> Shape:
        at = axes[role]
        return (*shape[:at], shape[at] // count, count, *shape[at + 1 :])

    arrays = {
        role: a if role == Role.WEIGHT else lax.reshape(a, cut(role, a.shape))
        for role, a in operands.items()
    }

    def piece(i: jax.Array, shape: Shape) -> jax.Array:
        taken = {
            role: a
            if role == Role.WEIGHT
            else lax.dynamic_index_in_dim(a, i, axes[role] + 1, keepdims=False)
            for role, a in arrays.items()
        }
        return run(taken, shape, whole.geometry)

    if made == Role.WEIGHT:
        return _sum(whole, lambda i: piece(i, whole.shape), count).astype(whole.dtype)
    at = axes[made]
    apart = cut(made, whole.shape)
    shape = (*apart[: at + 1], *apart[at + 2 :])

    def body(i: jax.Array, total: jax.Array) -> jax.Array:
        return lax.dynamic_update_index_in_dim(total, piece(i, shape), i, at + 1)

    total = lax.fori_loop(0, count, body, jnp.zeros(apart, whole.dtype))
    return merge_axes(total, at)


def in_rows(whole: Whole, operands: Arrays, rows: Rows, run: Run) -> jax.Array:
    """`run` for each piece of the first spatial axis."""
    made, layout = whole.made, whole.layout
    at = {Role.INPUT: layout.input[2], Role.OUTPUT: layout.output[2]}
    pads = {Role.INPUT: rows.pad_in, Role.OUTPUT: rows.pad_out}
    arrays = {
        role: a if role == Role.WEIGHT else pad_axis(a, at[role], *pads[role])
        for role, a in operands.items()
    }
    steps = {
        Role.INPUT: rows.blocks,
        Role.OUTPUT: rows.blocks * whole.geometry.stride[0],
    }

    def begin(role: Role, of: Segment, i: jax.Array | int) -> jax.Array | int:
        first = of.first_in if role == Role.INPUT else of.first_out
        return pads[role][0] + first + i * steps[role]

    def length(role: Role, of: Segment) -> int:
        return of.inputs if role == Role.INPUT else of.outputs

    def piece(of: Segment, i: jax.Array | int) -> jax.Array:
        taken = {
            role: a
            if role == Role.WEIGHT
            else lax.dynamic_slice_in_dim(
                a, begin(role, of, i), length(role, of), axis=at[role]
            )
            for role, a in arrays.items()
        }
        shape = whole.shape
        if made != Role.WEIGHT:
            shape = (*shape[: at[made]], length(made, of), *shape[at[made] + 1 :])
        return run(taken, shape, of.geometry)

    if made == Role.WEIGHT:
        total = _sum(whole, lambda i: piece(rows.piece, i), rows.count)
        if rows.rest is not None:
            total += piece(rows.rest, 0)
        return total.astype(whole.dtype)

    def put(total: jax.Array, of: Segment, i: jax.Array | int) -> jax.Array:
        start = begin(made, of, i)
        return lax.dynamic_update_slice_in_dim(total, piece(of, i), start, at[made])

    total = jnp.zeros(whole.shape, whole.dtype)
    total = lax.fori_loop(0, rows.count, lambda i, t: put(t, rows.piece, i), total)
    return total if rows.rest is None else put(total, rows.rest, 0)


def _sum(
    whole: Whole, piece: Callable[[jax.Array], jax.Array], count: int
) -> jax.Array:
    def body(i: jax.Array, total: jax.Array) -> jax.Array:
        return total + piece(i)

    zero = jnp.zeros(whole.shape, whole.accumulation)
    return lax.fori_loop(0, count, body, zero)
