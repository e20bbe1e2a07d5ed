"""The TPU's rules for groups over several axes. Imports no JAX.

How a TPU computes, and where the rules come from, stands in `jconvt._choice.tpu`.
"""

import math

from jconvt._call.problem import Problem
from jconvt._choice.planes import LARGE_IMAGE
from jconvt._choice.signals import LANES, NARROW, has_many_groups, is_depthwise
from jconvt._lowerings.space_to_batch import SUBLANES

_SEVERAL = 4
"""Input channels of a group from which on a GEMM is worth it."""

_FEW_PRODUCTS = 4
"""So many products of a GEMM for each output cost little to add up."""


def scatters_groups(problem: Problem) -> bool:
    """Whether many groups of several channels make images with a stride.

    XLA inflates their convolution to the channels of many groups. A GEMM of each group
    with features first fills the lanes with positions.
    """
    geometry = problem.geometry
    several = problem.in_channels >= _SEVERAL * geometry.groups
    many = has_many_groups(problem) and several
    return many and geometry.rank > 1 and max(geometry.stride) > 1


def is_grouped_at_stride_1(problem: Problem) -> bool:
    """Whether this is an ordinary convolution of images or volumes with groups.

    `fused_phases` is that convolution, with the kernel prepared in another order. Its
    programs were estimated at 0.5 to 1.0 of those of `lhs_dilation`; why, is not known.
    """
    geometry = problem.geometry
    return geometry.rank > 1 and geometry.groups > 1 and max(geometry.stride) == 1


def is_narrow_at_stride_1(problem: Problem) -> bool:
    """Whether `is_grouped_at_stride_1` holds, with groups of few output channels.

    They do not fill the sublanes; strips of one image do.
    """
    narrow = problem.out_channels < SUBLANES * problem.geometry.groups
    return is_grouped_at_stride_1(problem) and narrow


def adds_few_products(problem: Problem) -> bool:
    """Whether each output adds up two or three products of a GEMM, in narrow groups.

    There are a few groups of at most eight output channels over several axes, and fewer
    than eight images. The groups leave most of a convolution's registers empty, and so
    few products cost little.
    """
    geometry = problem.geometry
    few = math.prod(geometry.kernel_size) < _FEW_PRODUCTS * math.prod(geometry.stride)
    grouped = geometry.rank > 1 and geometry.groups > 1 and not is_depthwise(problem)
    narrow = problem.out_channels <= SUBLANES * geometry.groups
    sparse = grouped and narrow and not has_many_groups(problem)
    return sparse and few and problem.batch < SUBLANES


def adds_few_neighbours(problem: Problem) -> bool:
    """Whether a few groups have four taps at most, over several axes at stride 1.

    The GEMM of each map then reads its operand as it is, once for each tap, and adds up
    neighbours. With more than 16 output channels a group is wide enough for a
    convolution.
    """
    geometry = problem.geometry
    few = math.prod(geometry.kernel_size) <= _FEW_PRODUCTS and problem.batch < SUBLANES
    narrow = problem.out_channels <= NARROW * geometry.groups
    sparse = narrow and not has_many_groups(problem) and not is_depthwise(problem)
    return is_grouped_at_stride_1(problem) and few and sparse


def adds_large_planes(problem: Problem) -> bool:
    """Whether each group makes one channel of one or two, in large images at stride 1.

    Sums of taps multiply each image by one number, and positions fill the registers.
    """
    groups, large = problem.geometry.groups, math.prod(problem.size) >= LARGE_IMAGE
    few = problem.out_channels == groups and problem.in_channels <= 2 * groups
    few_images = problem.batch < SUBLANES
    return is_grouped_at_stride_1(problem) and few and large and few_images


def gathers_many_narrow_groups(problem: Problem) -> bool:
    """Whether `is_narrow_at_stride_1` holds for many groups.

    XLA inflates the convolution of an input gradient to the channels of several
    groups.
    """
    return is_narrow_at_stride_1(problem) and has_many_groups(problem)


def multiplies_channels(problem: Problem) -> bool:
    """Whether each input channel makes several output channels of its own.

    XLA inflates the convolution for its input gradient to all channels.
    """
    geometry = problem.geometry
    return 1 < geometry.groups == problem.in_channels < problem.out_channels


def multiplies_many_channels(problem: Problem) -> bool:
    """Whether `multiplies_channels` holds for channels and images that fill registers.

    There are several axes, channels for half of the lanes or more, and images for all
    sublanes.
    """
    full = 2 * problem.in_channels >= LANES and problem.batch >= SUBLANES
    return problem.geometry.rank > 1 and full and multiplies_channels(problem)


def sums_over_multiplied_channels(problem: Problem) -> bool:
    """Whether `phases` is best for the weight gradient of `multiplies_channels`.

    The compiler's estimates alone decide: on all five layers with features first, or
    with images and channels that fill registers, its convolutions of single residues
    were the best form or level with it. On the others they took too long to compile.
    """
    first = multiplies_channels(problem) and problem.features_first
    return first or multiplies_many_channels(problem)
