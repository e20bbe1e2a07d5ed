"""From the GEMMs' products to the output: classes joined, residues interleaved."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.geometry import Size
from jconvt._lowerings.axes import merge_axes
from jconvt._lowerings.patches.blocks import Blocks, Combination, ResidueClass
from jconvt._lowerings.patches.filters import PAIRS, combine
from jconvt._lowerings.patches.sheet import Sheet


def join_classes(
    parts: list[list[jax.Array]],
    combinations: Sequence[Combination],
    cuts: Sequence[Blocks],
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
                    assemble((*chosen, (cut.classes[i], first, length, place)))
                    for place in range(2 if cut.paired else 1)
                    for i, first, length in cut.runs
                ],
                first_residue + axis,
            )
        combination = tuple(residues for residues, *_ in chosen)
        ends = [(first, first + length) for _, first, length, _ in chosen]
        if combination not in made:
            return zeros_like_residues(
                some, [length for _, _, length, _ in chosen], first_residue
            )
        total = sum_products(
            made[combination], combination, cuts, [place for *_, place in chosen]
        )
        return _cut_out(total, ends, first_residue)

    return assemble(())


def sum_products(
    ms: list[jax.Array],
    combination: Combination,
    cuts: Sequence[Blocks],
    places: Sequence[int],
) -> jax.Array:
    """The outputs at one place of each pair: sums over products, axis by axis."""
    counts = [cut.products(r) for cut, r in zip(cuts, combination, strict=True)]
    for axis in reversed(range(len(cuts))):
        count = counts[axis]
        if not cuts[axis].paired:
            continue
        row = PAIRS[combination[axis].taps].join[places[axis]]
        ms = [combine(row, ms[i : i + count]) for i in range(0, len(ms), count)]
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
    """`lax.concatenate`, or the only part."""
    return parts[0] if len(parts) == 1 else lax.concatenate(parts, axis)


def interleave(y: jax.Array, cuts: Sequence[Blocks], sheet: Sheet) -> jax.Array:
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
        low, high = cut.crop
        if low or high:
            y = lax.slice_in_dim(y, low, y.shape[at + i] - high, axis=at + i)
    return y
