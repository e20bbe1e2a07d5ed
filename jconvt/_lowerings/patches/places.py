"""From the GEMMs' products to the output, each residue or tap put in its place.

What `jconvt._lowerings.patches.joins` makes, written as a sum of arrays with zeros
between their elements: for the gradients, since XLA:CPU reads the transpose of this as
it should be read. That takes every residue of the cotangent by a strided slice, pads
it, and sets it beside the others, in one loop whose axes are those of the cotangent.
The transpose of an interleave and a crop is a loop over positions that are first taken
apart by divisions, two to ten times as long.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.geometry import Size
from jconvt._lowerings.axes import merge_axes, move_axis, split_axis
from jconvt._lowerings.patches.blocks import Blocks, Combination
from jconvt._lowerings.patches.joins import sum_products
from jconvt._lowerings.patches.sheet import Sheet


class Place(NamedTuple):
    """Where along an axis of the output some positions are.

    Attributes:
      start: of the first, in outputs; negative: it is cropped.
      step: between neighbours, in outputs.
    """

    start: int
    step: int

    def kept(self, count: int, out: int) -> tuple[int, int]:
        """The first and the last but one of `count` that are among `out` outputs."""
        first = max(0, -(self.start // self.step))
        last = min(count, -((self.start - out) // self.step))
        return (first, last) if first < last else (0, 0)

    def spread(self, y: jax.Array, axis: int, out: int) -> jax.Array:
        """Those among the outputs, with zeros between and around."""
        first, last = self.kept(y.shape[axis], out)
        y = lax.slice_in_dim(y, first, last, axis=axis)
        start = self.start + first * self.step if last else 0
        end = self.start + (last - 1) * self.step + 1 if last else 0
        pads = [(0, 0, 0)] * y.ndim
        pads[axis] = (start, out - end, self.step - 1)
        return lax.pad(y, jnp.zeros((), y.dtype), pads)


def place(
    made: Iterable[tuple[jax.Array, Sequence[Place]]], out: Sequence[int], sheet: Sheet
) -> jax.Array:
    """The sum of arrays with their places on every axis: an array of `out` outputs."""

    def spread(y: jax.Array, places: Sequence[Place]) -> jax.Array:
        for axis, (along, n) in enumerate(zip(places, out, strict=True), sheet.space):
            y = along.spread(y, axis, n)
        return y

    placed = [spread(y, places) for y, places in made]
    return sum(placed[1:], start=placed[0])


def residues_apart(
    ms: list[jax.Array],
    combination: Combination,
    cuts: Sequence[Blocks],
    sheet: Sheet,
    positions: Sequence[Size],
) -> Iterator[tuple[jax.Array, list[Place]]]:
    """The residues of every block, or of both blocks of a pair, with their places."""
    residues = list(itertools.product(*(r.residues for r in combination)))
    for blocks in itertools.product(*(range(2 if cut.paired else 1) for cut in cuts)):
        m = sum_products(ms, combination, cuts, blocks)
        arrays = apart(m, len(residues), sheet, positions)
        for y, chosen in zip(arrays, residues, strict=True):
            yield (
                y,
                [
                    _place_of(cut, block, residue)
                    for cut, block, residue in zip(cuts, blocks, chosen, strict=True)
                ],
            )


def _place_of(cut: Blocks, block: int, residue: int) -> Place:
    stride = cut.stride
    start = stride * block + residue - cut.crop[0]
    return Place(start, 2 * stride if cut.paired else stride)


def apart(
    m: jax.Array, count: int, sheet: Sheet, positions: Sequence[Size]
) -> list[jax.Array]:
    """A matrix whose features are (count, O) as `count` arrays, by one `lax.split`.

    Its transpose sets them side by side. That of a slice for each would write zeros for
    all others, and add these up.
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
