"""Whether a TPU computes strips of space side by side. Imports no JAX.

A register of a TPU has eight sublanes, which hold the images of a convolution. Of fewer
images some stay empty, and `space_to_batch` fills them with strips of each image.
"""

import math

from jconvt._call.problem import Problem
from jconvt._lowerings.space_to_batch import SUBLANES, Strips, strips_of


def has_few_images(problem: Problem) -> bool:
    """Whether to divide space into strips, because there are few images.

    XLA does this itself where no input is dilated, and on one spatial axis for strides
    up to 3. Elsewhere it pays

    - with a stride above 3, with groups, or for one image;
    - for two images if no element is read twice, and the blocks divide evenly, since
      filled-up strips of several images are copied once more.

    Strips divide the first axis. Without a stride there, and without groups, XLA
    divides it better.
    """
    geometry = problem.geometry
    strips = strips_of(geometry, problem.size, problem.batch)
    least = 2 if geometry.rank > 1 else 4
    if strips is None or all(s < least for s in geometry.stride):
        return False
    if geometry.groups == 1 and geometry.stride[0] == 1:
        return False
    far = any(s > 3 for s in geometry.stride)
    if geometry.groups > 1 or far or problem.batch == 1:
        return True
    halo = strips.window > strips.blocks
    return problem.batch == 2 and not halo and _is_even(strips, problem)


def gathers_strips(problem: Problem) -> bool:
    """Whether to divide space into strips for an input gradient.

    XLA divides it itself here, since no input is dilated, but less well. With groups
    this is so only for one image or a dilated kernel. It does not pay with large
    strides, with one channel, with a few elements, without groups if the blocks do not
    divide evenly, or if most elements are read twice, since their gradients are then
    added up.
    """
    geometry = problem.geometry
    strips = strips_of(geometry, problem.size, problem.batch)
    if strips is None or geometry.rank == 1 or problem.out_channels == 1:
        return False
    if has_narrow_groups(problem):
        return True
    near = 1 < math.prod(geometry.stride) < 64 <= math.prod(problem.size)
    dilated = any(d > 1 for d in geometry.dilation)
    worse = geometry.groups == 1 or problem.batch == 1 or dilated
    halo = strips.window - strips.blocks
    even = geometry.groups > 1 or _is_even(strips, problem)
    return near and worse and halo < strips.blocks and even


def has_narrow_groups(problem: Problem) -> bool:
    """Whether each group has a few output channels and another number of input ones.

    A whole image's convolution is then inflated to the channels of all groups.
    """
    geometry = problem.geometry
    narrow = problem.out_channels < SUBLANES * geometry.groups
    return (
        geometry.groups > 1 and problem.in_channels != problem.out_channels and narrow
    )


def _is_even(strips: Strips, problem: Problem) -> bool:
    """Whether the first axis, in blocks of one stride, divides into equal strips."""
    axis = problem.geometry.axes[0]
    blocks = -(-axis.output_size(problem.size[0]) // axis.stride)
    return strips.number * strips.blocks == blocks
