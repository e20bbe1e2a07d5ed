"""A layer cut into pieces that are computed one after the other. No jax import.

Where the temporaries of a formulation are more than a process keeps between runs
(`jconvt._choice.cost`), the batch is cut, and an image along one of its spatial axes. A
piece of that axis is a transposed convolution of its own. Output and weight gradient
are cut by the outputs, L*s of them at a time::

    outputs                        o = c*L*s + o'        0 <= o' < L*s
    read the elements              i = c*L + first + i'
    where                          first = ceil((low - d*(k - 1))/s)
    so that o + low = s*i + d*t  is  o' + (low - s*first) = s*i' + d*t

with the same crop for every piece c. Neighbours share a halo of elements; those outside
of the input are zero. The input gradient is cut by the elements, L of them at a time,
which read the cotangent from c*L*s - low on, with nothing cropped; what was cropped is
zero. So no two pieces write one result, and nothing is rounded twice.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from jconvt._call.geometry import Axis, Geometry
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.work import Work


@dataclass(frozen=True, slots=True)
class Pieces:
    """How a layer is cut.

    Attributes:
      batch: pieces of the batch, which it divides.
      blocks: of `stride` outputs of one spatial axis in a piece; 0: all of them.
      axis: which spatial axis is cut.
    """

    batch: int = 1
    blocks: int = 0
    axis: int = 0

    def __str__(self) -> str:
        return ", ".join(
            [
                *([f"batch in {self.batch} pieces"] if self.batch > 1 else []),
                *([f"{self.blocks} blocks a piece"] if self.blocks else []),
                *([f"along axis {self.axis}"] if self.axis else []),
            ]
        )


WHOLE = Pieces()


class Segment(NamedTuple):
    """Some outputs of one spatial axis, the elements that they read, and the crop."""

    geometry: Geometry
    first_in: int
    inputs: int
    first_out: int
    outputs: int

    @property
    def last_in(self) -> int:
        """The element after the last."""
        return self.first_in + self.inputs

    @property
    def last_out(self) -> int:
        """The output after the last."""
        return self.first_out + self.outputs


@dataclass(frozen=True, slots=True)
class Rows:
    """One spatial axis in pieces."""

    count: int
    blocks: int
    """The step from piece to piece: elements, each a stride of outputs."""
    piece: Segment
    """The first of them."""
    rest: Segment | None
    """What the last of them leaves."""
    pad_in: tuple[int, int]
    """Zeros around the elements, for all pieces to read them."""
    pad_out: tuple[int, int]
    """Zeros around the outputs."""

    @property
    def runs(self) -> tuple[Segment, ...]:
        """The kinds of piece."""
        return (self.piece,) if self.rest is None else (self.piece, self.rest)


def cut_rows(geometry: Geometry, n: int, blocks: int, which: Map, at: int = 0) -> Rows:
    """Spatial axis `at`, of `n` elements, in pieces of so many blocks."""
    axis = geometry.axes[at]
    s, out = axis.stride, axis.output_size(n)
    by_inputs = which == Map.INPUT
    whole, unit = (n, 1) if by_inputs else (out, s)
    run = _elements if by_inputs else _outputs
    length = blocks * unit
    count, left = divmod(whole, length)
    piece = run(geometry, at, 0, length)
    rest = run(geometry, at, whole - left, left) if left else None
    shift = count - 1
    last_in, last_out = (
        piece.last_in + shift * blocks,
        piece.last_out + shift * blocks * s,
    )
    if rest is not None:
        last_in, last_out = max(last_in, rest.last_in), max(last_out, rest.last_out)
    pad_in = max(0, -piece.first_in), max(0, last_in - n)
    pad_out = max(0, -piece.first_out), max(0, last_out - out)
    return Rows(count, blocks, piece, rest, pad_in, pad_out)


def _outputs(geometry: Geometry, at: int, first_out: int, outputs: int) -> Segment:
    """`outputs` and all elements that reach them."""
    axis = geometry.axes[at]
    low, s = axis.low + first_out, axis.stride
    first = -(-(low - axis.extent + 1) // s)
    inputs = (outputs - 1 + low) // s - first + 1
    crop = low - s * first
    high = (inputs - 1) * s + axis.extent - crop - outputs
    return Segment(_crop(geometry, at, crop, high), first, inputs, first_out, outputs)


def _elements(geometry: Geometry, at: int, first_in: int, inputs: int) -> Segment:
    """`inputs` and all outputs, cropped ones too, that they reach."""
    axis = geometry.axes[at]
    outputs = (inputs - 1) * axis.stride + axis.extent
    first_out = first_in * axis.stride - axis.low
    return Segment(_crop(geometry, at, 0, 0), first_in, inputs, first_out, outputs)


def _crop(geometry: Geometry, at: int, low: int, high: int) -> Geometry:
    crop = (*geometry.crop[:at], (low, high), *geometry.crop[at + 1 :])
    return replace(geometry, crop=crop)


def parts_of(
    problem: Problem, pieces: Pieces, which: Map
) -> Iterator[tuple[int, Problem]]:
    """How often which problem is solved."""
    image = replace(problem, batch=problem.batch // pieces.batch)
    if not pieces.blocks:
        yield pieces.batch, image
        return
    at, n = pieces.axis, problem.size[pieces.axis]
    rows = cut_rows(problem.geometry, n, pieces.blocks, which, at)
    for count, run in zip((rows.count, 1), rows.runs, strict=False):
        size = (*problem.size[:at], run.inputs, *problem.size[at + 1 :])
        yield pieces.batch * count, replace(image, geometry=run.geometry, size=size)


def total_work(
    problem: Problem, pieces: Pieces, which: Map, work_of: Callable[[Problem], Work]
) -> Work:
    """The work of all pieces, which are cut out of their arrays and put into them."""
    total = Work()
    count = 0
    for times, part in parts_of(problem, pieces, which):
        total = total.and_then(work_of(part), times)
        count += times
    if pieces != WHOLE:
        total = replace(total, cut=_cut(problem, pieces, which, count))
    padded = problem.outputs if which == Map.INPUT else problem.inputs
    padded = padded if pieces.blocks else 0
    image = problem.outputs // pieces.batch if pieces.blocks else 0
    return replace(
        total,
        temporary=total.temporary + padded,
        peak=total.peak + padded + image,  # the loop's own copy of an image
    )


def _cut(problem: Problem, pieces: Pieces, which: Map, count: int) -> int:
    """Elements of `count` pieces that are cut out, put in, or added to a weight.

    Whole images are contiguous: reading them takes a quarter of the time.
    """
    arrays = {Map.INPUT: problem.inputs, Map.OUTPUT: problem.outputs}
    made = arrays.pop(which, problem.weights * count)
    read = sum(arrays.values())
    return made + (read if pieces.blocks else read // 4)


def ways_to_cut(problem: Problem) -> Iterator[Pieces]:
    """All that pieces may be, from the whole to the smallest.

    The batch is cut before space, and space along the axis with most blocks, whose
    pieces have the smallest halo.
    """
    if not problem.static_batch:
        yield WHOLE
        return
    found = WHOLE
    for count in _divisors(problem.batch):
        found = Pieces(batch=count)
        yield found
    axes = list(zip(problem.geometry.axes, problem.size, strict=True))
    blocks = {
        at: axis.output_size(n) // axis.stride
        for at, (axis, n) in enumerate(axes)
        if not _outgrows_indices(axis, n)
    }
    if not blocks:
        return
    at = max(blocks, key=lambda at: blocks[at])
    left = blocks[at]
    while (left := left // 2) > 0:
        yield replace(found, blocks=left, axis=at)


def at_most(problem: Problem, images: int, blocks: int, axis: int) -> Pieces:
    """Pieces of at most so many images and blocks of an axis; 0: all of them."""
    found = WHOLE
    if images and problem.static_batch:
        pieces = (i for i in _divisors(problem.batch) if problem.batch // i <= images)
        found = Pieces(batch=next(pieces, 1))
    if not blocks:
        return found
    at, n = problem.geometry.axes[axis], problem.size[axis]
    most = at.output_size(n) // at.stride // 2
    cut = blocks <= most and problem.static and not _outgrows_indices(at, n)
    return replace(found, blocks=blocks, axis=axis) if cut else found


def has_small_halo(problem: Problem, pieces: Pieces) -> bool:
    """Whether at most a quarter of a piece's elements is read by a neighbour too."""
    if not pieces.blocks:
        return True
    axis = problem.geometry.axes[pieces.axis]
    return pieces.blocks >= 3 * -(-(axis.extent - axis.stride) // axis.stride)


def small_pieces(
    problem: Problem, which: Map, work_of: Callable[[Problem], Work], most: int
) -> Pieces:
    """The largest pieces whose temporaries are at most so many elements.

    Those of prepared kernels are not counted: every piece has the same. Where no piece
    is small enough, the smallest with a small halo.
    """
    found = WHOLE
    for pieces in ways_to_cut(problem):
        if not has_small_halo(problem, pieces):
            break
        found = pieces
        works = [work_of(part) for _, part in parts_of(problem, pieces, which)]
        if max(work.temporary - work.prepared for work in works) <= most:
            break
    return found


def _divisors(n: int) -> list[int]:
    """The divisors of `n`, increasing, as far as so many pieces are of use."""
    low = [i for i in range(1, min(math.isqrt(n), _MOST_PIECES) + 1) if n % i == 0]
    return sorted(i for i in {*low, *(n // i for i in low)} if i <= _MOST_PIECES)


def _outgrows_indices(axis: Axis, n: int) -> bool:
    """Whether a place on an axis, zeros around it counted, may need 64 bits.

    Pieces are cut at places that a loop calculates in JAX's 32 bits, where a larger one
    would wrap around.
    """
    around = 2 * (axis.extent + axis.stride)
    return max(n, axis.output_size(n)) + around > LAST_INDEX


LAST_INDEX = 2**31 - 1
"""The last place of an axis that a loop may calculate, in JAX's 32 bits."""

_MOST_PIECES = 2**20
