"""Puts residues or taps in their places in the output, in the form for gradients.

The output is a sum of arrays, one for each residue or tap, with zeros between.

It has the values that `jconvt._lowerings.patches.joins` interleaves, and is used for
the gradients. Its transpose takes each residue of the cotangent by a strided slice and
concatenates them, and XLA:CPU makes one loop over the cotangent's axes of that. The
transpose of an interleave and a crop is a loop over flat positions that computes every
index by divisions and takes two to ten times as long.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
from jax import lax

from jconvt._call.geometry import Size
from jconvt._lowerings.axes import add_arrays, merge_axes, move_axis, pad, split_axis
from jconvt._lowerings.patches.blocks import Blocks, Combination
from jconvt._lowerings.patches.joins import sum_products
from jconvt._lowerings.patches.sheet import Sheet


class Place(NamedTuple):
    """The outputs start, start + step, ... of one axis, to which values are added.

    A negative start, or one beyond the output, is cropped.
    """

    start: int
    step: int

    def kept(self, count: int, out: int) -> tuple[int, int]:
        """The half-open range of those of `count` values inside the output."""
        first = max(0, -(self.start // self.step))
        last = min(count, -((self.start - out) // self.step))
        return (first, last) if first < last else (0, 0)

    def spread(self, y: jax.Array, axis: int, out: int) -> jax.Array:
        """Axis of values -> axis of `out` outputs, zero where there is no value."""
        first, last = self.kept(y.shape[axis], out)
        y = lax.slice_in_dim(y, first, last, axis=axis)
        start = self.start + first * self.step if last else 0
        end = self.start + (last - 1) * self.step + 1 if last else 0
        return pad(y, [(start, out - end, self.step - 1)], axis)


def scatter_sum(
    made: Iterable[tuple[jax.Array, Sequence[Place]]], out: Sequence[int], sheet: Sheet
) -> jax.Array:
    """Adds arrays into an output of size `out`, each at its place on every axis."""

    def spread(y: jax.Array, places: Sequence[Place]) -> jax.Array:
        for axis, (along, n) in enumerate(zip(places, out, strict=True), sheet.space):
            y = along.spread(y, axis, n)
        return y

    return add_arrays([spread(y, places) for y, places in made])


def residues_with_places(
    ms: list[jax.Array],
    combination: Combination,
    cuts: Sequence[Blocks],
    sheet: Sheet,
    positions: Sequence[Size],
) -> Iterator[tuple[jax.Array, list[Place]]]:
    """Each residue of the blocks, or of both blocks of a pair, with its places."""
    residues = list(itertools.product(*(r.residues for r in combination)))
    for blocks in itertools.product(*(range(2 if cut.paired else 1) for cut in cuts)):
        m = sum_products(ms, combination, cuts, blocks)
        arrays = split_features(m, len(residues), sheet, positions)
        for y, chosen in zip(arrays, residues, strict=True):
            yield (
                y,
                [
                    _place_of(cut, block, residue)
                    for cut, block, residue in zip(cuts, blocks, chosen, strict=True)
                ],
            )


def _place_of(cut: Blocks, block: int, residue: int) -> Place:
    """Where a residue stands in all blocks, or in all first or second ones of pairs."""
    stride = cut.stride
    start = stride * block + residue - cut.crop[0]
    return Place(start, 2 * stride if cut.paired else stride)


def split_features(
    m: jax.Array, count: int, sheet: Sheet, positions: Sequence[Size]
) -> list[jax.Array]:
    """A matrix whose features are (count, O) -> `count` arrays, by one `lax.split`.

    The transpose is a concatenation. The transpose of `count` slices would be a sum of
    arrays padded with zeros.
    """
    group = m.ndim - 2
    if sheet.first:
        out = m.shape[-2] // count
        m = split_axis(m, m.ndim - 1, positions)
        parts = lax.split(m, [out] * count, group)
        return [merge_axes(part, 0) for part in parts] if group else list(parts)
    m = split_axis(m, m.ndim - 1, (count, m.shape[-1] // count))
    parts = [
        lax.squeeze(p, [m.ndim - 2]) for p in lax.split(m, [1] * count, m.ndim - 2)
    ]
    parts = [split_axis(part, group, positions) for part in parts]
    if not group:
        return parts
    at = len(positions)
    return [merge_axes(move_axis(part, 0, at), at) for part in parts]
