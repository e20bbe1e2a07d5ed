"""`Work`: the counts of operations and memory traffic of one map. No jax import.

The choice on a CPU multiplies each count by a rate to estimate time
(`jconvt._choice.cost`).
"""

import itertools
import math
from dataclasses import dataclass, fields

from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a formulation executes, reads and writes for one of the three maps.

    "Rounded up" means: the axis along which the CPU vectorises, to whole vectors.

    Attributes:
      multiply_adds: multiply-adds outside of convolutions, useful or not.
      convolved: multiply-adds of convolutions, with inserted zeros if there are any.
      inflated: multiply-adds of convolutions whose input has inserted zeros.
      packed: elements that a convolution itself copies into patches.
      scattered: products added to outputs where XLA:CPU computes a convolution of a
        dilated input as a GEMM and additions, without the zeros.
      summed: multiply-adds that are element-wise, without a GEMM; rounded up.
      lanes: multiply-adds of GEMMs or convolutions; rounded up. Time is estimated by
        these, not by `multiply_adds` and `convolved`.
      operands: elements of the operands and results of GEMMs.
      gathered: elements written into patches, or gradients of patches added.
      joined: elements read from products, or written, when the output is assembled.
      added: elements of products added, once for each tap.
      reordered: elements of products moved from (O, taps) into (taps, O), and
        results of convolutions moved to where the output has them.
      strided: elements gathered, joined or added that are not contiguous in memory.
      regrouped: contiguous stretches, of at most 8 channels (a vector register), moved
        between one matrix per group and channels of all groups side by side.
      transposed: elements moved between features first and features last.
      swapped: elements moved to exchange batch and channels, with features first.
      prepared: elements of kernels written.
      cut: elements that a loop over pieces slices, concatenates or adds; where it
        slices whole images, a quarter of them.
      calls: GEMMs and convolutions, by number.
      temporary: elements usually in memory at the same time beside input, weight and
        output; their time is estimated by these.
      peak: the most that these were seen to be, by which the promise about memory is
        kept; at least `temporary`.
    """

    multiply_adds: int = 0
    convolved: int = 0
    inflated: int = 0
    packed: int = 0
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
    peak: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "peak", max(self.peak, self.temporary))

    @property
    def executed(self) -> int:
        """All multiply-adds."""
        return self.multiply_adds + self.convolved

    @property
    def moved(self) -> int:
        """Elements read or written, counted each time."""
        return self.operands + 2 * sum(getattr(self, name) for name in PASSES)

    def and_then(self, other: "Work", count: int) -> "Work":
        """This work and `count` times the `other`, one after the other."""
        totals = {
            field.name: getattr(self, field.name) + count * getattr(other, field.name)
            for field in fields(self)
        }
        alive = {n: max(getattr(self, n), getattr(other, n)) for n in ALIVE}
        return Work(**totals | alive)


PASSES = (
    "gathered", "joined", "added", "reordered",
    "transposed", "swapped", "prepared", "cut",
)  # fmt: skip
"""Counts whose elements are each read once and written once."""


ALIVE = ("temporary", "peak")
"""Counts of what is alive at once, which one piece after another does not add to."""


def moves(problem: Problem, first: bool) -> dict[str, int]:
    """The counts of bringing input and output from and to the caller's layout.

    With features first (`first`) the GEMM wants the batch after the channels.
    """
    out = problem.geometry.output_size(problem.size)
    moved = copied(problem, first)
    if _is_moved(problem, problem.out_channels, math.prod(out), first):
        moved += problem.outputs
    name = "swapped" if first == problem.features_first else "transposed"
    return {name: moved}


def copied(problem: Problem, first: bool) -> int:
    """Elements of the input that are copied into the layout of the GEMM."""
    positions = math.prod(problem.size)
    moved = _is_moved(problem, problem.in_channels, positions, first)
    return problem.inputs if moved else 0


def _is_moved(problem: Problem, channels: int, positions: int, first: bool) -> bool:
    """Whether an array is copied to move its channels.

    Their axis changes places with those of the images (features first), of the
    positions (between the two layouts), or both. If all of these have one element, or
    there is one channel, the elements stay in order.
    """
    images = problem.batch if first else 1
    space = positions if first != problem.features_first else 1
    return channels > 1 and images * space > 1


def has_fast_convolutions(which: Map, problem: Problem) -> bool:
    """Whether XLA:CPU sends convolutions without zeros in their input to Eigen.

    It does so with those of float32 (and of 16-bit floats, widened) over one to three
    axes, with dilated kernels and groups over one or two. Others run in simple
    loops, some thirty times slower. So do a weight gradient, whose kernel is the
    cotangent, and a kernel with more taps than its input has elements.
    Timed with jaxlib 0.8 to 0.12.
    """
    geometry, size = problem.geometry, problem.size
    if which == Map.WEIGHT or _is_exchanged(which, geometry, size):
        return False
    narrow = "float" in problem.dtype.name and problem.itemsize <= 4
    return narrow and geometry.rank <= (3 if geometry.is_plain else 2)


def filled(n: int) -> int:
    """`n` rounded up to whole vectors of 16 floats, which is 512 bits."""
    return -(-n // 16) * 16


def _is_exchanged(which: Map, geometry: Geometry, size: tuple[int, ...]) -> bool:
    """Whether a kernel without groups has more taps than its input has elements.

    Then XLA takes the input for the kernel and the kernel for the input
    (SwapConvolutionOperandsIfBeneficial in its conv_operand_swapper.cc). An output is
    taken to be made phase by phase.
    """
    if which == Map.INPUT:
        read, taps = geometry.output_size(size), geometry.kernel_size
    else:
        read, taps = size, tuple(-(-a.kernel_size // a.stride) for a in geometry.axes)
    return geometry.groups == 1 and math.prod(taps) > math.prod(read)


def lanes_of_product(
    positions: int, inner: int, features: int, first: bool, which: Map
) -> int:
    """Multiply-adds of one GEMM for a map, rounded up to whole vectors of its result.

    For the output the result is (positions, `features`) and the contraction runs over
    `inner`; for the input gradient these two are exchanged. The weight gradient is the
    small matrix (`inner`, `features`), and both of its sides are rounded up.
    """
    if which == Map.WEIGHT:
        return positions * filled(inner) * filled(features)
    if first:
        return filled(positions) * inner * features
    of_input = which == Map.INPUT
    rest, row = (features, inner) if of_input else (inner, features)
    return positions * rest * filled(row)


def regrouped(problem: Problem, elements: int, *, of_output: bool = False) -> int:
    """How many contiguous stretches `elements` are: channels of a group, 8 at most."""
    groups = problem.geometry.groups
    channels = problem.out_channels if of_output else problem.in_channels
    return 0 if groups == 1 else elements // min(channels // groups, 8)


@dataclass(frozen=True, slots=True)
class Variant:
    """A detail that a lowering leaves open; each lowering lists the ones it knows.

    Attributes:
      first: the matrices have features first, not last.
      early: blocks begin at multiples of the stride in the full output, not at the
        first output that is kept.
      as_given: the weight enters the GEMM without a transpose.
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

VARIANTS = {
    str(variant): variant
    for flags in itertools.product((False, True), repeat=len(fields(Variant)))
    for variant in [Variant(*flags)]
}
"""What `explain` calls a variant -> the variant."""
