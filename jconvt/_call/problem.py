"""What a lowering is asked to do, as integers, and what it takes. No jax import."""

import math
from dataclasses import dataclass, fields
from enum import StrEnum

from jconvt._call.geometry import Axis, Geometry


class Slot(StrEnum):
    """One of the three maps of a layer."""

    FORWARD = "forward"
    INPUT_GRADIENT = "input gradient"
    WEIGHT_GRADIENT = "weight gradient"


@dataclass(frozen=True, slots=True)
class Problem:
    """A geometry with its sizes.

    Attributes:
      geometry: trimmed.
      batch: images.
      in_channels: of the input.
      out_channels: of the output.
      size: input elements per axis.
      itemsize: bytes of an element.
      features_first: whether the caller's channels stand before space.
    """

    geometry: Geometry
    batch: int
    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    itemsize: int
    features_first: bool

    @property
    def inputs(self) -> int:
        """Elements of the input."""
        return self.batch * self.in_channels * math.prod(self.size)

    @property
    def outputs(self) -> int:
        """Elements of the output."""
        space = math.prod(self.geometry.output_size(self.size))
        return self.batch * self.out_channels * space

    @property
    def weights(self) -> int:
        """Elements of the weight."""
        taps = math.prod(self.geometry.kernel_size)
        return self.in_channels * self.out_channels // self.geometry.groups * taps

    @property
    def useful(self) -> int:
        """Products of an element and a tap that reach an output: multiply-adds."""
        channels = self.in_channels * self.out_channels // self.geometry.groups
        pairs = zip(self.geometry.axes, self.size, strict=True)
        return self.batch * channels * math.prod(useful_pairs(a, n) for a, n in pairs)

    def moves(self, first: bool) -> dict[str, int]:
        """What is moved for matrices with such an order of features, as in `Work`.

        A channel vector becomes a row, or, with features first, the batch goes inside.
        """
        elements = self.inputs + self.outputs
        if first != self.features_first:
            return {"transposed": elements}
        return {"swapped": elements} if first and self.batch > 1 else {}

    def copied(self, first: bool) -> int:
        """Elements of the input that are moved so."""
        return self.inputs if self.moves(first) else 0


def useful_pairs(axis: Axis, n: int) -> int:
    """Pairs of an element and a tap of one axis whose position is not cropped."""
    out, s = axis.output_size(n), axis.stride
    total = 0
    for tap in range(axis.kernel_size):
        # 0 <= s*i + offset < out for 0 <= i < n
        offset = tap * axis.dilation - axis.low
        first = max(0, -(offset // s))
        last = min(n - 1, (out - 1 - offset) // s)
        total += max(0, last - first + 1)
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a formulation does for one of the three maps.

    Attributes:
      multiply_adds: executed in GEMMs, useful or not.
      convolved: executed in convolutions; zeros of a dilated input are multiplied.
      inflated: those of them over a dilated input, with its zeros.
      scattered: elements of products that XLA:CPU adds up where it knows a convolution
        of a dilated input for a transposed one, and multiplies no zeros.
      summed: products added up element by element, not in GEMMs, with the channels
        filled up to whole vectors.
      lanes: the others with the vectorised axis filled up to whole vectors.
      operands: elements of the GEMMs' operands and results.
      gathered: elements of input patches written, or gradients of them added up.
      joined: elements of products read to make the output, or written from it.
      added: elements of products added up tap by tap.
      reordered: elements of products moved between taps last and channels last.
      strided: of those gathered, joined or added, elements whose neighbours in memory
        are not neighbours.
      regrouped: runs of neighbours moved between groups apart and side by side.
      transposed: elements moved between features first and features last.
      swapped: elements moved where batch and features, both in front, change places.
      prepared: elements of kernels written.
      cut: elements that a loop cuts into pieces, puts together or sums.
      calls: GEMMs and convolutions.
      temporary: elements alive at once beside input, weight and output.
    """

    multiply_adds: int = 0
    convolved: int = 0
    inflated: int = 0
    scattered: int = 0
    summed: int = 0
    lanes: int = 0
    operands: int = 0
    gathered: int = 0
    joined: int = 0
    added: int = 0
    reordered: int = 0
    strided: int = 0
    regrouped: int = 0
    transposed: int = 0
    swapped: int = 0
    prepared: int = 0
    cut: int = 0
    calls: int = 0
    temporary: int = 0

    @property
    def executed(self) -> int:
        """Multiply-adds in all."""
        return self.multiply_adds + self.convolved

    @property
    def moved(self) -> int:
        """Elements read or written, each time that they are."""
        passes = (
            self.gathered,
            self.joined,
            self.added,
            self.reordered,
            self.transposed,
            self.swapped,
            self.prepared,
            self.cut,
        )
        return self.operands + 2 * sum(passes)

    def and_then(self, other: "Work", count: int) -> "Work":
        """This, and after it `other` so many times."""
        totals = {
            field.name: getattr(self, field.name) + count * getattr(other, field.name)
            for field in fields(self)
        }
        alive = max(self.temporary, other.temporary)
        return Work(**totals | {"temporary": alive})


def filled(n: int) -> int:
    """`n` lanes as whole vectors: of 16 floats, in registers of 512 bits."""
    return -(-n // 16) * 16


def lanes_of_product(
    positions: int, inner: int, features: int, first: bool, slot: Slot
) -> int:
    """Multiply-adds of a GEMM and of its transposes, the result as whole vectors.

    The output is positions by `features`, the sum over `inner` ones. Of the input
    gradient they change places; a weight gradient is a small matrix of both, and of
    its two sides both are filled.
    """
    if slot == Slot.WEIGHT_GRADIENT:
        return positions * filled(inner) * filled(features)
    if first:
        return filled(positions) * inner * features
    of_input = slot == Slot.INPUT_GRADIENT
    rest, row = (features, inner) if of_input else (inner, features)
    return positions * rest * filled(row)


def regrouped(problem: Problem, elements: int, *, of_output: bool = False) -> int:
    """Runs of channels of one group, which stand between those of other groups."""
    groups = problem.geometry.groups
    channels = problem.out_channels if of_output else problem.in_channels
    return 0 if groups == 1 else elements // min(channels // groups, 8)


@dataclass(frozen=True, slots=True)
class Variant:
    """The freedom that a lowering leaves; each lowering lists those it has.

    Attributes:
      first: matrices with features first, not last.
      early: blocks begin where the uncropped output has a multiple of the stride, not
        at the first output.
      as_given: the weight enters a GEMM in its own order.
    """

    first: bool = False
    early: bool = False
    as_given: bool = False

    def __str__(self) -> str:
        return ", ".join(
            [
                "features first" if self.first else "features last",
                *(["blocks early"] if self.early else []),
                *(["weight as given"] if self.as_given else []),
            ]
        )


PLAIN = Variant()
