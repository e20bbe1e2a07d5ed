"""One axis as blocks of `stride` outputs, each made from the same few input elements.

Residues of `Axis.phases` that read the same elements form a class: one GEMM serves
them. Where the grid of blocks begins is free: with a kernel of 4, stride 2 and a crop
of 1, blocks that begin at the first output give two classes (they read elements q - 1,
q and q, q + 1), and blocks that begin one output earlier give one class, and one block
more. No jax import: integers only.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from jconvt._call.geometry import Axis, Geometry, Size
from jconvt._lowerings.patches.filters import PAIRS


@dataclass(frozen=True, slots=True)
class ResidueClass:
    """Residues of one axis that read the same input elements.

    The last element of residue r meets tap ``(r + low - c*s)/d`` with one c for the
    class, so that the taps of its residues are neighbours.

    Attributes:
      residues: of the block, increasing.
      first_tap: the tap that the last element of the first residue meets.
      taps: how many elements each block reads; 0: only bias.
      tap_step: between the taps of neighbouring elements.
      spacing: between neighbouring elements.
      start: block j reads padded elements ``start + j + m*spacing``.
    """

    residues: tuple[int, ...]
    first_tap: int
    taps: int
    tap_step: int
    spacing: int
    start: int

    def terms(self, place: int) -> list[tuple[int, int]]:
        """The taps of a residue, given by its place here, and the elements they meet.

        For block 0: block j meets the element j further on.
        """
        return [
            (
                self.first_tap + place + (self.taps - 1 - m) * self.tap_step,
                self.start + m * self.spacing,
            )
            for m in range(self.taps)
        ]


Combination = tuple[ResidueClass, ...]
"""A class of residues for each axis: what one GEMM makes."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """One axis cut into blocks.

    Attributes:
      stride: outputs per block.
      count: blocks.
      classes: each residue is in one of them.
      paired: whether blocks are made two at a time, by a filter.
      pad: zeros around the input, in input elements, which also fill the last pair.
      crop: outputs of the first and of the last block, or pair, that are not kept.
    """

    stride: int
    count: Size
    classes: tuple[ResidueClass, ...]
    paired: bool
    pad: tuple[int, Size]
    crop: tuple[int, Size]

    @property
    def tiles(self) -> Size:
        """Positions along this axis: blocks, or pairs of blocks."""
        return -(-self.count // 2) if self.paired else self.count

    def products(self, residues: ResidueClass) -> int:
        """GEMMs along this axis for one class."""
        return len(PAIRS[residues.taps].split) if self.paired else 1

    @property
    def runs(self) -> tuple[tuple[int, int, int], ...]:
        """The residues in order, as (class, first, length) of neighbours in a class."""
        places = {
            r: (i, j)
            for i, c in enumerate(self.classes)
            for j, r in enumerate(c.residues)
        }
        runs: list[tuple[int, int, int]] = []
        for r in range(self.stride):
            i, j = places[r]
            if runs and runs[-1][0] == i:
                _, first, length = runs.pop()
                runs.append((i, first, length + 1))
            else:
                runs.append((i, j, 1))
        return tuple(runs)

    @property
    def terms(self) -> list[list[tuple[int, int]]]:
        """Of every residue in order: `ResidueClass.terms`."""
        return [
            self.classes[i].terms(first + j)
            for i, first, length in self.runs
            for j in range(length)
        ]


@lru_cache(maxsize=1024)
def blocks(axis: Axis, n: Size, shift: int, paired: bool = False) -> Blocks:
    """The blocks of `axis` for `n` elements, beginning `shift` outputs early."""
    grid = replace(axis, low=axis.low - shift)
    phases = grid.phases()
    count = n + grid.extra_blocks
    low = max(0, *(p.pad[0] for p in phases))
    high = max(0, *(p.pad[1] for p in phases))
    kinds: dict[tuple[int, ...], list[int]] = {}
    for residue, phase in enumerate(phases):
        kinds.setdefault((phase.taps, *phase.pad), []).append(residue)
    classes = tuple(
        ResidueClass(
            residues=tuple(residues),
            first_tap=phases[residues[0]].first_tap,
            taps=phases[residues[0]].taps,
            tap_step=phases[residues[0]].tap_step,
            spacing=phases[residues[0]].dilation,
            start=low - phases[residues[0]].pad[0],
        )
        for residues in kinds.values()
    )
    # A block that fills the last pair, and the elements that a pair reads beyond it.
    fill = -count % 2 if paired else 0
    tail = (count + fill) * axis.stride - grid.output_size(n)
    pad = (low, high + fill + 2 if paired else high)
    return Blocks(axis.stride, count, classes, paired, pad, (shift, tail))


def cut_axes(
    geometry: Geometry, size: Sequence[Size], paired: Sequence[bool], early: bool
) -> tuple[Blocks, ...]:
    """Every axis cut into blocks.

    `early`: blocks begin where the uncropped output has a multiple of the stride.
    """
    return tuple(
        blocks(axis, n, axis.low % axis.stride if early else 0, p)
        for axis, n, p in zip(geometry.axes, size, paired, strict=True)
    )


def combinations_of(cuts: Sequence[Blocks]) -> tuple[Combination, ...]:
    """The combinations of classes that read anything."""
    return tuple(
        combination
        for combination in itertools.product(*(cut.classes for cut in cuts))
        if all(residues.taps for residues in combination)
    )


def keep_taps(
    axes: Sequence[Axis], size: Sequence[int]
) -> tuple[list[tuple[int, int]], list[Axis]]:
    """The taps, from and to, that reach an output, and the axes without the others."""
    kept = [_kept(axis, n) for axis, n in zip(axes, size, strict=True)]
    return kept, [
        Axis(
            stop - start,
            axis.stride,
            axis.dilation,
            axis.low - start * axis.dilation,
            axis.high - (axis.kernel_size - stop) * axis.dilation,
        )
        for axis, (start, stop) in zip(axes, kept, strict=True)
    ]


def _kept(axis: Axis, n: int) -> tuple[int, int]:
    # Tap t reaches positions from t*d - low to (n - 1)*s + t*d - low.
    out, s, d = axis.output_size(n), axis.stride, axis.dilation
    taps = [
        t
        for t in range(axis.kernel_size)
        if (n - 1) * s + t * d >= axis.low and t * d - axis.low < out
    ]
    return (taps[0], taps[-1] + 1) if taps else (0, 1)


def too_many_slices(geometry: Geometry) -> str | None:
    """Why a program that reads element by element would outgrow its use, or None."""
    if any(max(a.stride, a.kernel_size) > _MOST_TAPS for a in geometry.axes):
        return f"it needs strides and kernel sizes of at most {_MOST_TAPS}"
    slices = math.prod(map(_slices, geometry.axes))
    if slices > _MOST_SLICES:
        return f"it needs at most {_MOST_SLICES} slices of the input, not {slices}"
    return None


def _slices(axis: Axis) -> int:
    found = blocks(axis, 1, 0)
    return sum(max(1, found.classes[i].taps) for i, _, _ in found.runs)


_MOST_TAPS = 2**14
_MOST_SLICES = 512
