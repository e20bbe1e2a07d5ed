"""Which lowering a GPU or TPU is given, and a CPU where sizes are symbolic: tables.

For GPUs they say what cuDNN's convolutions are matched by, seen in programs compiled
for an H100. For TPUs they follow the compiler's estimates for a v5e: it multiplies few
of a dilation's zeros up to strides of 3, with groups too, while a GEMM's products have
to be laid out anew (`python -m benchmarks.aot` prints both).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from jconvt._geometry import Geometry
from jconvt._lowerings import LOWERINGS
from jconvt._lowerings._problem import Problem, Slot


class Preference(NamedTuple):
    """A lowering, for layers where it is preferred if it can serve."""

    lowering: str
    where: Callable[[Problem], bool]


def preferred(
    slot: Slot, platform: str, problem: Problem, static: bool, local: bool
) -> str:
    """The first preference that serves; at last `lhs_dilation`, which always does.

    `local` says that one device holds the arrays whole.
    """
    for lowering, where in _TABLES[_table_of(platform, problem.geometry)][slot]:
        if (
            where(problem)
            and (local or lowering not in _LOCAL)
            and LOWERINGS[lowering].refuses(problem.geometry, static) is None
        ):
            return lowering
    return "lhs_dilation"


_LOCAL = {"space_to_batch"}
"""Not where the first spatial axis may be sharded, and its shares would travel."""


def reason_of(platform: str, geometry: Geometry) -> str:
    """Why the preferences are what they are."""
    return _REASONS[_table_of(platform, geometry)]


def is_plain(geometry: Geometry) -> bool:
    """One group and no dilation: what fast convolutions are made for."""
    return geometry.groups == 1 and all(d == 1 for d in geometry.dilation)


def is_compact(geometry: Geometry) -> bool:
    """Whether `phases`, a convolution for each residue, stays in proportion."""
    return math.prod(geometry.stride) <= _MOST_PHASES


_MOST_PHASES = 64
"""More convolutions than this take longer to compile than they save."""


def _table_of(platform: str, geometry: Geometry) -> str:
    if platform in ("cpu", "tpu"):
        return platform
    return "gpu, plain" if is_plain(geometry) else "gpu, groups or dilation"


def _always(problem: Problem) -> bool:
    del problem
    return True


def _is_compact(problem: Problem) -> bool:
    return is_compact(problem.geometry)


def _narrows(problem: Problem) -> bool:
    return problem.in_channels >= problem.out_channels


def _strides_far(problem: Problem) -> bool:
    return is_compact(problem.geometry) and math.prod(problem.geometry.stride) >= 16


def _widens_and_overlaps(problem: Problem) -> bool:
    """Where the cotangent is the larger operand, it is the one to be convolved.

    Not with groups, whose merged axes JAX refuses under explicit sharding.
    """
    overlaps = any(a.extent > a.stride > 1 for a in problem.geometry.axes)
    return overlaps and problem.geometry.groups == 1 and not _narrows(problem)


_MATMUL = Preference("matmul", _always)
_PHASES = Preference("phases", _is_compact)

_TABLES: dict[str, dict[Slot, tuple[Preference, ...]]] = {
    "gpu, plain": {
        Slot.FORWARD: (),
        Slot.INPUT_GRADIENT: (),
        Slot.WEIGHT_GRADIENT: (Preference("role_swapped", _always), _PHASES),
    },
    "gpu, groups or dilation": dict.fromkeys(Slot, (_MATMUL, _PHASES)),
    "tpu": {
        Slot.FORWARD: (
            Preference("matmul", _narrows),
            Preference("fused_phases", _strides_far),
            Preference("phases", _strides_far),
        ),
        Slot.INPUT_GRADIENT: (_MATMUL,),
        Slot.WEIGHT_GRADIENT: (Preference("role_swapped", _widens_and_overlaps),),
    },
    "cpu": {
        Slot.FORWARD: (_MATMUL, Preference("fused_phases", _always), _PHASES),
        Slot.INPUT_GRADIENT: (_MATMUL, _PHASES),
        Slot.WEIGHT_GRADIENT: (_MATMUL, _PHASES),
    },
}
"""Kind of target -> slot -> what is preferred, in order."""

_REASONS = {
    "gpu, plain": (
        "one group and no dilation: what cuDNN's own convolutions are matched by"
    ),
    "gpu, groups or dilation": (
        "groups or dilation: nothing that pads zeros into the input"
    ),
    "tpu": "fewest cycles by the compiler's estimates for layers of this kind",
    "cpu": "symbolic sizes: no GEMM of merged axes",
}
