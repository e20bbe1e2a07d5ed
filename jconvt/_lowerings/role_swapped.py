"""The weight convolved with the input as its kernel: the two operands exchanged.

The same sum, ``y[o] = sum w[t] * x[i]`` over ``s*i + d*t = o + low``, is a convolution
of the weight, dilated by d, with the input, dilated by s, as kernel. It computes every
geometry and is slow forward. It is made for its transpose in the weight::

    dw = convolve(cotangent, x), window_strides=d, rhs_dilation=s

in which the cotangent's output channels stand in the place of the batch: the form that
XLA maps to cuDNN's backward-filter convolution. JAX's own weight gradient of the native
form is a convolution of a dilated input, which XLA does not map (jax issue 31662).
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
from jconvt._lowerings.axes import merge_axes, pad, permute
from jconvt._lowerings.dilated import convolve_dilated
from jconvt._lowerings.row import Lowering, never, serves_all
from jconvt._lowerings.work import Variant, Work


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """One convolution of the weight with the input as kernel."""
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
    """For several groups: the kernel maps C_in/groups features to (groups, N)."""
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
    size = tuple(x.shape[axis] for axis in numbers.rhs_spec[2:])
    # Full padding of the dilated weight by the dilated input, less the crop.
    reach = [(n - 1) * s for n, s in zip(size, geometry.stride, strict=True)]
    padding = [
        (r - low, r - high) for r, (low, high) in zip(reach, geometry.crop, strict=True)
    ]
    dilation = geometry.dilation
    if any(min(pads) < 0 for pads in padding):
        # Some taps meet no element. The weight is cropped and dilated before the
        # convolution, which must not pad by a negative amount (`jconvt._maps.frame`).
        pads = [(0, 0, 0)] * w.ndim
        for axis, (low, high), d in zip(
            numbers.lhs_spec[2:], padding, dilation, strict=True
        ):
            pads[axis] = (low, high, d - 1)
        w = pad(w, pads)
        padding, dilation = [(0, 0)] * geometry.rank, (1,) * geometry.rank
    return convolve_dilated(
        w,
        x,
        geometry.output_size(size),
        numbers,
        numerics.swapped,
        padding=padding,
        dilation=dilation,
        kernel_dilation=geometry.stride,
        groups=geometry.groups,
        out_sharding=_out_sharding(x, numbers),
    )


def _out_sharding(
    x: jax.Array, numbers: lax.ConvDimensionNumbers
) -> PartitionSpec | None:
    """The sharding of the input's batch, for the output's batch axis.

    JAX derives an output's sharding from the left operand alone; under explicit
    sharding it refuses a sharded right operand, which the input is here.
    """
    spec = jax.typeof(x).sharding.spec
    along = spec[numbers.rhs_spec[0]]
    if along is None:
        return None
    out: list[Any] = [None] * x.ndim
    out[numbers.out_spec[1]] = along
    return PartitionSpec(*out)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """Zeros of both dilations are multiplied, except in the weight gradient."""
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


LOWERING = Lowering(
    name="role_swapped",
    summary="the weight convolved with the input as kernel",
    lower=lower,
    unsupported=serves_all,
    work=work,
    not_on_cpu=never("XLA:CPU runs it in simple loops"),
    static_space=True,  # its padding depends on the input size; lax wants ints there
)
