"""One GEMM and depth-to-space, for kernels that do not overlap.

If the kernel's extent is at most the stride (most often both are equal), each output
gets at most one product per input channel::

    y[s*i + d*t] = sum_c x[i, c] * w[c, t]

So all outputs are the entries of one matrix product, rearranged. Outputs that no tap
reaches are zeros, added to the products and never to the weight. With overlap it cannot
be used: see `overlap_add`.
"""

import jax
import jax.numpy as jnp

from jconvt._call.call import Call
from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import crop_space, depth_to_space, pad
from jconvt._lowerings.products import merge_groups, tap_products
from jconvt._lowerings.row import Lowering, never
from jconvt._lowerings.work import Variant, Work, copied


def unsupported(geometry: Geometry) -> str | None:
    """The outputs of neighbouring input elements must not overlap."""
    if geometry.overlaps:
        return (
            "it needs dilation*(kernel_size - 1) + 1 <= stride on every axis, so that "
            "no two input elements reach one output"
        )
    return None


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """One `lax.dot_general`, depth-to-space and a crop."""
    del variant, which
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    rank = geometry.rank
    y = tap_products(x, w, geometry, layout, numerics)
    y = jnp.moveaxis(y, 1 + rank, 1)  # (N, groups, *space, *taps, O)
    y = depth_to_space(_spread(y, geometry), rank, first=2)
    # The blocks hold n*stride elements: the full output and stride - extent more.
    crops = [(a.low, a.high + a.stride - a.extent) for a in geometry.axes]
    return merge_groups(crop_space(y, crops, first=2), layout)


def _spread(y: jax.Array, geometry: Geometry) -> jax.Array:
    """(..., *taps, O) -> (..., *stride, O): a zero for each output without a tap."""
    if geometry.kernel_size == geometry.stride:
        return y
    pads = [(0, a.stride - a.extent, a.dilation - 1) for a in geometry.axes]
    return pad(y, pads, first=2 + geometry.rank)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """The counts of one GEMM whose products are moved once."""
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


LOWERING = Lowering(
    name="matmul",
    summary="one GEMM and depth-to-space (no overlap)",
    lower=lower,
    unsupported=unsupported,
    work=work,
    not_on_cpu=never("gather is the same matrix product with fewer moves"),
)
