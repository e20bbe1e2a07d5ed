"""All output residues in one stride-1 convolution, then depth-to-space.

The convolution has ``prod(stride)`` times the output channels, one set for each
residue. With kernel size k divisible by stride s, position ``s*q + rho`` of the full
output is::

    y[s*q + rho] = sum_m w[rho + m*s] * x[q - m]        m = 0, ..., k/s - 1

Only blocks q that hold kept outputs are computed: from ``low // s`` to
``(low + out - 1) // s``.

It needs the same input elements for every residue: stride 1, or dilation 1 and a kernel
size divisible by the stride. Other kernels would have to be padded with zeros, and zero
times a non-finite input is not zero.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.call import Call
from jconvt._call.geometry import Axis, Geometry
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import crop_space, depth_to_space, merge_axes, permute
from jconvt._lowerings.phases import (
    AS_GEMM,
    AS_NATIVE,
    channels_last_numbers,
    work_of_phases,
)
from jconvt._lowerings.row import Lowering
from jconvt._lowerings.work import Variant, Work, has_fast_convolutions


def unsupported(geometry: Geometry) -> str | None:
    """Kernel sizes must be multiples of the stride, without dilation."""
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
    """The first block that is kept, and the last one minus n, for n input elements."""
    last = (axis.extent - axis.stride - axis.high - 1) // axis.stride
    return axis.low // axis.stride, last


def _pad(axis: Axis) -> tuple[int, int]:
    """Zeros around the input, so that the convolution gives the blocks kept."""
    first, last = _blocks(axis)
    reach = (axis.kernel_size // axis.stride - 1) * _spacing(axis)
    return reach - first, last + 1


def _tails(axis: Axis) -> tuple[int, int]:
    """Outputs of the first and of the last block that are cropped."""
    first, last = _blocks(axis)
    low = axis.low - first * axis.stride
    # The blocks hold (n + last + 1 - first)*stride elements, of which out(n) are kept.
    surplus = axis.extent - axis.stride - axis.low - axis.high
    return low, (last + 1 - first) * axis.stride - surplus - low


def _kernel(w: jax.Array, geometry: Geometry) -> jax.Array:
    """(I, O, *K) -> (*K/stride, I/groups, groups*prod(stride)*O), taps reversed."""
    rank, groups = geometry.rank, geometry.groups
    in_channels, _, *taps = w.shape
    for axis in reversed(range(rank)):
        s, at = geometry.stride[axis], 2 + axis
        w = w.reshape(*w.shape[:at], taps[axis] // s, s, *w.shape[at + 1 :])
    # Now (I, O, k0/s0, s0, k1/s1, s1, ...). A convolution wants the taps reversed.
    w = lax.rev(w, range(2, w.ndim, 2))
    w = w.reshape(groups, in_channels // groups, *w.shape[1:])
    steps, offsets = range(3, w.ndim, 2), range(4, w.ndim, 2)
    w = lax.transpose(w, (*steps, 1, 0, *offsets, 2))
    return merge_axes(w, rank + 1, rank + 2)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """The counts of `gather` with early blocks, without those of gathering."""
    del variant
    return work_of_phases(problem, which, early=True)


def not_on_cpu(which: Map, problem: Problem) -> str | None:
    """XLA:CPU has fast convolutions for two of the maps."""
    if max(problem.geometry.stride, default=1) == 1:
        return AS_NATIVE
    if not problem.geometry.overlaps:
        return AS_GEMM
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
