"""Matrices of taps for the GEMMs of patches."""

import math
from collections.abc import Sequence

import jax
from jax import lax

from jconvt._lowerings.axes import merge_axes, move_axis, pad_axis, split_axis
from jconvt._lowerings.patches.blocks import Blocks, Combination, ResidueClass
from jconvt._lowerings.patches.filters import PAIRS, combine
from jconvt._lowerings.patches.sheet import Sheet


def kernels_of(
    taps: jax.Array, combination: Combination, cuts: Sequence[Blocks], groups: int
) -> list[jax.Array]:
    """(G, I, O, *taps) -> (G, I, O, elements, *residues) for each GEMM.

    "Elements" are the input elements that a block reads.
    """
    # Each axis of taps becomes an axis of residues at the end, and in its old position
    # an axis of elements, unless it is paired.
    first = at = 3 if groups > 1 else 2
    kernels = [taps]
    for cut, residues in zip(cuts, combination, strict=True):
        if cut.paired:
            rows = PAIRS[residues.taps].prepare
            kernels = [
                combine(row, _elements(k, residues, at))
                for k in kernels
                for row in rows
            ]
        else:
            kernels = [_windows(k, residues, at) for k in kernels]
            at += 1
    if at == first:
        return [lax.expand_dims(k, (first,)) for k in kernels]
    return [merge_axes(k, first, at - first) for k in kernels]


def _windows(k: jax.Array, residues: ResidueClass, at: int) -> jax.Array:
    """Axis `at` of taps becomes an axis of elements; residues come at the end."""
    if residues.taps == 1:
        return lax.expand_dims(_elements(k, residues, at)[0], (at,))
    grid = (residues.taps, residues.tap_step)
    if math.prod(grid) == k.shape[at] and len(residues.residues) == residues.tap_step:
        # The class reads every tap: the axis is (elements reversed, residues) as it is.
        k = lax.reshape(k, (*k.shape[:at], *grid, *k.shape[at + 1 :]))
        k = lax.rev(k, (at,))
        return move_axis(k, at + 1, k.ndim - 1)
    if residues.taps <= _FEW:
        return lax.concatenate(
            [lax.expand_dims(e, (at,)) for e in _elements(k, residues, at)], at
        )
    # Rows of `tap_step` taps, of which the class has the first ones.
    start, length = residues.first_tap, residues.taps * residues.tap_step
    k = lax.slice_in_dim(k, start, min(start + length, k.shape[at]), axis=at)
    k = pad_axis(k, at, 0, length - k.shape[at])
    k = split_axis(k, at, (residues.taps, residues.tap_step))
    k = lax.slice_in_dim(k, 0, len(residues.residues), axis=at + 1)
    return move_axis(lax.rev(k, (at,)), at + 1, k.ndim - 1)


_FEW = 8
"""Taps that are sliced one by one. Hundreds of slices take a quarter of a minute to
compile, and as many in the gradient."""


def _elements(k: jax.Array, residues: ResidueClass, at: int) -> list[jax.Array]:
    """For each element its taps: axis `at` is removed, residues come at the end."""
    found: list[jax.Array] = []
    for m in reversed(range(residues.taps)):
        start = residues.first_tap + m * residues.tap_step
        taps = lax.slice_in_dim(k, start, start + len(residues.residues), axis=at)
        found.append(move_axis(taps, at, k.ndim - 1))
    return found


def kernel_matrix(k: jax.Array, sheet: Sheet, chosen: slice) -> jax.Array:
    """(G, I, O, elements, *residues) -> (G, residues*O, elements*I).

    Of the elements only `chosen`.
    """
    lead = 1 if sheet.groups > 1 else 0
    at, end = lead + 2, k.ndim
    stop = min(chosen.stop, k.shape[at])
    if (chosen.start, stop) != (0, k.shape[at]):
        k = lax.slice_in_dim(k, chosen.start, stop, axis=at)
    k = lax.transpose(k, (*range(lead), *range(at + 1, end), lead + 1, at, lead))
    return merge_axes(merge_axes(k, lead, end - at), lead + 1)
