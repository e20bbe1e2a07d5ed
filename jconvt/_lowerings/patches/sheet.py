"""How activations are laid out as the matrices of a GEMM: features first or last.

With features last the channels of one position are contiguous in memory, with features
first the positions of an image row are. Channels-last layouts need no transpose with
features last, channels-first ones with features first. G groups, batch N:

============== ========================= ========================
features       an array                  its matrix
============== ========================= ========================
first          (C, N, *space)            (G, C/G, N*prod(space))
last           (N, *space, C)            (G, N*prod(space), C/G)
============== ========================= ========================

The axis G exists only for more than one group. "Array" and "matrix" mean these forms
in all of `patches`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
from jax import lax

from jconvt._call.layout import Layout
from jconvt._call.numerics import Numerics
from jconvt._lowerings.axes import merge_axes, move_axis, permute, split_axis
from jconvt._lowerings.fence import fenced


@dataclass(frozen=True)
class Sheet:
    """The layout of the arrays and matrices of one lowering.

    Attributes:
      first: whether features stand first.
      rank: the number of spatial axes.
      groups: the number of channel groups.
    """

    first: bool
    rank: int
    groups: int

    @property
    def space(self) -> int:
        """The first spatial axis of an array."""
        return 2 if self.first else 1

    @property
    def features(self) -> int:
        """The feature axis of an array."""
        return 0 if self.first else 1 + self.rank

    def array(self, x: jax.Array, layout: Layout) -> jax.Array:
        """The input in the caller's layout -> an array."""
        batch, channel, *space = layout.input
        if self.first:
            return permute(x, (channel, batch, *space))
        if channel < batch or any(channel < axis for axis in space):
            # Once, into memory: or each reader would transpose it anew.
            return _transpose_once(x, (batch, *space, channel))
        return permute(x, (batch, *space, channel))

    def result(self, y: jax.Array, layout: Layout) -> jax.Array:
        """An array -> the output in the caller's layout."""
        n = self.rank + 2
        features, batch = (0, 1) if self.first else (n - 1, 0)
        space = range(self.space, self.space + self.rank)
        axes = (batch, features, *space)
        order = [0] * n
        for axis, to in zip(axes, layout.output, strict=True):
            order[to] = axis
        if self.first == layout.is_features_first:
            return permute(y, tuple(order))
        return _transpose_once(y, tuple(order))

    def matrix(self, v: jax.Array) -> jax.Array:
        """An array -> its matrix."""
        groups = self.groups
        v = merge_axes(v, 1 if self.first else 0, 1 + self.rank)
        if groups == 1:
            return v
        if self.first:
            return lax.reshape(v, (groups, v.shape[0] // groups, v.shape[1]))
        v = lax.reshape(v, (v.shape[0], groups, v.shape[1] // groups))
        return move_axis(v, 1, 0)

    def split(
        self, m: jax.Array, features: Sequence[int], positions: Sequence[int]
    ) -> jax.Array:
        """A matrix whose features are (*features, O) -> an array with these axes.

        (*features, G*O, N, *space) with features first, else (N, *space, *features,
        G*O).
        """
        groups, rank = self.groups, len(features)
        group = (groups,) if groups > 1 else ()
        if self.first:
            out = m.shape[-2] // math.prod(features)
            m = split_axis(m, m.ndim - 1, positions)
            m = split_axis(m, len(group), (*features, out))
            if groups > 1:
                m = merge_axes(move_axis(m, 0, rank), rank)
            return m
        out = m.shape[-1] // math.prod(features)
        m = split_axis(m, m.ndim - 1, (*features, out))
        m = split_axis(m, len(group), positions)
        if groups > 1:  # (G, N, *space, *features, O)
            at = len(positions) + rank
            m = merge_axes(move_axis(m, 0, at), at)
        return m

    def product(
        self, m: jax.Array, u: jax.Array, numerics: Numerics, *, as_given: bool = False
    ) -> jax.Array:
        """The matrix `m` of K features times `u`: F features.

        `u` is (G, F, K), or (G, K, F) with `as_given`; without G for one group.
        """
        group = ((0,), (0,)) if self.groups > 1 else ((), ())
        at = 1 if self.groups > 1 else 0
        of_u = at if as_given else at + 1
        if self.first:
            numbers, operands = (((of_u,), (at,)), group), (u, m)
            numerics = numerics.swapped
        else:
            numbers, operands = (((at + 1,), (of_u,)), group), (m, u)
        return lax.dot_general(
            *operands,
            dimension_numbers=numbers,
            precision=numerics.precision,
            preferred_element_type=numerics.result,
        )


def grouped_taps(w: jax.Array, groups: int) -> jax.Array:
    """(I, O, *K) -> (G, I/G, O, *K) for more than one group."""
    if groups == 1:
        return w
    return lax.reshape(w, (groups, w.shape[0] // groups, *w.shape[1:]))


def _transpose_once(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """`lax.transpose` that is carried out by itself, into contiguous memory."""
    if axes == tuple(range(x.ndim)):
        return x
    shape = tuple(x.shape[axis] for axis in axes)

    def move(x: jax.Array) -> jax.Array:
        # Flattened: otherwise XLA keeps the memory as it is and changes the layout.
        return merge_axes(lax.transpose(x, axes), 0, x.ndim)

    return split_axis(fenced(move, x), 0, shape)
