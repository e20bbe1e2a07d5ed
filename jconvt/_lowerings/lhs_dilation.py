"""The canonical lowering: one convolution of the stride-dilated input.

The kernel is reversed by `lax.rev` feeding the convolution directly and is read as
``IO`` + space, which is what XLA:GPU recognises as cuDNN's backward-data convolution.
Its transpose in the input is the ordinary strided convolution.
"""

import math

import jax
from jax import lax

from jconvt._call.call import Call
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import permute
from jconvt._lowerings.row import (
    Lowering,
    drop_last,
    grouped_weight,
    is_taken_for_groups,
    serves_all,
)
from jconvt._lowerings.work import Variant, Work, filled


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """One `lax.conv_general_dilated` with ``lhs_dilation=stride``.

    With an output more, which is cropped, along axes that XLA may abort on.

    Input and output are in one layout there: with two, and sharded along space, what
    XLA's partitioner makes of a dilated kernel has wrong values (seen in jax 0.10.2).
    """
    del variant, which
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    in_channels, out_channels, *space = layout.weight
    if geometry.groups > 1:
        w = grouped_weight(permute(w, layout.weight_channels_first), geometry.groups)
        w = permute(w, tuple(layout.weight.index(axis) for axis in range(w.ndim)))
    size = [x.shape[axis] for axis in layout.input[2:]]
    more = [
        # As it is, and transposed in the weight, with the cotangent as kernel.
        is_taken_for_groups(axis.kernel_size, axis.stride, 1, pads)
        or is_taken_for_groups(axis.output_size(n), axis.stride, axis.dilation, pads)
        for axis, n, pads in zip(
            geometry.axes, size, geometry.dilated_pads, strict=True
        )
    ]
    y = lax.conv_general_dilated(
        x,
        lax.rev(w, space),
        window_strides=(1,) * geometry.rank,
        padding=[
            (low, high + one)
            for (low, high), one in zip(geometry.dilated_pads, more, strict=True)
        ],
        lhs_dilation=geometry.stride,
        rhs_dilation=geometry.dilation,
        dimension_numbers=lax.ConvDimensionNumbers(
            layout.input, (out_channels, in_channels, *space), layout.input
        ),
        feature_group_count=geometry.groups,
        precision=numerics.precision,
        preferred_element_type=numerics.result,
    )
    return permute(drop_last(y, layout.input[2:], more), layout.output_from_input)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """A convolution over outputs multiplies the zeros between the input elements.

    One over inputs, which an input gradient is, has none of them, and where XLA:CPU has
    a fast path the output's is a GEMM whose products are scattered (its
    EigenTransposedConv2D); a weight gradient, whose kernel is the cotangent, has none.
    """
    del variant
    geometry = problem.geometry
    positions = problem.outputs // problem.out_channels
    channels = problem.out_channels // geometry.groups
    if which == Map.INPUT:
        positions = problem.inputs // problem.in_channels
        channels = problem.in_channels // geometry.groups
    macs = positions * problem.weights
    inflated = which != Map.INPUT and any(s > 1 for s in geometry.stride)
    scattered = 0
    plain = geometry.groups == 1 and all(d == 1 for d in geometry.dilation)
    if which == Map.OUTPUT and inflated and plain and geometry.rank <= 2:
        taps = math.prod(geometry.kernel_size)
        elements = problem.inputs // problem.in_channels
        scattered = elements * problem.out_channels * taps
    moved = problem.features_first * (problem.inputs + problem.outputs)
    copied = moved
    if which == Map.WEIGHT and problem.batch == 1 and problem.features_first:
        # Contracted over the batch, one image has its features last as it is.
        copied = problem.outputs
    return Work(
        convolved=macs,
        inflated=inflated * macs,
        scattered=scattered,
        lanes=macs * filled(channels) // channels,
        transposed=moved,
        prepared=problem.weights,
        calls=1,
        temporary=copied + problem.weights + scattered,
    )


def not_on_cpu(which: Map, problem: Problem) -> str | None:
    """XLA:CPU runs grouped convolutions in plain loops, and gathers a sharded batch."""
    del which
    if problem.geometry.groups == 1:
        return None
    return "XLA:CPU has grouped convolutions as plain loops"


LOWERING = Lowering(
    name="lhs_dilation",
    summary="one convolution of the stride-dilated input (canonical)",
    lower=lower,
    unsupported=serves_all,
    work=work,
    not_on_cpu=not_on_cpu,
)
