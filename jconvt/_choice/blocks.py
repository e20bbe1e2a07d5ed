"""The TPU's rules for one tap, and for kernels that equal the stride. Imports no JAX.

Such layers are GEMMs without additions. How a TPU computes, and where the rules come
from, stands in `jconvt._choice.tpu`.
"""

import math

from jconvt._call.problem import Problem
from jconvt._choice.signals import LARGE_STRIDE, has_many_groups

_FEW_POSITIONS = 32 * 32
"""Positions of all images, at most, for which it pays to bring the elements of a
cotangent together for a GEMM."""


def _has_blocks(problem: Problem) -> bool:
    """Whether the kernel equals the stride, over several axes."""
    geometry = problem.geometry
    return geometry.rank > 1 and geometry.kernel_size == geometry.stride


def has_large_blocks(problem: Problem) -> bool:
    """Whether `_has_blocks` holds, and the stride is large."""
    return _has_blocks(problem) and max(problem.geometry.stride) >= LARGE_STRIDE


def has_few_blocks(problem: Problem) -> bool:
    """Whether `_has_blocks` holds for a few positions of all images.

    A strided convolution leaves registers empty there. Of many positions, it costs more
    to bring the cotangent's elements together for a GEMM.
    """
    positions = problem.batch * math.prod(problem.size)
    return _has_blocks(problem) and positions <= _FEW_POSITIONS


def has_one_tap(problem: Problem) -> bool:
    """Whether each output reads one position of the input: a GEMM, of any rank."""
    return math.prod(problem.geometry.kernel_size) == 1


def is_product(problem: Problem) -> bool:
    """Whether the weight gradient is one GEMM of the arrays as they are."""
    return has_one_tap(problem) and math.prod(problem.geometry.stride) == 1


def has_one_tap_in_groups(problem: Problem) -> bool:
    """Whether a few groups of one tap leave most of an output empty by their stride.

    With many groups XLA inflates the convolution to the channels of several.
    """
    geometry = problem.geometry
    far = geometry.groups > 1 and max(geometry.stride) > 1
    return has_one_tap(problem) and far and not has_many_groups(problem)
