"""One axis as blocks of ``stride`` outputs, and the elements and taps that each reads.

A block holds one output of each residue. Residues whose outputs are sums over the same
input elements form a class, and one GEMM computes a class. The first block may begin
before the first output. With a kernel of 4, stride 2 and a crop of 1, for example:

- if block q begins at output 2q, its two residues read elements q - 1, q and q, q + 1:
  two classes;
- if it begins one output earlier, both read the same two elements: one class, and one
  block more.

No jax import: integers only.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from jconvt._call.geometry import Axis, Geometry, Size
from jconvt._lowerings.patches.filters import PAIRS


@dataclass(frozen=True, slots=True)
class ResidueClass:
    """Residues of one axis whose outputs are sums over the same input elements.

    The m-th of the elements that block j reads is ``start + j + m*spacing`` of the
    padded input. For the i-th residue it is multiplied by tap
    ``first_tap + i + (taps - 1 - m)*tap_step``.

    Attributes:
      residues: positions in the block, increasing.
      first_tap: the tap by which the first residue multiplies the last element.
      taps: how many elements each block reads; 0: none, the outputs are zero.
      tap_step: distance between the taps of neighbouring elements.
      spacing: distance between neighbouring elements.
      start: the first element that block 0 reads, in the padded input.
    """

    residues: tuple[int, ...]
    first_tap: int
    taps: int
    tap_step: int
    spacing: int
    start: int

    def terms(self, index: int) -> list[tuple[int, int]]:
        """(tap, element) of each product of ``residues[index]``, in block 0."""
        return [
            (
                self.first_tap + index + (self.taps - 1 - m) * self.tap_step,
                self.start + m * self.spacing,
            )
            for m in range(self.taps)
        ]


class Span(NamedTuple):
    """Neighbouring residues of a block that are in one class."""

    of: ResidueClass
    first: int
    """Index of the first one in ``of.residues``."""
    length: int

    @property
    def terms(self) -> list[tuple[int, int]]:
        """`ResidueClass.terms` of the first one; the next ones have the next taps."""
        return self.of.terms(self.first)


Combination = tuple[ResidueClass, ...]
"""A class of residues for each axis: the outputs of one GEMM."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """One axis, cut into blocks.

    Attributes:
      stride: outputs per block.
      count: the number of blocks.
      classes: each residue is in one of them.
      paired: whether blocks are computed two at a time, by a minimal filter.
      pad: zeros around the input, in input elements, also to complete the last pair.
      crop: outputs that are not kept, of the first and of the last block (or pair).
    """

    stride: int
    count: Size
    classes: tuple[ResidueClass, ...]
    paired: bool
    pad: tuple[int, Size]
    crop: tuple[int, Size]

    @property
    def tiles(self) -> Size:
        """Rows of the patch matrix along this axis: blocks, or pairs of blocks."""
        return -(-self.count // 2) if self.paired else self.count

    def products(self, residues: ResidueClass) -> int:
        """GEMMs that this axis needs for a class: the filter's products, or 1."""
        return len(PAIRS[residues.taps].split) if self.paired else 1

    @property
    def spans(self) -> tuple[Span, ...]:
        """The residues 0, ..., stride - 1, as neighbours of the same class."""
        found = {
            r: Span(c, i, 1) for c in self.classes for i, r in enumerate(c.residues)
        }
        spans: list[Span] = []
        for residue in range(self.stride):
            if spans and spans[-1].of is found[residue].of:
                spans[-1] = spans[-1]._replace(length=spans[-1].length + 1)
            else:
                spans.append(found[residue])
        return tuple(spans)

    @property
    def terms(self) -> list[list[tuple[int, int]]]:
        """`ResidueClass.terms` of every residue, in order."""
        return [
            span.of.terms(span.first + i)
            for span in self.spans
            for i in range(span.length)
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
    # The block that completes the last pair, and 2 elements that pairs read beyond.
    fill = -count % 2 if paired else 0
    tail = (count + fill) * axis.stride - grid.output_size(n)
    pad = (low, high + fill + 2 if paired else high)
    return Blocks(axis.stride, count, classes, paired, pad, (shift, tail))


def cut_axes(
    geometry: Geometry, size: Sequence[Size], paired: Sequence[bool], early: bool
) -> tuple[Blocks, ...]:
    """Every axis cut into blocks.

    With `early`, blocks begin at multiples of the stride in the full output.
    """
    return tuple(
        blocks(axis, n, axis.low % axis.stride if early else 0, p)
        for axis, n, p in zip(geometry.axes, size, paired, strict=True)
    )


def combinations_of(cuts: Sequence[Blocks]) -> tuple[Combination, ...]:
    """The combinations of classes, one per axis, whose outputs are not all zero."""
    return tuple(
        combination
        for combination in itertools.product(*(cut.classes for cut in cuts))
        if all(residues.taps for residues in combination)
    )


def keep_taps(
    axes: Sequence[Axis], size: Sequence[int]
) -> tuple[list[tuple[int, int]], list[Axis]]:
    """The (start, stop) of the taps that reach an output, and axes of these alone."""
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


def each_kept_tap(axes: Sequence[Axis], size: Sequence[int]) -> list[tuple[int, ...]]:
    """The taps, one index per axis, that reach an output."""
    kept, _ = keep_taps(axes, size)
    return list(itertools.product(*(range(*ends) for ends in kept)))


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
    """Why a program with a slice for each tap would be too large, or None."""
    return too_many_slices_along(geometry.axes)


def too_many_slices_along(axes: Sequence[Axis]) -> str | None:
    """The same for some of the axes."""
    if any(max(a.stride, a.kernel_size) > _MOST_TAPS for a in axes):
        return f"it needs strides and kernel sizes of at most {_MOST_TAPS}"
    slices = math.prod(map(_slices, axes))
    if slices > _MOST_SLICES:
        return f"it needs at most {_MOST_SLICES} slices of the input, not {slices}"
    return None


def _slices(axis: Axis) -> int:
    return sum(max(1, span.of.taps) for span in blocks(axis, 1, 0).spans)


_MOST_TAPS = 2**14
_MOST_SLICES = 512
