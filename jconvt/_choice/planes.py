"""The TPU's rules for few output channels over several axes. Imports no JAX.

How a TPU computes, and where the rules come from, stands in `jconvt._choice.tpu`.
"""

import math

from jconvt._call.problem import Problem
from jconvt._choice.signals import NARROW, has_one_channel
from jconvt._lowerings.space_to_batch import SUBLANES

_COLOURS = 4
"""Output channels of a picture, at most."""

LARGE_IMAGE = 64 * 64
"""Positions that fill a TPU's registers several times: from here on it pays to move the
products of a GEMM for few channels."""


def has_large_images(problem: Problem) -> bool:
    """Whether a few output channels have many positions, over several axes.

    The channels would leave most lanes of a convolution empty. With a stride the
    products are moved further, which pays for one image of three or four channels.
    """
    geometry = problem.geometry
    plain = geometry.rank > 1 and geometry.groups == 1
    large = math.prod(problem.size) >= LARGE_IMAGE
    near = max(geometry.stride, default=1) == 1
    most = NARROW if near else _COLOURS if problem.batch == 1 else 0
    return plain and large and problem.out_channels <= most


def is_picture_of_two(problem: Problem) -> bool:
    """Whether one image of 1,024 positions or more has one or two output channels.

    Fewer channels leave more lanes empty than those of `has_large_images`, so the
    products of a GEMM pay for an image of a quarter of the size.
    """
    geometry = problem.geometry
    plain = geometry.rank > 1 and geometry.groups == 1 and problem.batch == 1
    large = 4 * math.prod(problem.size) >= LARGE_IMAGE
    return plain and large and problem.out_channels <= 2


def has_one_plane(problem: Problem) -> bool:
    """Whether there is one output channel and more than one spatial axis.

    An array of one channel is channels first and channels last at once, so matrices
    with features first can be made from it without moving data.
    """
    return problem.geometry.rank > 1 and has_one_channel(problem)


def has_few_planes(problem: Problem) -> bool:
    """Whether a few input channels make one output channel, over several axes.

    Sums of taps then multiply whole images by one number, and images fill lanes and
    sublanes.
    """
    return has_one_plane(problem) and problem.in_channels <= _COLOURS


def sums_over_picture(problem: Problem) -> bool:
    """Whether a weight gradient sums over a picture of two channels, with a stride.

    Neither images nor output channels fill a register of the convolution of a dilated
    input. `fused_phases` makes each residue of the stride a channel.
    """
    return is_picture_of_two(problem) and max(problem.geometry.stride) > 1


def sums_over_few_planes(problem: Problem) -> bool:
    """Whether a weight gradient sums over large planes of fewer than eight images.

    There are a few input channels, one output channel, and a stride. As above, nothing
    fills a register of the convolution; the positions of a GEMM do.
    """
    large = math.prod(problem.size) >= LARGE_IMAGE and problem.batch < SUBLANES
    strided = max(problem.geometry.stride, default=1) > 1
    return has_few_planes(problem) and large and strided
