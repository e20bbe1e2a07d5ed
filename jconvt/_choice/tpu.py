"""The TPU's table of preferred lowerings. Imports no JAX.

The rules are made from the compiler's estimates for a v5e, of random layers and of
those of the benchmarks (`python -m benchmarks.aot.drawn`, `python -m benchmarks.aot`).
They follow from how a TPU computes:

- A register has eight sublanes of 128 lanes. A convolution lays channels along the
  lanes and images along the sublanes, so of one image it uses an eighth. A GEMM lays
  all positions along the sublanes, and uses all of them.
- The products of a GEMM have to be added up, or moved to where the output has them.
  Over one spatial axis they are neighbours already, and the additions cost little.
  Over several axes the moves cost more than the convolution.
- Up to strides of some 8, most zeros of a dilated input are skipped.
- A convolution with groups multiplies each group by itself where the groups are few
  and wide, and many zeros besides where they are narrow.
"""

import math

from jconvt._call.problem import Map, Problem
from jconvt._choice.blocks import (
    has_few_blocks,
    has_large_blocks,
    has_one_tap,
    has_one_tap_in_groups,
    is_product,
)
from jconvt._choice.groups import (
    adds_few_neighbours,
    adds_few_products,
    adds_large_planes,
    gathers_many_narrow_groups,
    is_grouped_at_stride_1,
    is_narrow_at_stride_1,
    multiplies_channels,
    multiplies_many_channels,
    scatters_groups,
    sums_over_multiplied_channels,
)
from jconvt._choice.planes import (
    has_few_planes,
    has_large_images,
    has_one_plane,
    is_picture_of_two,
    sums_over_few_planes,
    sums_over_picture,
)
from jconvt._choice.preference import Preference, Table
from jconvt._choice.signals import (
    LANES,
    NARROW,
    adds_few_signals,
    convolves_frames,
    gathers_few_groups,
    gathers_many_frames,
    gathers_row_in_groups,
    has_frames,
    is_depthwise,
    is_few_signals,
    is_narrow_row,
    is_one_row_in_groups,
    is_row_in_narrow_groups,
    scatters_row,
    sums_over_one_row,
)
from jconvt._choice.strips import gathers_strips, has_few_images
from jconvt._lowerings.space_to_batch import SUBLANES
from jconvt._lowerings.work import Variant


def _is_row_or_grouped(problem: Problem) -> bool:
    """Whether there is one spatial axis, or several and groups.

    Eight depthwise signals over one axis are left out: they fill the sublanes of a
    convolution.
    """
    geometry = problem.geometry
    full = problem.batch >= SUBLANES and is_depthwise(problem)
    if geometry.rank == 1:
        return not full
    return geometry.groups > 1


def _as_given(problem: Problem) -> Variant:
    """The layout that the caller has, so that nothing is transposed."""
    return Variant(first=problem.features_first)


def _of_large_images(problem: Problem) -> Variant:
    """Features last at stride 1, where products are added as they are.

    With a stride they are moved anyway, and the caller's layout saves a transposition.
    """
    near = max(problem.geometry.stride, default=1) == 1
    return Variant(first=False) if near else _as_given(problem)


def _features_first(problem: Problem) -> Variant:
    del problem
    return Variant(first=True)


def _features_last(problem: Problem) -> Variant:
    del problem
    return Variant(first=False)


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

    `lhs_dilation`, transposed in the weight, reverses the weight gradient, which is
    cheap if that is much smaller than the output. It leaves registers partly empty if
    the last axis does not fill the sublanes, or with groups (over one axis only with a
    stride). `role_swapped` leaves them empty if there are few output channels.

    At stride 1 the compiler's estimates alone decide. For 16-bit elements
    `role_swapped` was within 7 % of the best form on seven of eight layers; with groups
    it was best on four of five with up to 256 output channels, and far behind on a
    depthwise one.
    """
    geometry = problem.geometry
    near = max(geometry.stride, default=1) == 1
    if is_depthwise(problem):
        large = math.prod(problem.size) >= 2 * LANES
        return geometry.rank > 1 and large and not near
    if is_grouped_at_stride_1(problem):
        return problem.out_channels <= 2 * LANES
    if geometry.groups > 1:
        return geometry.rank > 1 or gathers_row_in_groups(problem)
    if near and problem.itemsize == 2:
        return True
    large = 2 * problem.weights >= problem.outputs
    return problem.out_channels > NARROW and (_is_ragged(problem) or large)


TPU: Table = {
    Map.OUTPUT: (
        Preference("lhs_dilation", has_one_tap_in_groups),
        Preference("matmul", _is_row_or_grouped),
        Preference("matmul", has_one_tap),
        Preference("matmul", has_large_blocks),
        Preference("matmul", has_one_plane),
        Preference("tap_sums", has_few_planes, _features_first),
        Preference("overlap_add", has_one_plane, _features_first),
        Preference("overlap_add", has_large_images, _of_large_images),
        Preference("overlap_add", is_picture_of_two, _as_given),
        Preference("tap_sums", adds_few_signals, _features_first),
        Preference("overlap_add", scatters_row, _as_given),
        Preference("overlap_add", is_narrow_row, _as_given),
        Preference("overlap_add", scatters_groups, _features_first),
        Preference("overlap_add", adds_few_products, _as_given),
        Preference("overlap_add", adds_few_neighbours, _as_given),
        Preference("tap_sums", adds_large_planes, _as_given),
        Preference("overlap_add", is_row_in_narrow_groups, _as_given),
        Preference("space_to_batch", is_one_row_in_groups),
        Preference("space_to_batch", is_narrow_at_stride_1),
        Preference("fused_phases", is_grouped_at_stride_1),
        Preference("space_to_batch", has_few_images),
    ),
    Map.INPUT: (
        Preference("lhs_dilation", has_one_tap_in_groups),
        Preference("matmul", _is_row_or_grouped),
        Preference("matmul", _is_matrix),
        Preference("matmul", has_one_tap),
        Preference("matmul", has_large_blocks),
        Preference("matmul", has_few_blocks),
        Preference("tap_sums", has_few_planes, _features_first),
        Preference("tap_sums", is_few_signals, _features_first),
        Preference("fused_phases", gathers_many_frames),
        Preference("overlap_add", has_frames, _as_given),
        Preference("overlap_add", gathers_few_groups, _as_given),
        Preference("overlap_add", is_narrow_row, _as_given),
        Preference("tap_sums", multiplies_many_channels, _features_last),
        Preference("overlap_add", multiplies_channels, _as_given),
        Preference("tap_sums", multiplies_channels, _features_first),
        Preference("overlap_add", adds_few_neighbours, _as_given),
        Preference("overlap_add", gathers_many_narrow_groups, _as_given),
        Preference("space_to_batch", is_one_row_in_groups),
        Preference("space_to_batch", is_narrow_at_stride_1),
        Preference("fused_phases", is_grouped_at_stride_1),
        Preference("space_to_batch", gathers_strips),
    ),
    Map.WEIGHT: (
        Preference("role_swapped", has_one_tap_in_groups),
        Preference("matmul", _is_row_or_grouped),
        Preference("matmul", is_product),
        Preference("matmul", has_large_blocks),
        Preference("matmul", _is_deep),
        Preference("fused_phases", convolves_frames),
        Preference("overlap_add", has_frames, _as_given),
        Preference("fused_phases", sums_over_picture),
        Preference("overlap_add", sums_over_few_planes, _features_first),
        Preference("space_to_batch", sums_over_one_row),
        Preference("phases", sums_over_multiplied_channels),
        Preference("overlap_add", adds_few_neighbours, _as_given),
        Preference("role_swapped", is_row_in_narrow_groups),
        Preference("role_swapped", _reverses_less),
        Preference("fused_phases", is_grouped_at_stride_1),
    ),
}
"""`matmul` serves only where no two input elements reach the same output."""
