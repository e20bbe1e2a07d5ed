"""Tables of preferred lowerings: for GPUs and TPUs, and on a CPU for symbolic sizes.

For GPUs the tables prefer the forms that XLA maps to cuDNN's own convolutions, as seen
in programs compiled for an H100. For TPUs they follow the compiler's estimates for a
v5e (`python -m benchmarks.aot` prints both):

- up to strides of 3, with groups too, the TPU skips most zeros of a dilated input;
- it works on eight images at once;
- the products of a GEMM have to be moved to another layout.

A program for several TPUs does not know which of its axes are sharded. It uses the
table for GPUs: with these lowerings XLA's partitioner moves no activation of a sharded
batch, while it does so for a convolution with many groups.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.phases import is_compact
from jconvt._lowerings.space_to_batch import SUBLANES, Strips, strips_of
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import Variant

LANES = 128
"""Elements of 32 bits side by side in a TPU's register, in each of its sublanes."""


class Preference(NamedTuple):
    """A lowering, and the layers for which it is preferred if it can serve.

    Without a variant, the one that costs least on a CPU is used.
    """

    lowering: str
    where: Callable[[Problem], bool]
    variant: Variant | None = None


def preferred(which: Map, platform: str, problem: Problem, local: bool) -> Preference:
    """The first preference that can serve, or `lhs_dilation`, which always can.

    `local`: whether one device holds the whole arrays.
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
    """Whether there is one output channel, and enough positions to fill the lanes.

    Channels are laid along 128 lanes, of which one channel fills one. The products of
    all taps fill more of them.
    """
    rows = problem.size[-1:] >= (2 * SUBLANES,)
    return problem.out_channels == 1 and rows and math.prod(problem.size) >= LANES


def _has_one_plane(problem: Problem) -> bool:
    """Whether there is one output channel and more than one spatial axis.

    An array of one channel is channels first and channels last at once, so matrices
    with features first can be made from it without moving data. On one spatial axis
    the blocks are in a row already.
    """
    return problem.geometry.rank > 1 and _has_one_channel(problem)


def _has_few_images(problem: Problem) -> bool:
    """Whether to divide space into strips, because there are few images.

    XLA does this itself where no input is dilated, and on one spatial axis for strides
    up to 3. For a batch of several images it pays

    - with a stride above 3, or with groups;
    - with smaller strides for one image, or two if no element is read twice, and only
      if the blocks divide evenly, since filled-up strips are copied once more.
    """
    geometry = problem.geometry
    strips = strips_of(geometry, problem.size, problem.batch)
    least = 2 if geometry.rank > 1 else 4
    if strips is None or all(s < least for s in geometry.stride):
        return False
    if geometry.groups > 1 or any(s > 3 for s in geometry.stride):
        return True
    halo = strips.window > strips.blocks
    return _is_even(strips, problem) and problem.batch <= (1 if halo else 2)


def _gathers_strips(problem: Problem) -> bool:
    """Whether to divide space into strips for an input gradient.

    XLA divides it itself here, since no input is dilated, but less well. With groups
    this is so only for one image or a dilated kernel. It does not pay with large
    strides, with one channel, if the blocks do not divide evenly, or if most elements
    are read twice, since their gradients are then added up.
    """
    geometry = problem.geometry
    strips = strips_of(geometry, problem.size, problem.batch)
    if strips is None or geometry.rank == 1 or problem.out_channels == 1:
        return False
    near = 1 < math.prod(geometry.stride) < 64
    dilated = any(d > 1 for d in geometry.dilation)
    worse = geometry.groups == 1 or problem.batch == 1 or dilated
    halo = strips.window - strips.blocks
    return near and worse and halo < strips.blocks and _is_even(strips, problem)


def _is_even(strips: Strips, problem: Problem) -> bool:
    """Whether the first axis, in blocks of one stride, divides into equal strips."""
    axis = problem.geometry.axes[0]
    blocks = -(-axis.output_size(problem.size[0]) // axis.stride)
    return strips.number * strips.blocks == blocks


def _is_matrix(problem: Problem) -> bool:
    """Whether the products, which have to be moved, are no more than the operands."""
    return problem.in_channels >= problem.out_channels and not _is_ragged(problem)


def _is_ragged(problem: Problem) -> bool:
    """Whether the last axis, which is laid along the sublanes, leaves some empty."""
    return problem.size[-1:] != () and problem.size[-1] % SUBLANES > 0


def _is_deep(problem: Problem) -> bool:
    """Whether this is a 16-bit volume whose cotangent has its channels in the lanes.

    Then a GEMM's products need not be moved, and nothing is reversed. XLA lays channels
    or the last axis along the lanes, whichever leaves fewer empty; the other is laid
    along the sublanes, two elements in each.
    """
    geometry = problem.geometry
    if geometry.rank < 3 or geometry.groups > 1 or problem.itemsize != 2:
        return False
    channels = problem.out_channels
    last = geometry.axes[-1].output_size(problem.size[-1])
    return _tiled(channels, last) < _tiled(last, channels)


def _tiled(lanes: int, sublanes: int) -> int:
    """16-bit elements, with padding, of registers for such an array."""
    return _filled(lanes, LANES) * _filled(sublanes, 2 * SUBLANES)


def _filled(n: int, whole: int) -> int:
    return -(-n // whole) * whole


def _reverses_less(problem: Problem) -> bool:
    """Whether `role_swapped` is better than `lhs_dilation` for a weight gradient.

    `lhs_dilation`, transposed in the weight, is good if the input is larger than the
    output and the weight gradient, which it reverses, is small. Last axes that do not
    fill the sublanes, and depthwise layers, leave its registers partly empty.
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
            Preference("space_to_batch", _gathers_strips),
        ),
        Map.WEIGHT: (
            Preference("matmul", _is_deep),
            Preference("role_swapped", _reverses_less),
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
        "one group and no dilation: the form that XLA maps to cuDNN's own convolutions"
    ),
    "groups or dilation": (
        "groups or dilation: a form that inserts no zeros into the input"
    ),
    "tpu": "fewest cycles by the compiler's estimates for layers of this kind",
    "cpu": "symbolic sizes: a lowering that merges no symbolic axes into one",
}
