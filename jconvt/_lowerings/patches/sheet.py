"""Activations as matrices, features first or features last.

A GEMM reads and writes matrices of features by positions. With features last a channel
vector is contiguous, with features first an image row is; each is free of transposes
for the layouts of its kind. Arrays are

============== ========================= ========================
features       an array                  its matrix
============== ========================= ========================
first          (C, N, *space)            (G, C/G, N*prod(space))
last           (N, *space, C)            (G, N*prod(space), C/G)
============== ========================= ========================

where the axis G of the groups is there for more than one group only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import linear_call

from jconvt._call.layout import Layout
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Map
from jconvt._lowerings.axes import merge_axes, move_axis, permute, split_axis
from jconvt._lowerings.fence import fenced


@dataclass(frozen=True)
class Sheet:
    """How one lowering lays out its matrices.

    Attributes:
      first: whether features stand first.
      rank: spatial axes.
      groups: of the channels.
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
        """The input as an array."""
        batch, channel, *space = layout.input
        if self.first:
            return permute(x, (channel, batch, *space))
        if channel < batch or any(channel < axis for axis in space):
            # Apart, or every reader would fetch its elements across the channels.
            return _apart(x, (batch, *space, channel))
        return permute(x, (batch, *space, channel))

    def result(self, y: jax.Array, layout: Layout) -> jax.Array:
        """An array in the layout of the output."""
        n = self.rank + 2
        features, batch = (0, 1) if self.first else (n - 1, 0)
        space = range(self.space, self.space + self.rank)
        axes = (batch, features, *space)
        order = [0] * n
        for axis, place in zip(axes, layout.output, strict=True):
            order[place] = axis
        if self.first == layout.is_features_first:
            return permute(y, tuple(order))
        return _apart(y, tuple(order))

    def matrix(self, v: jax.Array) -> jax.Array:
        """An array as a matrix."""
        groups, rank = self.groups, self.rank
        if self.first:
            for _ in range(rank):
                v = merge_axes(v, 1)
            if groups > 1:
                v = lax.reshape(v, (groups, v.shape[0] // groups, v.shape[1]))
            return v
        for _ in range(rank):
            v = merge_axes(v, 0)
        if groups > 1:
            v = lax.reshape(v, (v.shape[0], groups, v.shape[1] // groups))
            v = move_axis(v, 1, 0)
        return v

    def split(
        self, m: jax.Array, features: Sequence[int], positions: Sequence[int]
    ) -> jax.Array:
        """A matrix whose features are (*features, O), as an array of blocks.

        First: (*features, G*O, N, *space). Last: (N, *space, *features, G*O).
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
        self,
        m: jax.Array,
        u: jax.Array,
        numerics: Numerics,
        which: Map,
        *,
        as_given: bool = False,
    ) -> jax.Array:
        """The matrix `m` of K features times `u`: F features.

        `u` is (F, K), or as a weight is given (K, F), behind G for several groups. For
        a weight gradient this is transposed in `u` by `_weights_of`.
        """
        if which != Map.WEIGHT:
            return self._product(m, u, numerics, as_given)
        return linear_call(
            lambda m, u: self._product(m, u, numerics, as_given),
            lambda m, g: self._weights_of(m, g, numerics, as_given),
            m,
            u,
        )

    def _product(
        self, m: jax.Array, u: jax.Array, numerics: Numerics, as_given: bool
    ) -> jax.Array:
        at = 1 if self.groups > 1 else 0
        of_u = at if as_given else at + 1
        if self.first:
            return _dot(u, of_u, m, at, numerics.swapped)
        return _dot(m, at + 1, u, of_u, numerics)

    def _weights_of(
        self, m: jax.Array, g: jax.Array, numerics: Numerics, as_given: bool
    ) -> jax.Array:
        """The cotangent of `u`, for the cotangent `g` of the product.

        The sum runs over the positions. Of the two orders of the operands XLA:CPU is
        up to eight times slower in one: with the positions in the first axis of both
        the first operand should be the narrower, with the positions last the wider.
        """
        at = 1 if self.groups > 1 else 0
        positions = at + 1 if self.first else at
        k, f = (a.shape[at if self.first else at + 1] for a in (m, g))
        if (f < k) != self.first:
            u, has_k_first = _dot(g, positions, m, positions, numerics), False
        else:
            u, has_k_first = _dot(m, positions, g, positions, numerics), True
        u = u.astype(m.dtype)
        return u if has_k_first == as_given else jnp.swapaxes(u, at, at + 1)


def _dot(
    a: jax.Array, of_a: int, b: jax.Array, of_b: int, numerics: Numerics
) -> jax.Array:
    """`lax.dot_general` over one axis of each, batched over the groups in front."""
    group = ((0,), (0,)) if a.ndim > 2 else ((), ())
    return lax.dot_general(
        a,
        b,
        dimension_numbers=(((of_a,), (of_b,)), group),
        precision=numerics.precision,
        preferred_element_type=numerics.result,
    )


def grouped_taps(w: jax.Array, groups: int) -> jax.Array:
    """(I, O, *K) -> (G, I/G, O, *K) for more than one group."""
    if groups == 1:
        return w
    return lax.reshape(w, (groups, w.shape[0] // groups, *w.shape[1:]))


def _apart(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    if axes == tuple(range(x.ndim)):
        return x
    # Flattened: else XLA gives the transposed array the layout of what it is made from,
    # and nothing has moved. Pair by pair, as `merge_axes` says.
    shape = tuple(x.shape[axis] for axis in axes)

    def move(x: jax.Array) -> jax.Array:
        x = lax.transpose(x, axes)
        for _ in range(x.ndim - 1):
            x = merge_axes(x, 0)
        return x

    return split_axis(fenced(move, x), 0, shape)
