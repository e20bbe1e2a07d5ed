"""Tables of preferred lowerings: for GPUs and TPUs, and on a CPU for symbolic sizes.

For GPUs the tables prefer the forms that XLA maps to cuDNN's own convolutions, as seen
in programs compiled for an H100 (`python -m benchmarks.aot`). The TPU's is in
`jconvt._choice.tpu`.

A program for several TPUs does not know which of its axes are sharded. It uses the
table for GPUs, with whose lowerings XLA's partitioner moves no activation of a sharded
batch. Only for the weight gradient of a depthwise convolution it gathers the batch on
every device, so that is a GEMM there.
"""

from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem
from jconvt._choice.cost import fits
from jconvt._choice.preference import Preference, Table
from jconvt._choice.signals import is_depthwise
from jconvt._choice.tpu import TPU
from jconvt._lowerings.phases import is_compact
from jconvt._lowerings.table import LOWERINGS


def preferred(which: Map, platform: str, problem: Problem, local: bool) -> Preference:
    """The first preference that can serve, or `lhs_dilation`, which always can.

    `local`: whether one device holds the whole arrays.
    """
    for found in _TABLES[_table_of(platform, problem.geometry, local)][which]:
        row = LOWERINGS[found.lowering]
        serves = row.refuses(problem.geometry, problem.static) is None
        if serves and found.where(problem) and _fits(which, problem, found):
            return found
    return _CANONICAL


def _fits(which: Map, problem: Problem, found: Preference) -> bool:
    """Whether a variant that is preferred keeps the promise about memory."""
    if found.variant is None:
        return True
    variant = found.variant(problem)
    work = LOWERINGS[found.lowering].work(problem, variant, which)
    native = LOWERINGS[_CANONICAL.lowering].work(problem, variant, which)
    return fits(problem, work, native)


def reason_of(platform: str, geometry: Geometry) -> str:
    """Why the preferences are what they are."""
    return _REASONS[_table_of(platform, geometry, local=True)]


def _table_of(platform: str, geometry: Geometry, local: bool) -> str:
    if platform == "cpu" or (platform == "tpu" and local):
        return platform
    if geometry.is_plain:
        return "plain"
    return "several tpus" if platform == "tpu" else "groups or dilation"


_CANONICAL = Preference("lhs_dilation")
_MATMUL = Preference("matmul")
_PHASES = Preference("phases", is_compact)

_TABLES: dict[str, Table] = {
    "plain": {
        Map.OUTPUT: (),
        Map.INPUT: (),
        Map.WEIGHT: (Preference("role_swapped"), _PHASES),
    },
    "groups or dilation": dict.fromkeys(Map, (_MATMUL, _PHASES)),
    "several tpus": {
        Map.OUTPUT: (_MATMUL, _PHASES),
        Map.INPUT: (_MATMUL, _PHASES),
        Map.WEIGHT: (
            _MATMUL,
            Preference("overlap_add", is_depthwise),
            _PHASES,
        ),
    },
    "tpu": TPU,
    "cpu": {
        Map.OUTPUT: (_MATMUL, Preference("fused_phases"), _PHASES),
        Map.INPUT: (_MATMUL, _PHASES),
        Map.WEIGHT: (_MATMUL, _PHASES),
    },
}
"""Kind of target -> map -> what is preferred, in order."""

_REASONS = {
    "plain": (
        "one group and no dilation: the form that XLA maps to cuDNN's own convolutions"
    ),
    "groups or dilation": (
        "groups or dilation: a form that inserts no zeros into the input"
    ),
    "tpu": "fewest cycles by the compiler's estimates for layers of this kind",
    "cpu": "symbolic sizes: a lowering that merges no symbolic axes into one",
}
