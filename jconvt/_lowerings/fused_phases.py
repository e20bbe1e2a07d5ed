"""All phases in one convolution with ``prod(stride)`` times the output channels.

Served where every phase of an axis has the same taps at the same places of the input:
stride 1, or dilation 1 and a kernel size divisible by the stride. Elsewhere a kernel
padded with zeros would be needed, and zero times a non-finite input is not zero.

On the grid of uncropped blocks, position ``p = s*q + rho`` is reached by taps
``rho + m*s`` of elements ``q - m``. The blocks kept are those that hold output
elements: q from ``low // s`` to ``(low + out - 1) // s``.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.call import Call
from jconvt._call.geometry import Axis, Geometry
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import merge_axes, permute
from jconvt._lowerings.phases import channels_last_numbers, work_of_phases
from jconvt._lowerings.row import (
    Lowering,
    crop_space,
    depth_to_space,
)
from jconvt._lowerings.work import Variant, Work, has_fast_convolutions


def unsupported(geometry: Geometry) -> str | None:
    """Kernel sizes must be multiples of the stride, undilated."""
    for axis in geometry.axes:
        if axis.stride > 1 and (axis.dilation > 1 or axis.kernel_size % axis.stride):
            return (
                "it needs stride 1, or dilation 1 and a kernel size divisible by the "
                "stride, on every axis"
            )
    return None


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """One stride-1 convolution, then depth-to-space and a crop."""
    del variant, which
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    x = permute(x, layout.input_channels_last)
    w = permute(w, layout.weight_channels_first)
    rank, groups, axes = geometry.rank, geometry.groups, geometry.axes
    y = lax.conv_general_dilated(
        x,
        _kernel(w, geometry),
        window_strides=(1,) * rank,
        padding=[_pad(axis) for axis in axes],
        rhs_dilation=[_spacing(axis) for axis in axes],
        dimension_numbers=channels_last_numbers(rank),
        feature_group_count=groups,
        precision=numerics.precision,
        preferred_element_type=numerics.result,
    )
    # The features are (groups, *stride, O).
    split = (groups,) if groups > 1 else ()
    y = y.reshape(*y.shape[:-1], *split, *geometry.stride, w.shape[1])
    if groups > 1:
        y = jnp.moveaxis(y, 1 + rank, -2)
    y = depth_to_space(y, rank)
    if groups > 1:
        y = merge_axes(y, 1 + rank)
    y = crop_space(y, [_tails(axis) for axis in axes])
    return permute(y, layout.output_from_channels_last)


def _spacing(axis: Axis) -> int:
    return axis.dilation if axis.stride == 1 else 1


def _blocks(axis: Axis) -> tuple[int, int]:
    """First block kept, and last block kept less n."""
    last = (axis.extent - axis.stride - axis.high - 1) // axis.stride
    return axis.low // axis.stride, last


def _pad(axis: Axis) -> tuple[int, int]:
    first, last = _blocks(axis)
    reach = (axis.kernel_size // axis.stride - 1) * _spacing(axis)
    return reach - first, last + 1


def _tails(axis: Axis) -> tuple[int, int]:
    first, last = _blocks(axis)
    low = axis.low - first * axis.stride
    # The blocks hold (n + last + 1 - first)*stride elements, of which out(n) are kept.
    surplus = axis.extent - axis.stride - axis.low - axis.high
    return low, (last + 1 - first) * axis.stride - surplus - low


def _kernel(w: jax.Array, geometry: Geometry) -> jax.Array:
    """(I, O, *K) -> (*K/stride, I/groups, groups*prod(stride)*O), flipped."""
    rank, groups = geometry.rank, geometry.groups
    in_channels, _, *taps = w.shape
    for axis in reversed(range(rank)):
        s, at = geometry.stride[axis], 2 + axis
        w = w.reshape(*w.shape[:at], taps[axis] // s, s, *w.shape[at + 1 :])
    # Now (I, O, k0/s0, s0, k1/s1, s1, ...), and the taps of a phase run backwards.
    w = lax.rev(w, range(2, w.ndim, 2))
    w = w.reshape(groups, in_channels // groups, *w.shape[1:])
    steps, offsets = range(3, w.ndim, 2), range(4, w.ndim, 2)
    w = lax.transpose(w, (*steps, 1, 0, *offsets, 2))
    for _ in range(rank + 1):
        w = merge_axes(w, rank + 1)
    return w


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """As `gather` with early blocks, without gathering."""
    del variant
    return work_of_phases(problem, which, early=True)


def not_on_cpu(which: Map, problem: Problem) -> str | None:
    """XLA:CPU has fast convolutions for two of the maps."""
    if has_fast_convolutions(which, problem):
        return None
    return "XLA:CPU has these convolutions as plain loops"


LOWERING = Lowering(
    name="fused_phases",
    summary="all output residues in one convolution, then depth-to-space",
    lower=lower,
    unsupported=unsupported,
    work=work,
    not_on_cpu=not_on_cpu,
)
