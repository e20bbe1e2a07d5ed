"""The TPU's rules for layers with one spatial axis ("rows"). Imports no JAX.

How a TPU computes, and where the rules come from, stands in `jconvt._choice.tpu`.
"""

import math

from jconvt._call.problem import Problem
from jconvt._lowerings.space_to_batch import SUBLANES

LANES = 128
"""Elements of 32 bits side by side in a TPU's register, in each of its sublanes."""

LARGE_STRIDE = 8
"""Up to here the zeros of a dilated input cost little."""

NARROW = 16
"""Output channels up to here leave most of the lanes of a convolution empty, and most
of the rows of a weight gradient's convolution if its roles are exchanged."""

_MOST_GROUPS = 16
"""Up to here the GEMMs of the groups are better than a convolution with groups."""

_OVERLAPS = 8
"""The most products of a GEMM for each output: they are in memory all at once."""

_FEW_SIGNALS = 4
"""Input channels up to which a sum of taps is better than a GEMM."""

_LONG_ROW = 4 * SUBLANES * LANES
"""Elements of a signal from which on each strip fills several registers."""

_MANY_FRAMES = 32
"""Frames of a signal from which on a convolution fills its registers with them."""

_FRAMES = 32
"""Strides above this are taken for the hop of an inverse Fourier transform: each input
element is a frame, and the frames overlap a few times."""


def has_one_channel(problem: Problem) -> bool:
    """Whether there is one output channel, and enough positions to fill the lanes.

    Channels are laid along 128 lanes, of which one channel fills one. The products of
    all taps fill more of them.
    """
    rows = problem.size[-1:] >= (2 * SUBLANES,)
    return problem.out_channels == 1 and rows and math.prod(problem.size) >= LANES


def scatters_row(problem: Problem) -> bool:
    """Whether one GEMM and additions compute the output of a layer with one axis.

    A convolution is as good at small strides for eight signals. With channels first it
    is so for five already, because the GEMM has to bring their channels together. At
    stride 1 with groups, the GEMM has to move channels that do not fill the sublanes.
    At small strides above 1, with a few output channels that are last, its products
    have to be moved (`_has_scattered_channels`).
    """
    if not is_sparse_row(problem) or has_many_groups(problem):
        return False
    (stride,) = problem.geometry.stride
    most = SUBLANES // 2 if problem.features_first else SUBLANES - 1
    few = problem.batch <= most or stride > LARGE_STRIDE or has_one_channel(problem)
    ragged = stride == 1 and _has_ragged_groups(problem)
    scattered = 1 < stride <= LARGE_STRIDE and _has_scattered_channels(problem)
    return (few and not ragged and not scattered) or gathers_row_in_groups(problem)


def _has_scattered_channels(problem: Problem) -> bool:
    """Whether there are 3 to 16 output channels, and channels are last.

    The products of a GEMM lie side by side along the lanes, those of all residues of a
    stride. The channels of each residue are then moved to a row of their own, most of
    whose lanes are empty.
    """
    return not problem.features_first and 2 < problem.out_channels <= NARROW


def has_many_groups(problem: Problem) -> bool:
    """Whether there are many groups of several channels.

    A grouped GEMM is then many small ones, each of which leaves lanes empty.
    """
    groups = problem.geometry.groups
    return groups > _MOST_GROUPS and not is_depthwise(problem)


def _has_ragged_groups(problem: Problem) -> bool:
    groups = problem.geometry.groups
    return groups > 1 and problem.out_channels // groups % SUBLANES > 0


def has_frames(problem: Problem) -> bool:
    """Whether this is an inverse Fourier transform of frames, or as sparse as one."""
    geometry = problem.geometry
    return is_sparse_row(problem) and geometry.stride[0] > _FRAMES


def is_sparse_row(problem: Problem) -> bool:
    """Whether there is one spatial axis, and few products of a GEMM for each output."""
    geometry = problem.geometry
    return (
        geometry.rank == 1 and geometry.kernel_size[0] <= _OVERLAPS * geometry.stride[0]
    )


def gathers_many_frames(problem: Problem) -> bool:
    """Whether there are many frames of eight signals or more, which fill the sublanes.

    Then a convolution that makes all outputs of a hop at once is as good as a GEMM, and
    adds nothing up.
    """
    many = problem.batch >= SUBLANES and problem.size >= (_MANY_FRAMES,)
    return many and has_frames(problem) and problem.geometry.stride[0] <= 2 * LANES


def convolves_frames(problem: Problem) -> bool:
    """Whether a convolution makes the weight gradient of frames better than a GEMM.

    It does if the hop fits in the lanes, or if the frames overlap an even number of
    times. For an odd number and a larger hop its programs were estimated at 1.2 to 2.2
    times the cycles of a GEMM's; why, is not known.
    """
    if not has_frames(problem):
        return False
    (kernel,), (stride,) = problem.geometry.kernel_size, problem.geometry.stride
    return stride <= LANES or -(-kernel // stride) % 2 == 0


def is_narrow_row(problem: Problem) -> bool:
    """Whether there is one axis at stride 1, and few input and output channels.

    A convolution leaves most lanes empty, and a GEMM lays the signal along them.
    """
    plain = is_sparse_row(problem) and problem.geometry.is_plain
    channels = max(problem.in_channels, problem.out_channels)
    return plain and problem.geometry.stride == (1,) and channels <= NARROW


def is_few_signals(problem: Problem) -> bool:
    """Whether at most four input channels make one output channel, over one long axis.

    Sums of taps then multiply whole signals by one number, and positions fill the
    lanes.
    """
    few = problem.geometry.rank == 1 and problem.in_channels <= _FEW_SIGNALS
    return few and problem.geometry.groups == 1 and has_one_channel(problem)


def adds_few_signals(problem: Problem) -> bool:
    """Whether `is_few_signals` holds at stride 1, so that nothing is interleaved."""
    return is_few_signals(problem) and problem.geometry.stride == (1,)


def is_one_row_in_groups(problem: Problem) -> bool:
    """Whether there is one signal, with groups at stride 1 or many at any stride.

    XLA then divides no space by itself.
    """
    geometry = problem.geometry
    grouped = geometry.rank == 1 and geometry.groups > 1 and problem.batch == 1
    return grouped and (geometry.stride == (1,) or has_many_groups(problem))


def is_row_in_narrow_groups(problem: Problem) -> bool:
    """Whether `is_one_row_in_groups` holds for a long row and few output channels.

    The channels of a group do not fill the sublanes, and the positions of a GEMM fill
    the lanes several times.
    """
    narrow = problem.out_channels < SUBLANES * problem.geometry.groups
    plain = is_one_row_in_groups(problem) and not is_depthwise(problem)
    return plain and narrow and problem.size[0] >= _LONG_ROW


def is_depthwise(problem: Problem) -> bool:
    """Whether each group has one channel: XLA does not inflate such convolutions."""
    return 1 < problem.geometry.groups == problem.in_channels == problem.out_channels


def sums_over_one_row(problem: Problem) -> bool:
    """Whether the weight gradient of one depthwise signal is summed over a long row.

    With a stride XLA divides no space by itself, and strips of the signal fill the
    sublanes.
    """
    geometry = problem.geometry
    row = geometry.rank == 1 and is_depthwise(problem) and problem.batch == 1
    return row and geometry.stride > (1,) and problem.size[0] >= _LONG_ROW


def gathers_row_in_groups(problem: Problem) -> bool:
    """Whether there is one axis, a stride above 1, and groups of several channels."""
    geometry = problem.geometry
    grouped = geometry.groups > 1 and not is_depthwise(problem)
    return grouped and is_sparse_row(problem) and geometry.stride > (1,)


def gathers_few_groups(problem: Problem) -> bool:
    """Whether `gathers_row_in_groups` holds, and the groups are not many."""
    return gathers_row_in_groups(problem) and not has_many_groups(problem)
