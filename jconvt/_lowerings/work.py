"""`Work`: what a lowering does for one map, as counts. No jax import.

A CPU's choice adds these counts up, each with a rate (`jconvt._choice.cost`).
"""

from dataclasses import dataclass, fields

from jconvt._call.problem import Map, Problem


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
        return self.operands + 2 * sum(getattr(self, name) for name in PASSES)

    def and_then(self, other: "Work", count: int) -> "Work":
        """This, and after it `other` so many times."""
        totals = {
            field.name: getattr(self, field.name) + count * getattr(other, field.name)
            for field in fields(self)
        }
        alive = max(self.temporary, other.temporary)
        return Work(**totals | {"temporary": alive})


PASSES = (
    "gathered", "joined", "added", "reordered",
    "transposed", "swapped", "prepared", "cut",
)  # fmt: skip
"""Counts of elements that are read once and written once."""


def moves(problem: Problem, first: bool) -> dict[str, int]:
    """What is moved before and after GEMMs with such an order of features, as counts.

    Features last makes a row of each channel vector; features first puts the batch
    behind the channels.
    """
    elements = problem.inputs + problem.outputs
    if first != problem.features_first:
        return {"transposed": elements}
    return {"swapped": elements} if first and problem.batch > 1 else {}


def copied(problem: Problem, first: bool) -> int:
    """Elements of the input that are moved so."""
    return problem.inputs if moves(problem, first) else 0


def has_fast_convolutions(which: Map, problem: Problem) -> bool:
    """Whether XLA:CPU sends convolutions without zeros in their input to Eigen.

    It does so with those of float32 (and of 16-bit floats, widened) over one to three
    axes, dilated kernels on up to two; groups are looped over. Others run in plain
    loops, some thirty times slower, and so does a weight gradient, whose kernel is the
    cotangent. Timed with jaxlib 0.8 to 0.12.
    """
    if which == Map.WEIGHT:
        return False
    geometry = problem.geometry
    narrow = "float" in problem.dtype.name and problem.itemsize <= 4
    dilated = any(d > 1 for d in geometry.dilation)
    return narrow and geometry.rank <= (2 if dilated else 3)


def filled(n: int) -> int:
    """`n` lanes as whole vectors: of 16 floats, in registers of 512 bits."""
    return -(-n // 16) * 16


def lanes_of_product(
    positions: int, inner: int, features: int, first: bool, which: Map
) -> int:
    """Multiply-adds of a GEMM and of its transposes, the result as whole vectors.

    The output is positions by `features`, the sum over `inner` ones. Of the input
    gradient they change places; a weight gradient is a small matrix of both, and of
    its two sides both are filled.
    """
    if which == Map.WEIGHT:
        return positions * filled(inner) * filled(features)
    if first:
        return filled(positions) * inner * features
    of_input = which == Map.INPUT
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
