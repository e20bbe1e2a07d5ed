"""One axis as blocks of `stride` outputs, each made from the same few input elements.

Residues of `Axis.phases` that read the same elements form a class: one GEMM serves
them. Where the grid of blocks begins is free: with a kernel of 4, stride 2 and a crop
of 1, blocks that begin at the first output give two classes (they read elements q - 1,
q and q, q + 1), and blocks that begin one output earlier give one class, and one block
more. No jax import: integers only.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from jconvt._call.geometry import Axis, Geometry, Size


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


@dataclass(frozen=True, slots=True)
class Blocks:
    """One axis cut into blocks.

    Attributes:
      stride: outputs per block.
      count: blocks.
      classes: each residue is in one of them.
      pad: zeros around the input, in input elements.
      crop: outputs of the first and of the last block that are not kept.
    """

    stride: int
    count: Size
    classes: tuple[ResidueClass, ...]
    pad: tuple[int, int]
    crop: tuple[int, Size]

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
def blocks(axis: Axis, n: Size, shift: int) -> Blocks:
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
    tail = count * axis.stride - grid.output_size(n)
    return Blocks(axis.stride, count, classes, (low, high), (shift, tail))


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


_MOST_TAPS = 1024
_MOST_SLICES = 512
