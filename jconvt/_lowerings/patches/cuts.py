"""The plan of a lowering by patches: every axis cut into blocks, or pairs of blocks.

No jax import: integers only.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from jconvt._call.geometry import Geometry, Size
from jconvt._lowerings.patches.blocks import Blocks, ResidueClass, blocks
from jconvt._lowerings.patches.filters import PAIRS


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
