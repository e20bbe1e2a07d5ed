"""`Lowering`, one row of the table: the functions and facts of a formulation."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from jconvt._call.call import Call
from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.work import PLAIN, Variant, Work

Lower = Callable[[jax.Array, jax.Array, Call, Variant, Map], jax.Array]
"""(input, weight, call, variant, which) -> output.

It must be bilinear in input and weight, which have one dtype; the output has the dtype
``call.numerics.result``. No size is zero, and the output size is positive. A gradient
is the transpose of this function in the input or in the weight; `which` says which of
the three maps is wanted, and the code can be one that transposes well.
"""

NotOnCpu = Callable[[Map, Problem], str | None]


def _only_one(problem: Problem) -> tuple[Variant, ...]:
    del problem
    return (PLAIN,)


@dataclass(frozen=True, slots=True)
class Lowering:
    """One way to compute a transposed convolution.

    Attributes:
      name: what ``lowering=`` takes.
      summary: one line, for `explain` and the shell.
      lower: the JAX code.
      unsupported: why it cannot compute a geometry, or None if it can.
      work: the counts of operations and memory traffic of one map.
      not_on_cpu: why the automatic choice on a CPU leaves it out for a map, or None if
        the estimated time decides.
      variants: the variants that the choice may ask for.
      own_layout: whether it brings arrays into a layout of its own. If not, it gets
        channels-last arrays on a CPU, where XLA's convolutions are fastest.
      static_space: whether it needs spatial sizes that are ints, not symbolic.
    """

    name: str
    summary: str
    lower: Lower
    unsupported: Callable[[Geometry], str | None]
    work: Callable[[Problem, Variant, Map], Work]
    not_on_cpu: NotOnCpu
    variants: Callable[[Problem], tuple[Variant, ...]] = _only_one
    own_layout: bool = False
    static_space: bool = False

    def refuses(self, geometry: Geometry, static: bool) -> str | None:
        """Why it cannot compute a geometry with static sizes or not, or None."""
        if self.static_space and not static:
            return "it needs spatial sizes that are plain ints, not symbolic"
        return self.unsupported(geometry)

    def variants_for(self, geometry: Geometry) -> tuple[Variant, ...]:
        """The variants for a geometry: they are the same for all its sizes."""
        sizes = Problem(
            geometry=geometry.trim()[0],
            batch=1,
            in_channels=geometry.groups,
            out_channels=geometry.groups,
            size=(1,) * geometry.rank,
            dtype=np.dtype(np.float32),
            features_first=True,
        )
        return self.variants(sizes)


def serves_all(geometry: Geometry) -> None:
    """`Lowering.unsupported` of a lowering that computes every geometry."""
    del geometry


def takes_all(which: Map, problem: Problem) -> None:
    """`Lowering.not_on_cpu` of a lowering that a CPU may always choose."""
    del which, problem


def never(reason: str) -> NotOnCpu:
    """`Lowering.not_on_cpu` of a lowering that a CPU never chooses."""
    return lambda which, problem: reason
