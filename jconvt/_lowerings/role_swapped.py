"""The weight as the convolved array and the input as its kernel.

The same sum, ``y[o] = sum w[t] * x[i]`` over ``o = s*i + d*t - low``, read with the
roles exchanged: the weight, dilated by d, is convolved with the input, dilated by s, as
kernel. Slow to run forward, but its transpose in the weight is::

    dw = conv(cotangent, input, window_strides=d, rhs_dilation=s)

with the cotangent's output channels as batch: what XLA:GPU recognises as cuDNN's
backward-filter convolution. JAX's own weight gradient of `lhs_dilation` is a
convolution with a dilated input, which it does not (jax issue 31662).
"""

from typing import Any

import jax
from jax import lax
from jax.sharding import PartitionSpec

from jconvt._call.call import Call
from jconvt._call.geometry import Geometry
from jconvt._call.layout import Layout
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import merge_axes, permute
from jconvt._lowerings.row import (
    Lowering,
    drop_last,
    is_taken_for_groups,
    pad,
    serves_all,
)
from jconvt._lowerings.work import Variant, Work


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """One `lax.conv_general_dilated` of the weight with the input as kernel."""
    del variant, which
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    if geometry.groups > 1:
        return _grouped(x, w, geometry, layout, numerics)
    in_channels, out_channels, *taps = layout.weight
    batch, features, *space = layout.input
    y_batch, y_channels, *y_space = layout.output
    return _convolve(
        x,
        w,
        geometry,
        numerics,
        lax.ConvDimensionNumbers(
            (out_channels, in_channels, *taps),
            (batch, features, *space),
            (y_channels, y_batch, *y_space),
        ),
    )


def _grouped(
    x: jax.Array, w: jax.Array, geometry: Geometry, layout: Layout, numerics: Numerics
) -> jax.Array:
    """Groups: the kernel's output features are (groups, N), its inputs C_in/groups."""
    rank, groups = geometry.rank, geometry.groups
    x = permute(x, layout.input_channels_last)
    batch, *space, channels = x.shape
    x = x.reshape(batch, *space, groups, channels // groups)
    x = merge_axes(lax.transpose(x, (rank + 1, *range(rank + 1), rank + 2)), 0)
    y = _convolve(
        x,
        permute(w, layout.weight_channels_first),
        geometry,
        numerics,
        lax.ConvDimensionNumbers(
            (1, 0, *range(2, rank + 2)),
            (0, rank + 1, *range(1, rank + 1)),
            (rank + 1, 0, *range(1, rank + 1)),
        ),
    )
    # y is (groups*N, *out, O).
    y = y.reshape(groups, batch, *y.shape[1:])
    y = lax.transpose(y, (*range(1, rank + 2), 0, rank + 2))
    return permute(merge_axes(y, rank + 1), layout.output_from_channels_last)


def _convolve(
    x: jax.Array,
    w: jax.Array,
    geometry: Geometry,
    numerics: Numerics,
    numbers: lax.ConvDimensionNumbers,
) -> jax.Array:
    space = numbers.rhs_spec[2:]
    # Full padding of the dilated weight by the dilated input, less the crop.
    reach = [
        (x_n - 1) * s
        for x_n, s in zip((x.shape[a] for a in space), geometry.stride, strict=True)
    ]
    padding = [
        (r - low, r - high) for r, (low, high) in zip(reach, geometry.crop, strict=True)
    ]
    dilation = geometry.dilation
    if any(min(pad) < 0 for pad in padding):
        # Taps that the crop hides from every element; `Geometry.trim` tells why no
        # convolution may pad by less than nothing.
        pads = [(0, 0, 0)] * w.ndim
        for axis, (low, high), d in zip(
            numbers.lhs_spec[2:], padding, dilation, strict=True
        ):
            pads[axis] = (low, high, d - 1)
        w = pad(w, pads)
        padding, dilation = [(0, 0)] * geometry.rank, (1,) * geometry.rank
    more = [
        # As it is, and transposed in the input, with the cotangent as kernel.
        is_taken_for_groups(x.shape[at], d, 1, pads)
        or is_taken_for_groups(axis.output_size(x.shape[at]), d, axis.stride, pads)
        for axis, at, d, pads in zip(
            geometry.axes, space, dilation, padding, strict=True
        )
    ]
    y = lax.conv_general_dilated(
        w,
        lax.rev(x, space),
        window_strides=(1,) * geometry.rank,
        padding=[
            (low, high + one) for (low, high), one in zip(padding, more, strict=True)
        ],
        lhs_dilation=dilation,
        rhs_dilation=geometry.stride,
        dimension_numbers=numbers,
        feature_group_count=geometry.groups,
        precision=numerics.swapped.precision,
        preferred_element_type=numerics.result,
        out_sharding=_out_sharding(x, numbers),
    )
    return drop_last(y, numbers.out_spec[2:], more)


def _out_sharding(
    x: jax.Array, numbers: lax.ConvDimensionNumbers
) -> PartitionSpec | None:
    """The input's batch sharding on the output's batch axis.

    JAX derives an output's sharding from the left operand alone, and with explicit
    sharding refuses a sharded right one, which the input is here.
    """
    spec = jax.typeof(x).sharding.spec
    along = spec[numbers.rhs_spec[0]]
    if along is None:
        return None
    out: list[Any] = [None] * x.ndim
    out[numbers.out_spec[1]] = along
    return PartitionSpec(*out)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """The zeros of both dilations are multiplied, but not in the weight gradient."""
    del variant
    positions = problem.inputs // problem.in_channels
    if which != Map.WEIGHT:
        positions = problem.outputs // problem.out_channels
    return Work(
        convolved=positions * problem.weights,
        lanes=positions * problem.weights,
        transposed=problem.inputs + problem.outputs,
        prepared=problem.weights,
        calls=1,
    )


def not_on_cpu(which: Map, problem: Problem) -> str:
    """A CPU's choice never takes it."""
    del which, problem
    return "XLA:CPU runs it in plain loops"


LOWERING = Lowering(
    name="role_swapped",
    summary="the weight convolved with the input as kernel",
    lower=lower,
    unsupported=serves_all,
    work=work,
    not_on_cpu=not_on_cpu,
    static_space=True,  # its padding is the input's extent, and lax wants ints there
)
