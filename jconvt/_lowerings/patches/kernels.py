"""Matrices of taps for the GEMMs of patches."""

import itertools
import math
from collections.abc import Sequence

import jax
from jax import lax

from jconvt._lowerings.axes import (
    merge_axes,
    move_axis,
    pad_axis,
    split_axis,
    split_runs,
)
from jconvt._lowerings.patches.blocks import Blocks, Combination, ResidueClass
from jconvt._lowerings.patches.filters import PAIRS, combine
from jconvt._lowerings.patches.sheet import Sheet


def kernels_of(
    taps: jax.Array, cuts: Sequence[Blocks], groups: int
) -> dict[Combination, list[jax.Array]]:
    """(G, I, O, *taps) -> (G, I, O, elements, *residues), for each GEMM of each class.

    "Elements" are the input elements that a block reads. Axis by axis, each class gets
    its share of the taps, so that the transpose puts each tap in its place once. If
    each class took its taps out of the whole kernel, the transpose would add up kernels
    padded with zeros, eight of them at stride 2 over three axes. A weight gradient of
    eight pieces took 341 ms that way, and takes 70.
    """
    # Each axis of taps becomes an axis of residues at the end, and in its old position
    # an axis of elements, unless it is paired.
    first = at = 3 if groups > 1 else 2
    found: dict[Combination, list[jax.Array]] = {(): [taps]}
    for cut in cuts:
        found = {
            (*combination, residues): made
            for combination, kernels in found.items()
            for residues, made in _along(kernels, cut, at).items()
        }
        at += not cut.paired

    def elements(k: jax.Array) -> jax.Array:
        if at == first:
            return lax.expand_dims(k, (first,))
        return merge_axes(k, first, at - first)

    return {c: [elements(k) for k in kernels] for c, kernels in found.items()}


def _along(
    kernels: Sequence[jax.Array], cut: Blocks, at: int
) -> dict[ResidueClass, list[jax.Array]]:
    """The kernels of each class of an axis, whose taps are axis `at`."""
    classes = [residues for residues in cut.classes if residues.taps]
    found: dict[ResidueClass, list[jax.Array]] = {residues: [] for residues in classes}
    for k in kernels:
        n = k.shape[at]
        sliced = [c for c in classes if cut.paired or _is_sliced(c, n)]
        elements = _elements(k, sliced, at)
        for residues, made in found.items():
            if cut.paired:
                rows = PAIRS[residues.taps].prepare
                made += [combine(row, elements[residues]) for row in rows]
            elif residues in elements:
                one_each = [lax.expand_dims(e, (at,)) for e in elements[residues]]
                made.append(lax.concatenate(one_each, at))
            else:
                made.append(_windows(k, residues, at))
    return found


def _is_sliced(residues: ResidueClass, taps: int) -> bool:
    """Whether elements are taken from an axis of so many taps one by one."""
    if residues.taps == 1:
        return True
    return residues.taps <= _FEW and not _has_all(residues, taps)


_FEW = 8
"""Taps that are sliced one by one. Hundreds of slices take a quarter of a minute to
compile, and as many in the gradient."""


def _has_all(residues: ResidueClass, taps: int) -> bool:
    """Whether a class reads all taps: the axis is (elements reversed, residues)."""
    grid = residues.taps * residues.tap_step == taps
    return grid and len(residues.residues) == residues.tap_step


def _windows(k: jax.Array, residues: ResidueClass, at: int) -> jax.Array:
    """Axis `at` of taps becomes an axis of elements; residues come at the end."""
    grid = (residues.taps, residues.tap_step)
    if not _has_all(residues, k.shape[at]):
        # Rows of `tap_step` taps, of which the class has the first ones.
        start, length = residues.first_tap, math.prod(grid)
        k = lax.slice_in_dim(k, start, min(start + length, k.shape[at]), axis=at)
        k = pad_axis(k, at, 0, length - k.shape[at])
    k = split_axis(k, at, grid)
    k = lax.slice_in_dim(k, 0, len(residues.residues), axis=at + 1)
    return move_axis(lax.rev(k, (at,)), at + 1, k.ndim - 1)


def _elements(
    k: jax.Array, classes: Sequence[ResidueClass], at: int
) -> dict[ResidueClass, list[jax.Array]]:
    """For each element its taps: axis `at` is removed, residues come at the end."""
    runs = {
        c: [
            (c.first_tap + m * c.tap_step, len(c.residues))
            for m in reversed(range(c.taps))
        ]
        for c in classes
    }
    parts = split_runs(k, itertools.chain.from_iterable(runs.values()), at)
    return {
        c: [move_axis(parts[run], at, k.ndim - 1) for run in wanted]
        for c, wanted in runs.items()
    }


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
