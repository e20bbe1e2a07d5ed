"""im2col and GEMM without inserted zeros: the code of `gather` and `winograd`.

Per axis, `blocks` cuts the output into blocks of ``stride`` residues and sorts the
residues into classes that read the same elements. Every combination of classes is one
GEMM::

    rows:         the images and the blocks
    contraction:  the elements that a block reads, times the input channels of a group
    columns:      the residues of the class, times the output channels of a group

No inserted zero is multiplied and no kernel is padded, so non-finite values stay local.

Along a *paired* axis, blocks are computed two at a time by a minimal filter (`Filter`).
Each of its products is a GEMM of its own, with fewer multiplications in all.
"""

import math
from collections.abc import Sequence

import jax
from jax import lax

from jconvt._call.call import Call
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Map
from jconvt._lowerings.axes import merge_axes, pad_space, permute, split_axis
from jconvt._lowerings.fence import fenced
from jconvt._lowerings.patches.blocks import (
    Blocks,
    Combination,
    ResidueClass,
    combinations_of,
    cut_axes,
)
from jconvt._lowerings.patches.filters import PAIRS, combine
from jconvt._lowerings.patches.joins import interleave, join_classes
from jconvt._lowerings.patches.kernels import kernel_matrix, kernels_of
from jconvt._lowerings.patches.places import residues_with_places, scatter_sum
from jconvt._lowerings.patches.sheet import Sheet, grouped_taps
from jconvt._lowerings.patches.work import elements_at_once
from jconvt._lowerings.work import Variant


def lower_patches(
    x: jax.Array,
    w: jax.Array,
    call: Call,
    variant: Variant,
    which: Map,
    paired: tuple[bool, ...],
) -> jax.Array:
    """The output by patches and GEMMs; the `paired` axes use minimal filters."""
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    sheet = Sheet(variant.first, geometry.rank, geometry.groups)
    x = sheet.array(x, layout)
    size = x.shape[sheet.space : sheet.space + sheet.rank]
    cuts = cut_axes(geometry, size, paired, variant.early)
    combinations = combinations_of(cuts)
    batch = x.shape[1] if sheet.first else x.shape[0]
    # No sum is rounded to 16 bits: neither those of the filters, nor those of an input
    # gradient, in which the gradients of overlapping patches are added.
    if which == Map.INPUT or any(paired):
        x = x.astype(numerics.accumulation)
    if any(paired):
        w = w.astype(numerics.accumulation)
    taps = grouped_taps(permute(w, layout.weight_channels_first), geometry.groups)
    kernels = kernels_of(taps, cuts, geometry.groups)
    parts = [
        _multiply(x, kernels[c], c, cuts, sheet, numerics.summed())
        for c in combinations
    ]
    positions = (batch, *(cut.tiles for cut in cuts))

    # For a gradient, `scatter_sum` transposes into faster code (see `places`). Not with
    # several classes, which it would scatter one by one, nor for pairs with features
    # first, where the transpose would add along rows, nor with many residues, each of
    # which is a slice of the cotangent: a training step with 512 takes ten seconds to
    # compile, and runs longer than with one transpose.
    few = math.prod(geometry.stride) <= _MOST_SCATTERED[sheet.first]
    scattered = which != Map.OUTPUT and len(combinations) == 1 and few
    scattered = scattered and not (any(paired) and sheet.first)

    def join(parts: list[list[jax.Array]]) -> jax.Array:
        if scattered:
            (combination,), (ms,) = combinations, parts
            made = residues_with_places(ms, combination, cuts, sheet, positions)
            y = scatter_sum(made, geometry.output_size(size), sheet)
        else:
            y = join_classes(parts, combinations, cuts, sheet, positions)
            y = interleave(y, cuts, sheet)
        return y.astype(numerics.result)

    # Fenced, unless what `join` gives is the result in its final layout.
    direct = which == Map.OUTPUT and sheet.first == layout.is_features_first
    y = join(parts) if direct else fenced(join, parts)
    return sheet.result(y, layout)


_MOST_SCATTERED = {True: 32, False: 8}
"""Residues that a gradient reads by a slice each, with features first or last."""


def _multiply(
    x: jax.Array,
    kernels: Sequence[jax.Array],
    combination: Combination,
    cuts: Sequence[Blocks],
    sheet: Sheet,
    numerics: Numerics,
) -> list[jax.Array]:
    """The products of the GEMMs of one combination of classes.

    Minimal filters have several, and the products of patches made in parts are added.
    """
    elements = math.prod(
        1 if cut.paired else residues.taps
        for cut, residues in zip(cuts, combination, strict=True)
    )
    step = elements
    if all(isinstance(n, int) for n in x.shape):
        step = elements_at_once(elements, elements * x.nbytes)
    found: list[jax.Array] = []
    for start in range(0, elements, step):
        chosen = slice(start, start + step)
        patches = fenced(
            lambda x, chosen=chosen: _patches(x, combination, cuts, sheet, chosen), x
        )
        made = [
            sheet.product(m, kernel_matrix(k, sheet, chosen), numerics)
            for m, k in zip(patches, kernels, strict=True)
        ]
        found = made if not found else [a + b for a, b in zip(found, made, strict=True)]
    return found


def _patches(
    x: jax.Array,
    combination: Combination,
    cuts: Sequence[Blocks],
    sheet: Sheet,
    chosen: slice,
) -> list[jax.Array]:
    """The patch matrix of each GEMM of a combination, for the `chosen` elements."""
    x = pad_space(x, [cut.pad for cut in cuts], sheet.space)
    views = [[x]]  # for each GEMM, a shifted input for each element that a block reads
    for i, (cut, residues) in enumerate(zip(cuts, combination, strict=True)):
        views = _view(views, cut, residues, sheet.space + i)
    return [sheet.matrix(_stack(v[chosen], sheet)) for v in views]


def _view(
    views: list[list[jax.Array]], cut: Blocks, residues: ResidueClass, axis: int
) -> list[list[jax.Array]]:
    """Each of the shifted inputs, shifted along one more axis."""
    if cut.paired:
        rows = PAIRS[residues.taps].split
        return [
            [combine(row, _pair_elements(v, cut, residues, axis)) for v in view]
            for view in views
            for row in rows
        ]
    starts = [residues.start + m * residues.spacing for m in range(residues.taps)]
    return [
        [
            lax.slice_in_dim(v, start, start + cut.tiles, axis=axis)
            for v in view
            for start in starts
        ]
        for view in views
    ]


def _pair_elements(
    v: jax.Array, cut: Blocks, residues: ResidueClass, axis: int
) -> list[jax.Array]:
    """The first, second, ... of the elements that each pair of blocks reads.

    The axis is split into pairs, because the transpose of a strided slice would insert
    zeros between elements.
    """
    pairs = cut.tiles + 1
    v = lax.slice_in_dim(v, residues.start, residues.start + 2 * pairs, axis=axis)
    v = split_axis(v, axis, (pairs, 2))
    found: list[jax.Array] = []
    for i in range(residues.taps + 1):
        pair, member = divmod(i, 2)
        one = lax.slice_in_dim(v, pair, pair + cut.tiles, axis=axis)
        one = lax.slice_in_dim(one, member, member + 1, axis=axis + 1)
        found.append(lax.squeeze(one, (axis + 1,)))
    return found


def _stack(views: list[jax.Array], sheet: Sheet) -> jax.Array:
    """Concatenates shifted inputs; the features become (groups, elements, channels)."""
    if len(views) == 1:
        return views[0]
    axis = sheet.features
    if sheet.groups == 1:
        return lax.concatenate(views, axis)
    shape = views[0].shape
    channels = (sheet.groups, shape[axis] // sheet.groups)
    grouped = (*shape[:axis], *channels, *shape[axis + 1 :])
    split = [lax.reshape(v, grouped) for v in views]
    return merge_axes(lax.concatenate(split, axis + 1), axis)
