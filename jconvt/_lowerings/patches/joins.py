"""The output from the products of the GEMMs: classes joined, residues interleaved."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.geometry import Size
from jconvt._lowerings.axes import merge_axes
from jconvt._lowerings.patches.blocks import Blocks, Combination, Span
from jconvt._lowerings.patches.filters import PAIRS, combine
from jconvt._lowerings.patches.sheet import Sheet


def join_classes(
    parts: list[list[jax.Array]],
    combinations: Sequence[Combination],
    cuts: Sequence[Blocks],
    sheet: Sheet,
    positions: tuple[Size, ...],
) -> jax.Array:
    """All residues of all blocks, with axes as `Sheet.split` gives them.

    `parts` holds the products of the GEMMs of each combination.
    """
    first_residue = 0 if sheet.first else 1 + sheet.rank
    made: dict[Combination, list[jax.Array]] = {
        c: [sheet.split(m, [len(r.residues) for r in c], positions) for m in ms]
        for c, ms in zip(combinations, parts, strict=True)
    }
    some = next(iter(made.values()))[0]

    def assemble(chosen: tuple[tuple[Span, int], ...]) -> jax.Array:
        """`chosen`: for the first axes, some residues and which block of a pair."""
        axis = len(chosen)
        if axis < sheet.rank:
            cut = cuts[axis]
            return concatenate(
                [
                    assemble((*chosen, (span, block)))
                    for block in range(2 if cut.paired else 1)
                    for span in cut.spans
                ],
                first_residue + axis,
            )
        combination = tuple(span.of for span, _ in chosen)
        if combination not in made:
            lengths = [span.length for span, _ in chosen]
            return zeros_like_residues(some, lengths, first_residue)
        blocks = [block for _, block in chosen]
        total = sum_products(made[combination], combination, cuts, blocks)
        ends = [(span.first, span.first + span.length) for span, _ in chosen]
        return _cut_out(total, ends, first_residue)

    return assemble(())


def sum_products(
    ms: list[jax.Array],
    combination: Combination,
    cuts: Sequence[Blocks],
    blocks: Sequence[int],
) -> jax.Array:
    """The outputs of one block of each pair: the filters' sums, axis by axis.

    `blocks` is 0 or 1 for each paired axis.
    """
    counts = [cut.products(r) for cut, r in zip(cuts, combination, strict=True)]
    for axis in reversed(range(len(cuts))):
        count = counts[axis]
        if not cuts[axis].paired:
            continue
        row = PAIRS[combination[axis].taps].join[blocks[axis]]
        ms = [combine(row, ms[i : i + count]) for i in range(0, len(ms), count)]
    return ms[0]


def _cut_out(
    y: jax.Array, ends: Sequence[tuple[int, int]], first_axis: int
) -> jax.Array:
    """The elements from start to stop of axis `first_axis` and the next ones."""
    for axis, (start, stop) in enumerate(ends, start=first_axis):
        if (start, stop) != (0, y.shape[axis]):
            y = lax.slice_in_dim(y, start, stop, axis=axis)
    return y


def zeros_like_residues(
    some: jax.Array, lengths: Sequence[int], first_axis: int
) -> jax.Array:
    """Zeros with the dtype and sharding of `some`, for so many residues per axis."""
    one = jnp.zeros_like(_cut_out(some, [(0, 1)] * len(lengths), first_axis))
    shape = list(one.shape)
    shape[first_axis : first_axis + len(lengths)] = lengths
    return jnp.broadcast_to(one, shape)


def concatenate(parts: list[jax.Array], axis: int) -> jax.Array:
    """`lax.concatenate`, or the only part."""
    return parts[0] if len(parts) == 1 else lax.concatenate(parts, axis)


def interleave(y: jax.Array, cuts: Sequence[Blocks], sheet: Sheet) -> jax.Array:
    """Moves the residue axes into space and crops: an array as `Sheet` describes it."""
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
