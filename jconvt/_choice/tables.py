"""Which lowering a GPU or TPU is given, and a CPU where sizes are symbolic: tables.

For GPUs they say what cuDNN's convolutions are matched by, seen in programs compiled
for an H100. For a TPU they follow the compiler's estimates for a v5e: it multiplies few
of a dilation's zeros up to strides of 3, with groups too, but works on eight images at
once; and a GEMM's products have to be laid out anew (`python -m benchmarks.aot` prints
both).

Where a program is for several TPUs, which of its axes are sharded is not known. Those
are given what GPUs are, for which XLA's partitioner moves no activation of a sharded
batch, in grouped layers neither, as it does for a convolution of many groups.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.phases import is_compact
from jconvt._lowerings.space_to_batch import SUBLANES
from jconvt._lowerings.space_to_batch import Strips as Shares
from jconvt._lowerings.space_to_batch import strips_of as shares_of
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import Variant

LANES = 128
"""Elements of 32 bits side by side in a TPU's register, in each of its sublanes."""


class Preference(NamedTuple):
    """A lowering, for layers where it is preferred if it can serve.

    Without a variant it is the one that would cost a CPU least.
    """

    lowering: str
    where: Callable[[Problem], bool]
    variant: Variant | None = None


def preferred(which: Map, platform: str, problem: Problem, local: bool) -> Preference:
    """The first preference that serves; at last `lhs_dilation`, which always does.

    `local` says that one device holds the arrays whole.
    """
    for found in _TABLES[_table_of(platform, problem.geometry, local)][which]:
        if (
            found.where(problem)
            and LOWERINGS[found.lowering].refuses(problem.geometry, problem.static)
            is None
        ):
            return found
    return _CANONICAL


def reason_of(platform: str, geometry: Geometry) -> str:
    """Why the preferences are what they are."""
    return _REASONS[_table_of(platform, geometry, local=True)]


def _table_of(platform: str, geometry: Geometry, local: bool) -> str:
    if platform == "cpu" or (platform == "tpu" and local):
        return platform
    return "plain" if geometry.is_plain else "groups or dilation"


def _always(problem: Problem) -> bool:
    del problem
    return True


def _has_one_channel(problem: Problem) -> bool:
    """Channels stand in 128 lanes; the products of all taps fill more of them.

    If there are enough: positions stand in the lanes then.
    """
    rows = problem.size[-1:] >= (2 * SUBLANES,)
    return problem.out_channels == 1 and rows and math.prod(problem.size) >= LANES


def _has_one_plane(problem: Problem) -> bool:
    """One channel of more than a signal: its products too are few with channels last.

    An array of one channel is channels first and last at once, so that matrices with
    features first are made of either. Blocks of a signal stand in a row as they are.
    """
    return problem.geometry.rank > 1 and _has_one_channel(problem)


def _has_few_images(problem: Problem) -> bool:
    """Few enough for shares of them, where XLA makes none itself.

    It does so where no input is dilated, and of signals up to a stride of 3. Of several
    images, up to such strides, shares pay in groups, or two of them where nothing is
    read twice; and as many blocks as there are must be cut evenly, for shares that are
    filled up are moved once more.
    """
    geometry = problem.geometry
    shares = shares_of(geometry, problem.size, problem.batch)
    least = 2 if geometry.rank > 1 else 4
    if shares is None or all(s < least for s in geometry.stride):
        return False
    if geometry.groups > 1 or any(s > 3 for s in geometry.stride):
        return True
    halo = shares.window > shares.blocks
    return _is_even(shares, problem) and problem.batch <= (1 if halo else 2)


def _gathers_shares(problem: Problem) -> bool:
    """An input gradient dilates no input: XLA makes shares itself, but worse ones.

    In groups it is so of one image, or where the kernel is dilated. Not where strides
    are far, a channel is alone, shares are not even or read most elements twice, whose
    gradients are then added up.
    """
    geometry = problem.geometry
    shares = shares_of(geometry, problem.size, problem.batch)
    if shares is None or geometry.rank == 1 or problem.out_channels == 1:
        return False
    near = 1 < math.prod(geometry.stride) < 64
    dilated = any(d > 1 for d in geometry.dilation)
    worse = geometry.groups == 1 or problem.batch == 1 or dilated
    halo = shares.window - shares.blocks
    return near and worse and halo < shares.blocks and _is_even(shares, problem)


def _is_even(shares: Shares, problem: Problem) -> bool:
    """Whether the blocks of the first axis, a stride each, make shares of one size."""
    axis = problem.geometry.axes[0]
    blocks = -(-axis.output_size(problem.size[0]) // axis.stride)
    return shares.number * shares.blocks == blocks


def _is_matrix(problem: Problem) -> bool:
    """Where the products, which are laid out anew, are no more than the operands."""
    return problem.in_channels >= problem.out_channels and not _is_ragged(problem)


def _is_ragged(problem: Problem) -> bool:
    """Whether the last axis, whose elements fill the sublanes, leaves some empty."""
    return problem.size[-1:] != () and problem.size[-1] % SUBLANES > 0


def _is_deep(problem: Problem) -> bool:
    """Volumes in 16 bits whose cotangent has its channels in the lanes.

    There a GEMM's products are where they are wanted, and nothing is reversed. Of
    channels and the last axis, XLA lays that along the lanes which leaves fewer empty;
    the other fills sublanes, two elements each.
    """
    geometry = problem.geometry
    if geometry.rank < 3 or geometry.groups > 1 or problem.itemsize != 2:
        return False
    channels = problem.out_channels
    last = geometry.axes[-1].output_size(problem.size[-1])
    return _tiled(channels, last) < _tiled(last, channels)


def _tiled(lanes: int, sublanes: int) -> int:
    """Elements of 16 bits that such an array takes in registers."""
    return _filled(lanes, LANES) * _filled(sublanes, 2 * SUBLANES)


def _filled(n: int, whole: int) -> int:
    return -(-n // whole) * whole


def _turns_less(problem: Problem) -> bool:
    """Where `lhs_dilation`, transposed in the weight, is not the best.

    It convolves the input, which should be the larger array then, and reverses the
    weight gradient, which should be small. Ragged images and channels by themselves
    leave its registers empty.
    """
    geometry = problem.geometry
    overlaps = any(a.extent > a.stride > 1 for a in geometry.axes)
    widens = geometry.groups == 1 and problem.in_channels < problem.out_channels
    depthwise = 1 < geometry.groups == problem.in_channels and geometry.rank > 1
    return (
        (widens and overlaps)
        or depthwise
        or _is_ragged(problem)
        or 2 * problem.weights >= problem.outputs
    )


_CANONICAL = Preference("lhs_dilation", _always)
_MATMUL = Preference("matmul", _always)
_PHASES = Preference("phases", is_compact)

_TABLES: dict[str, dict[Map, tuple[Preference, ...]]] = {
    "plain": {
        Map.OUTPUT: (),
        Map.INPUT: (),
        Map.WEIGHT: (Preference("role_swapped", _always), _PHASES),
    },
    "groups or dilation": dict.fromkeys(Map, (_MATMUL, _PHASES)),
    "tpu": {
        Map.OUTPUT: (
            Preference("overlap_add", _has_one_plane, Variant(first=True)),
            Preference("overlap_add", _has_one_channel),
            Preference("space_to_batch", _has_few_images),
        ),
        Map.INPUT: (
            Preference("matmul", _is_matrix),
            Preference("space_to_batch", _gathers_shares),
        ),
        Map.WEIGHT: (
            Preference("matmul", _is_deep),
            Preference("role_swapped", _turns_less),
        ),
    },
    "cpu": {
        Map.OUTPUT: (_MATMUL, Preference("fused_phases", _always), _PHASES),
        Map.INPUT: (_MATMUL, _PHASES),
        Map.WEIGHT: (_MATMUL, _PHASES),
    },
}
"""Kind of target -> map -> what is preferred, in order."""

_REASONS = {
    "plain": (
        "one group and no dilation: what cuDNN's own convolutions are matched by"
    ),
    "groups or dilation": (
        "groups or dilation: nothing that pads zeros into the input"
    ),
    "tpu": "fewest cycles by the compiler's estimates for layers of this kind",
    "cpu": "symbolic sizes: no GEMM of merged axes",
}
