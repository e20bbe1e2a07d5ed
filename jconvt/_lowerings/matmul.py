"""No overlap: every input element owns a block of outputs. One GEMM, depth-to-space.

Served where the kernel's extent is at most the stride (kernel = stride above all).
Outputs between the taps and between the blocks hold nothing: the products are padded
with zeros, never the weight.
"""

import jax
import jax.numpy as jnp

from jconvt._call.call import Call
from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.products import merge_groups, tap_products
from jconvt._lowerings.row import (
    Lowering,
    crop_space,
    depth_to_space,
    pad,
)
from jconvt._lowerings.work import Variant, Work, copied


def unsupported(geometry: Geometry) -> str | None:
    """Blocks of neighbouring input elements must not overlap."""
    if any(axis.extent > axis.stride for axis in geometry.axes):
        return (
            "it needs dilation*(kernel_size - 1) + 1 <= stride on every axis, so that "
            "no two input elements reach one output"
        )
    return None


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """One `lax.dot_general`, then an interleave and a crop."""
    del variant, which
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    rank = geometry.rank
    y = tap_products(x, w, geometry, layout, numerics)
    y = jnp.moveaxis(y, 1 + rank, 1)  # (N, groups, *space, *taps, O)
    y = depth_to_space(_spread(y, geometry), rank, first=2)
    # The blocks hold n*stride elements: the full output and stride - extent more.
    y = crop_space(
        y,
        [(a.low, a.high + a.stride - a.extent) for a in geometry.axes],
        first=2,
    )
    return merge_groups(y, layout)


def _spread(y: jax.Array, geometry: Geometry) -> jax.Array:
    """Taps at their places in blocks of `stride` outputs."""
    if geometry.kernel_size == geometry.stride:
        return y
    first = 2 + geometry.rank
    pads = [(0, 0, 0)] * y.ndim
    for i, axis in enumerate(geometry.axes):
        pads[first + i] = (0, axis.stride - axis.extent, axis.dilation - 1)
    return pad(y, pads)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """One GEMM and the products moved once."""
    del variant, which
    positions = problem.inputs // problem.in_channels
    made = problem.outputs
    return Work(
        multiply_adds=positions * problem.weights,
        lanes=positions * problem.weights,
        operands=problem.inputs + problem.weights + made,
        joined=2 * made,
        transposed=problem.features_first * (problem.inputs + problem.outputs),
        prepared=problem.weights,
        calls=1,
        temporary=copied(problem, first=False) + problem.weights + made,
    )


def not_on_cpu(which: Map, problem: Problem) -> str:
    """A CPU's choice never takes it."""
    del which, problem
    return "gather is the same matrix product with fewer moves"


LOWERING = Lowering(
    name="matmul",
    summary="one GEMM and depth-to-space (no overlap)",
    lower=lower,
    unsupported=unsupported,
    work=work,
    not_on_cpu=not_on_cpu,
)
