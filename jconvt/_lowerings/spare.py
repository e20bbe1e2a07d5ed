"""A few outputs too many, so that XLA:CPU leaves a convolution to Eigen. No jax import.

XLA:CPU of jaxlib 0.10 gives a convolution over two axes to YNNPACK if its output is no
larger than its input along both, the kernel neither, and input or output have more than
16 channels (IsConvolutionOpSupportedByYnn in its ynn_support.cc). YNNPACK takes two to
eight times as long as Eigen there: 343 for 44 ms with a 5x5 kernel, 64 to 16 channels
and 32 images of 55x55. jaxlib 0.8 has no such rule, and with 0.12 both are fast. With
one output more than input elements along an axis, the convolution is Eigen's.
"""

import math
from dataclasses import replace

from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem


def goes_to_ynnpack(which: Map, problem: Problem) -> bool:
    """Whether jaxlib 0.10 would leave this convolution without zeros to YNNPACK."""
    geometry, size = problem.geometry, problem.size
    out = geometry.output_size(size)
    if which == Map.INPUT:
        size, out = out, size
    return (
        geometry.rank == 2
        and max(problem.in_channels, problem.out_channels) > _FEW_CHANNELS
        and all(o <= n for n, o in zip(size, out, strict=True))
        and all(k <= n for n, k in zip(size, geometry.kernel_size, strict=True))
    )


def spare_outputs(problem: Problem) -> tuple[int, int]:
    """An axis and how many outputs more to compute along it, for an output at stride 1.

    None where more than a quarter would be in vain.
    """
    geometry, size = problem.geometry, problem.size
    if max(geometry.stride, default=1) > 1 or not goes_to_ynnpack(Map.OUTPUT, problem):
        return 0, 0
    out = geometry.output_size(size)
    more = [n - o + 1 for n, o in zip(size, out, strict=True)]
    axis = min(range(geometry.rank), key=lambda axis: more[axis] / out[axis])
    return (axis, more[axis]) if 4 * more[axis] <= out[axis] else (0, 0)


def with_spare_outputs(geometry: Geometry, axis: int, more: int) -> Geometry:
    """The geometry that has so many outputs more at the end of an axis."""
    crop = list(geometry.crop)
    low, high = crop[axis]
    crop[axis] = low, high - more
    return replace(geometry, crop=tuple(crop))


def computed(problem: Problem) -> int:
    """Output positions of all images that a convolution at stride 1 computes."""
    out = list(problem.geometry.output_size(problem.size))
    axis, more = spare_outputs(problem)
    if more:
        out[axis] += more
    return problem.batch * math.prod(out)


_FEW_CHANNELS = 16
