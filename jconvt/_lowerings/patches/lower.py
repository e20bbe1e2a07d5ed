"""GEMMs of low-resolution patches: what `gather` and `winograd` share.

Per axis, `blocks` cuts the output into blocks of `stride` residues and sorts these into
classes that read the same elements. Every combination of classes is one GEMM: the
positions are the blocks, the contraction runs over the elements read and the channels,
and the features are the residues and the output channels. Nothing is multiplied by a
zero of a dilation, and no kernel is padded, so non-finite values stay local.

Along an axis that is *paired*, blocks are taken by twos through a `Filter`: its
products are GEMMs of their own, with fewer multiplications in all.
"""

import math
from collections.abc import Sequence

import jax
from jax import lax

from jconvt._call.call import Call
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Map
from jconvt._lowerings.axes import merge_axes, pad, permute, split_axis
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
from jconvt._lowerings.patches.places import place, residues_apart
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
    """The output through patches; `paired` for each axis."""
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    sheet = Sheet(variant.first, geometry.rank, geometry.groups)
    x = sheet.array(x, layout)
    size = x.shape[sheet.space : sheet.space + sheet.rank]
    cuts = cut_axes(geometry, size, paired, variant.early)
    combinations = combinations_of(cuts)
    batch = x.shape[1] if sheet.first else x.shape[0]
    # Sums are not rounded to 16 bits: of patches, which the transpose in x adds up
    # where they overlap, and those that a filter takes.
    if which == Map.INPUT or any(paired):
        x = x.astype(numerics.accumulation)
    if any(paired):
        w = w.astype(numerics.accumulation)
    taps = grouped_taps(permute(w, layout.weight_channels_first), geometry.groups)
    parts = [
        _multiply(x, taps, c, cuts, sheet, numerics.summed()) for c in combinations
    ]
    positions = (batch, *(cut.tiles for cut in cuts))

    # The transpose of a pad between elements, for one class of residues: of several
    # each would be put in its place alone, and of pairs, read along rows, are sums.
    placed = which != Map.OUTPUT and len(combinations) == 1
    placed = placed and not (any(paired) and sheet.first)

    def join(parts: list[list[jax.Array]]) -> jax.Array:
        if placed:
            (combination,), (ms,) = combinations, parts
            made = residues_apart(ms, combination, cuts, sheet, positions)
            y = place(made, geometry.output_size(size), sheet)
        else:
            y = join_classes(parts, combinations, cuts, sheet, positions)
            y = interleave(y, cuts, sheet)
        return y.astype(numerics.result)

    direct = which == Map.OUTPUT and sheet.first == layout.is_features_first
    y = join(parts) if direct else fenced(join, parts)
    return sheet.result(y, layout)


def _multiply(
    x: jax.Array,
    taps: jax.Array,
    combination: Combination,
    cuts: Sequence[Blocks],
    sheet: Sheet,
    numerics: Numerics,
) -> list[jax.Array]:
    """For one combination of classes, the product of each of its GEMMs."""
    kernels = kernels_of(taps, combination, cuts, sheet.groups)
    elements = math.prod(
        1 if cut.paired else residues.taps
        for cut, residues in zip(cuts, combination, strict=True)
    )
    step = _step(x, elements)
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


def _step(x: jax.Array, elements: int) -> int:
    """How many of the elements that a block reads go into one GEMM."""
    if not all(isinstance(n, int) for n in x.shape):
        return elements
    return elements_at_once(elements, elements * x.nbytes)


def _patches(
    x: jax.Array,
    combination: Combination,
    cuts: Sequence[Blocks],
    sheet: Sheet,
    chosen: slice,
) -> list[jax.Array]:
    """The matrices of a combination's GEMMs, with some of the elements read."""
    pads = [(0, 0, 0)] * x.ndim
    for i, cut in enumerate(cuts):
        pads[sheet.space + i] = (*cut.pad, 0)
    x = x if all(p == (0, 0, 0) for p in pads) else pad(x, pads)
    views = [[x]]  # GEMMs x elements read
    for i, (cut, residues) in enumerate(zip(cuts, combination, strict=True)):
        views = _view(views, cut, residues, sheet.space + i)
    return [sheet.matrix(_stack(v[chosen], sheet)) for v in views]


def _view(
    views: list[list[jax.Array]], cut: Blocks, residues: ResidueClass, axis: int
) -> list[list[jax.Array]]:
    """Every view seen along one more axis."""
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
    """What each pair of blocks reads, element by element.

    Out of an axis of pairs, not by strided slices: the transpose of these would pad
    between elements.
    """
    pairs = cut.tiles + 1
    v = lax.slice_in_dim(v, residues.start, residues.start + 2 * pairs, axis=axis)
    v = split_axis(v, axis, (pairs, 2))
    found: list[jax.Array] = []
    for i in range(residues.taps + 1):
        later, place = divmod(i, 2)
        one = lax.slice_in_dim(v, later, later + cut.tiles, axis=axis)
        one = lax.slice_in_dim(one, place, place + 1, axis=axis + 1)
        found.append(lax.squeeze(one, (axis + 1,)))
    return found


def _stack(views: list[jax.Array], sheet: Sheet) -> jax.Array:
    """Views side by side as features, (groups, elements, channels)."""
    if len(views) == 1:
        return views[0]
    axis = sheet.features
    if sheet.groups == 1:
        return lax.concatenate(views, axis)
    shape = views[0].shape
    channels = (sheet.groups, shape[axis] // sheet.groups)
    apart = (*shape[:axis], *channels, *shape[axis + 1 :])
    split = [lax.reshape(v, apart) for v in views]
    return merge_axes(lax.concatenate(split, axis + 1), axis)
