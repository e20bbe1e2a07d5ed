"""GEMMs of low-resolution patches: what `gather` and `winograd` share.

Per axis, `blocks` cuts the output into blocks of `stride` residues and sorts these into
classes that read the same elements. Every combination of classes is one GEMM: the
positions are the blocks, the contraction runs over the elements read and the channels,
and the features are the residues and the output channels. Nothing is multiplied by a
zero of a dilation, and no kernel is padded, so non-finite values stay local.

Along an axis that is *paired*, blocks are taken by twos through a `Filter`: its
products are GEMMs of their own, with fewer multiplications in all.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._geometry import Geometry, Size
from jconvt._layout import Layout
from jconvt._lowerings._blocks import Blocks, ResidueClass, blocks
from jconvt._lowerings._common import merge_axes, move_axis, pad, split_axis
from jconvt._lowerings._fence import fenced
from jconvt._lowerings._filters import PAIRS
from jconvt._lowerings._problem import Problem, Slot, Variant, Work, filled
from jconvt._lowerings._sheet import Sheet, grouped_taps, is_features_first
from jconvt._numerics import Numerics


class Cut(NamedTuple):
    """One axis of a plan."""

    blocks: Blocks
    paired: bool

    @property
    def tiles(self) -> Size:
        """Positions along this axis: blocks, or pairs of blocks."""
        return -(-self.blocks.count // 2) if self.paired else self.blocks.count

    @property
    def pad(self) -> tuple[int, int, int]:
        """The padding of the input, which also fills the last pair and one more."""
        low, high = self.blocks.pad
        if self.paired:
            high += 2 * self.tiles - self.blocks.count + 2
        return low, high, 0

    def products(self, residues: ResidueClass) -> int:
        """GEMMs along this axis."""
        return len(PAIRS[residues.taps].split) if self.paired else 1


Combination = tuple[ResidueClass, ...]

_PATCH_BYTES = 8 * 2**20
"""Patches of more than this are made and multiplied element by element."""


def cut_axes(
    geometry: Geometry, size: Sequence[Size], paired: Sequence[bool], early: bool
) -> tuple[Cut, ...]:
    """The plan: every axis cut into blocks."""
    return tuple(
        Cut(blocks(axis, n, axis.low % axis.stride if early else 0), p)
        for axis, n, p in zip(geometry.axes, size, paired, strict=True)
    )


def combinations_of(cuts: Sequence[Cut]) -> tuple[Combination, ...]:
    """The combinations of classes that read anything."""
    return tuple(
        combination
        for combination in itertools.product(*(cut.blocks.classes for cut in cuts))
        if all(residues.taps for residues in combination)
    )


def lower_patches(
    x: jax.Array,
    w: jax.Array,
    geometry: Geometry,
    layout: Layout,
    numerics: Numerics,
    variant: Variant,
    forward: bool,
    paired: tuple[bool, ...],
) -> jax.Array:
    """The output through patches; `paired` for each axis."""
    sheet = Sheet(variant.first, geometry.rank, geometry.groups)
    x = sheet.array(x, layout)
    size = x.shape[sheet.space : sheet.space + sheet.rank]
    cuts = cut_axes(geometry, size, paired, variant.early)
    combinations = combinations_of(cuts)
    batch = x.shape[1] if sheet.first else x.shape[0]
    if not combinations:
        channels = w.shape[layout.weight[1]] * geometry.groups
        space = geometry.output_size(size)
        shape = layout.output_shape(batch, channels, space)
        return jnp.zeros(shape, numerics.result)
    if any(paired):
        # The sums that a filter takes are not rounded to 16 bits.
        x, w = x.astype(numerics.accumulation), w.astype(numerics.accumulation)
    taps = grouped_taps(layout.weight_channels_first(w), geometry.groups)
    parts = [
        _multiply(x, taps, c, cuts, sheet, numerics.summed()) for c in combinations
    ]
    positions = (batch, *(cut.tiles for cut in cuts))

    def join(parts: list[list[jax.Array]]) -> jax.Array:
        y = _join(parts, combinations, cuts, sheet, positions)
        return interleave(y, cuts, sheet).astype(numerics.result)

    direct = forward and sheet.first == is_features_first(layout)
    y = join(parts) if direct else fenced(join, parts)
    return sheet.result(y, layout)


def _multiply(
    x: jax.Array,
    taps: jax.Array,
    combination: Combination,
    cuts: Sequence[Cut],
    sheet: Sheet,
    numerics: Numerics,
) -> list[jax.Array]:
    """For one combination of classes, the product of each of its GEMMs."""
    kernels = _kernels(taps, combination, cuts, sheet.groups)
    elements = math.prod(
        1 if cut.paired else residues.taps
        for cut, residues in zip(cuts, combination, strict=True)
    )
    parts = _parts(x, elements)
    found: list[jax.Array] = []
    step = -(-elements // parts)
    for start in range(0, elements, step):
        chosen = slice(start, start + step)
        patches = fenced(
            lambda x, chosen=chosen: _patches(x, combination, cuts, sheet, chosen), x
        )
        made = [
            sheet.product(m, _kernel_matrix(k, sheet, chosen), numerics)
            for m, k in zip(patches, kernels, strict=True)
        ]
        found = made if not found else [a + b for a, b in zip(found, made, strict=True)]
    return found


def _parts(x: jax.Array, elements: int) -> int:
    """Into how many GEMMs to split the elements that a block reads."""
    if elements == 1 or not all(isinstance(n, int) for n in x.shape):
        return 1
    return min(elements, -(-x.size * x.dtype.itemsize * elements // _PATCH_BYTES))


def _patches(
    x: jax.Array,
    combination: Combination,
    cuts: Sequence[Cut],
    sheet: Sheet,
    chosen: slice,
) -> list[jax.Array]:
    """The matrices of a combination's GEMMs, with some of the elements read."""
    pads = [(0, 0, 0)] * x.ndim
    for i, cut in enumerate(cuts):
        pads[sheet.space + i] = cut.pad
    x = x if all(p == (0, 0, 0) for p in pads) else pad(x, pads)
    views = [[x]]  # GEMMs x elements read
    for i, (cut, residues) in enumerate(zip(cuts, combination, strict=True)):
        views = _view(views, cut, residues, sheet.space + i)
    return [sheet.matrix(_stack(v[chosen], sheet)) for v in views]


def _view(
    views: list[list[jax.Array]], cut: Cut, residues: ResidueClass, axis: int
) -> list[list[jax.Array]]:
    """Every view seen along one more axis."""
    if cut.paired:
        rows = PAIRS[residues.taps].split
        return [
            [_combine(row, _pair_elements(v, cut, residues, axis)) for v in view]
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
    v: jax.Array, cut: Cut, residues: ResidueClass, axis: int
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


def _kernels(
    taps: jax.Array, combination: Combination, cuts: Sequence[Cut], groups: int
) -> list[jax.Array]:
    """For each GEMM (G, I, O, elements, *residues), from (G, I, O, *taps)."""
    # An axis of taps becomes one of elements in place, or none, and one of residues at
    # the end.
    first = at = 3 if groups > 1 else 2
    kernels = [taps]
    for cut, residues in zip(cuts, combination, strict=True):
        if cut.paired:
            rows = PAIRS[residues.taps].prepare
            kernels = [
                _combine(row, _elements(k, residues, at))
                for k in kernels
                for row in rows
            ]
        else:
            kernels = [_windows(k, residues, at) for k in kernels]
            at += 1
    if at == first:
        return [lax.expand_dims(k, (first,)) for k in kernels]
    for _ in range(first, at - 1):
        kernels = [merge_axes(k, first) for k in kernels]
    return kernels


def _windows(k: jax.Array, residues: ResidueClass, at: int) -> jax.Array:
    """Axis `at` of taps -> elements there, residues at the end."""
    if residues.taps == 1:
        return lax.expand_dims(_elements(k, residues, at)[0], (at,))
    whole = _whole(residues, k.shape[at])
    if whole:
        shape = (*k.shape[:at], residues.taps, residues.tap_step, *k.shape[at + 1 :])
        k = lax.rev(lax.reshape(k, shape), (at,))
        return move_axis(k, at + 1, k.ndim - 1)
    return lax.concatenate(
        [lax.expand_dims(e, (at,)) for e in _elements(k, residues, at)], at
    )


def _whole(residues: ResidueClass, kernel_size: int) -> bool:
    """Whether the class reads every tap, residue by residue."""
    return (
        residues.taps * residues.tap_step == kernel_size
        and residues.first_taps == tuple(range(residues.tap_step))
    )


def _elements(k: jax.Array, residues: ResidueClass, at: int) -> list[jax.Array]:
    """For each element the taps it meets: axis `at` goes, residues come at the end."""
    found: list[jax.Array] = []
    for m in reversed(range(residues.taps)):
        taps = [first + m * residues.tap_step for first in residues.first_taps]
        found.append(move_axis(take_taps(k, taps, at), at, k.ndim - 1))
    return found


def take_taps(k: jax.Array, taps: list[int], at: int) -> jax.Array:
    if taps == list(range(taps[0], taps[0] + len(taps))):
        return lax.slice_in_dim(k, taps[0], taps[0] + len(taps), axis=at)
    return lax.concatenate([lax.slice_in_dim(k, t, t + 1, axis=at) for t in taps], at)


def _kernel_matrix(k: jax.Array, sheet: Sheet, chosen: slice) -> jax.Array:
    """(G, I, O, elements, *residues) -> (G, residues*O, elements*I)."""
    lead = 1 if sheet.groups > 1 else 0
    at, end = lead + 2, k.ndim
    stop = min(chosen.stop, k.shape[at])
    if (chosen.start, stop) != (0, k.shape[at]):
        k = lax.slice_in_dim(k, chosen.start, stop, axis=at)
    k = lax.transpose(k, (*range(lead), *range(at + 1, end), lead + 1, at, lead))
    for _ in range(at + 1, end):
        k = merge_axes(k, lead)
    return merge_axes(k, lead + 1)


def _combine(row: Sequence[float], terms: Sequence[jax.Array]) -> jax.Array:
    """The sum of ``row[i] * terms[i]``, without products by 0 and 1."""
    total: jax.Array | None = None
    for factor, term in zip(row, terms, strict=True):
        if factor == 0:
            continue
        if total is None:
            total = term if factor == 1 else factor * term
        elif factor in (1, -1):
            total = total + term if factor == 1 else total - term
        else:
            total = total + factor * term
    if total is None:
        raise AssertionError("a filter has no empty row")
    return total


def _join(
    parts: list[list[jax.Array]],
    combinations: Sequence[Combination],
    cuts: Sequence[Cut],
    sheet: Sheet,
    positions: tuple[Size, ...],
) -> jax.Array:
    """All residues of all blocks, in order along the residue axes."""
    first_residue = 0 if sheet.first else 1 + sheet.rank
    made: dict[Combination, list[jax.Array]] = {
        c: [sheet.split(m, [len(r.residues) for r in c], positions) for m in ms]
        for c, ms in zip(combinations, parts, strict=True)
    }
    some = next(iter(made.values()))[0]

    def assemble(chosen: tuple[tuple[ResidueClass, int, int, int], ...]) -> jax.Array:
        axis = len(chosen)
        if axis < sheet.rank:
            cut = cuts[axis]
            return concatenate(
                [
                    assemble((*chosen, (cut.blocks.classes[i], first, length, place)))
                    for place in range(2 if cut.paired else 1)
                    for i, first, length in cut.blocks.runs
                ],
                first_residue + axis,
            )
        combination = tuple(residues for residues, *_ in chosen)
        ends = [(first, first + length) for _, first, length, _ in chosen]
        if combination not in made:
            return zeros_like_residues(
                some, [length for _, _, length, _ in chosen], first_residue
            )
        total = _sum_products(
            made[combination], combination, cuts, [place for *_, place in chosen]
        )
        return _cut_out(total, ends, first_residue)

    return assemble(())


def _sum_products(
    ms: list[jax.Array],
    combination: Combination,
    cuts: Sequence[Cut],
    places: Sequence[int],
) -> jax.Array:
    """The outputs at one place of each pair: sums over products, axis by axis."""
    counts = [cut.products(r) for cut, r in zip(cuts, combination, strict=True)]
    for axis in reversed(range(len(cuts))):
        count = counts[axis]
        if not cuts[axis].paired:
            continue
        row = PAIRS[combination[axis].taps].join[places[axis]]
        ms = [_combine(row, ms[i : i + count]) for i in range(0, len(ms), count)]
    return ms[0]


def _cut_out(
    y: jax.Array, ends: Sequence[tuple[int, int]], first_axis: int
) -> jax.Array:
    for axis, (start, stop) in enumerate(ends, start=first_axis):
        if (start, stop) != (0, y.shape[axis]):
            y = lax.slice_in_dim(y, start, stop, axis=axis)
    return y


def zeros_like_residues(
    some: jax.Array, lengths: Sequence[int], first_axis: int
) -> jax.Array:
    """Zeros like `some`, which gives them its sharding, of so many residues."""
    one = jnp.zeros_like(_cut_out(some, [(0, 1)] * len(lengths), first_axis))
    shape = list(one.shape)
    shape[first_axis : first_axis + len(lengths)] = lengths
    return jnp.broadcast_to(one, shape)


def concatenate(parts: list[jax.Array], axis: int) -> jax.Array:
    return parts[0] if len(parts) == 1 else lax.concatenate(parts, axis)


def interleave(y: jax.Array, cuts: Sequence[Cut], sheet: Sheet) -> jax.Array:
    """Residues into space, and the crop: an array."""
    rank = sheet.rank
    if sheet.first:
        residues, rest = range(rank), (rank, rank + 1)
        space, at = range(rank + 2, 2 * rank + 2), 2
    else:
        residues, rest = range(rank + 1, 2 * rank + 1), (0,)
        space, at = range(1, rank + 1), 1
    order = [*rest]
    for block, residue in zip(space, residues, strict=True):
        order += [block, residue]
    if not sheet.first:
        order.append(2 * rank + 1)
    y = lax.transpose(y, order)
    for i, cut in enumerate(cuts):
        y = merge_axes(y, at + i)
        low, high = cut.blocks.crop
        if cut.paired:
            high += (2 * cut.tiles - cut.blocks.count) * cut.blocks.stride
        if low or not isinstance(high, int) or high:
            y = lax.slice_in_dim(y, low, y.shape[at + i] - high, axis=at + i)
    return y


def work_of_patches(
    problem: Problem, variant: Variant, paired: tuple[bool, ...], slot: Slot
) -> Work:
    """What `lower_patches` does."""
    geometry = problem.geometry
    cuts = cut_axes(geometry, problem.size, paired, variant.early)
    positions = problem.batch * math.prod(cut.tiles for cut in cuts)
    groups = geometry.groups
    macs = lanes = operands = gathered = kernels = made = calls = 0
    alive = 0
    for combination in combinations_of(cuts):
        pairs = list(zip(cuts, combination, strict=True))
        gemms = math.prod(cut.products(residues) for cut, residues in pairs)
        elements = math.prod(1 if cut.paired else r.taps for cut, r in pairs)
        features = math.prod(len(r.residues) for r in combination)
        k = elements * problem.in_channels // groups
        f = features * problem.out_channels // groups
        macs += gemms * groups * positions * k * f
        wide = filled(positions) * f if variant.first else positions * filled(f)
        lanes += gemms * groups * k * wide
        operands += gemms * groups * (positions * (k + f) + k * f)
        patches = gemms * groups * positions * k
        gathered += patches
        split = max(_PATCH_BYTES // problem.itemsize, patches // elements)
        alive = max(alive, min(patches, split))
        kernels += gemms * groups * k * f
        made += gemms * groups * positions * f
        calls += gemms
    if not any(paired) and gathered == problem.inputs and _is_whole(cuts):
        gathered = 0
    moved = problem.inputs + problem.outputs
    joined = made + problem.outputs
    strided = 0
    if variant.first and geometry.rank:
        strided += joined if geometry.stride[-1] > 1 else 0
        if paired[-1] and slot == Slot.FORWARD:
            # Pairs lie along the vectorised axis, and many readers pick them apart.
            strided += 6 * gathered + 2 * joined
    elif groups > 1:  # their channels lie between those of other groups
        strided += gathered + made
    return Work(
        multiply_adds=macs,
        lanes=lanes,
        operands=operands,
        gathered=gathered,
        joined=joined,
        strided=strided,
        transposed=0 if variant.first == problem.features_first else moved,
        prepared=kernels,
        calls=calls,
        temporary=alive + made + kernels,
    )


def _is_whole(cuts: Sequence[Cut]) -> bool:
    """Whether the only patch is the input as it is."""
    return all(cut.pad == (0, 0, 0) for cut in cuts)
