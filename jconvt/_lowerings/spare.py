"""A few outputs too many, so that XLA:CPU leaves a convolution to Eigen. No jax import.

XLA:CPU gives a convolution over two axes to YNNPACK if its output is no larger than its
input along both, its kernel neither, and input or output have more than 16 channels
(IsConvolutionOpSupportedByYnn in its ynn_support.cc). With jaxlib 0.10 that is two to
eight times as slow as Eigen: 347 for 45 ms with a 5x5 kernel, 64 to 16 channels and 32
images of 55x55. So there an output at stride 1 is computed with one element more than
the input has along an axis, and what is too much is removed. With 0.8, 0.9, 0.11 and
0.12 such convolutions are fast, and this would take up to twice as long.
"""

import math
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem


def _jaxlib_version() -> str:
    """The version by jaxlib's metadata, without an import; empty without metadata."""
    try:
        return version("jaxlib")
    except PackageNotFoundError:
        return ""


YNNPACK_IS_SLOW = _jaxlib_version().startswith("0.10.")


def is_slow(which: Map, problem: Problem) -> bool:
    """Whether this JAX gives the convolution of a map to a slow YNNPACK.

    For an output, that is the convolution at stride 1; for an input gradient, the
    strided one, which reads the cotangent.
    """
    geometry, size = problem.geometry, problem.size
    out = geometry.output_size(size)
    if which == Map.INPUT:
        size, out = out, size
    return (
        YNNPACK_IS_SLOW
        and geometry.rank == 2
        and max(problem.in_channels, problem.out_channels) > _FEW_CHANNELS
        and all(o <= n for n, o in zip(size, out, strict=True))
        and all(k <= n for n, k in zip(size, geometry.kernel_size, strict=True))
    )


def spare_outputs(problem: Problem) -> tuple[int, int]:
    """An axis and how many outputs more to compute along it, for an output at stride 1.

    None where they would be more than a quarter of those that are wanted.
    """
    geometry, size = problem.geometry, problem.size
    if max(geometry.stride, default=1) > 1 or not is_slow(Map.OUTPUT, problem):
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


def computed_positions(problem: Problem) -> int:
    """Output positions of all images that are computed at stride 1, spare ones too."""
    out = list(problem.geometry.output_size(problem.size))
    axis, more = spare_outputs(problem)
    if more:
        out[axis] += more
    return problem.batch * math.prod(out)


_FEW_CHANNELS = 16
