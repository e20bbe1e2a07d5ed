"""One GEMM of every element with every tap, then shifted block additions.

An element's products span its extent: ``ceil(extent/stride)`` blocks of `stride`
outputs. Block j of element q is added to output block q + j, axis by axis. The products
of all taps exist at once (``prod(kernel_size) * C_out/C_in`` times the input), and they
are padded with zeros, never the weight.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._geometry import Axis, Geometry
from jconvt._layout import Layout
from jconvt._lowerings._common import (
    MOST_PARTS,
    Lowering,
    crop_space,
    merge_axes,
    pad,
)
from jconvt._lowerings._products import merge_groups, tap_products
from jconvt._numerics import Numerics


def blocks_per_element(axis: Axis) -> int:
    """Blocks of `stride` outputs that an element's extent spans."""
    return -(-axis.extent // axis.stride)


def unsupported(geometry: Geometry) -> str | None:
    """The additions are written out one by one."""
    if any(blocks_per_element(axis) > MOST_PARTS for axis in geometry.axes):
        return (
            f"it needs an extent, dilation*(kernel_size - 1) + 1, of at most "
            f"{MOST_PARTS} strides on every axis"
        )
    return None


def lower(
    x: jax.Array, w: jax.Array, geometry: Geometry, layout: Layout, numerics: Numerics
) -> jax.Array:
    """One `lax.dot_general`, then `_add_axis` for each spatial axis."""
    rank = geometry.rank
    y = tap_products(x, w, geometry, layout, numerics.summed())
    y = jnp.moveaxis(y, 1 + rank, 1)  # (N, groups, *space, *taps, O)
    for i, axis in enumerate(geometry.axes):
        # (N, groups, *done, space i, *space to do, taps i, *taps to do, O)
        y = jnp.moveaxis(y, 2 + rank, 3 + i)
        y = _add_axis(y, axis, at=2 + i)
    return merge_groups(y.astype(numerics.result), layout)


def _add_axis(y: jax.Array, axis: Axis, at: int) -> jax.Array:
    """(..., n, taps, ...) -> (..., out(n), ...)."""
    blocks = blocks_per_element(axis)
    pads = [(0, 0, 0)] * y.ndim
    pads[at + 1] = (0, blocks * axis.stride - axis.extent, axis.dilation - 1)
    y = pad(y, pads)
    parts = [
        _shifted(
            lax.slice_in_dim(y, j * axis.stride, (j + 1) * axis.stride, axis=at + 1),
            (j, blocks - 1 - j),
            at,
        )
        for j in range(blocks)
    ]
    total = merge_axes(sum(parts[1:], start=parts[0]), at)
    # The blocks hold (n + blocks - 1)*stride elements, the full output fewer.
    spare = blocks * axis.stride - axis.extent
    return crop_space(total, [(axis.low, axis.high + spare)], first=at)


def _shifted(y: jax.Array, by: tuple[int, int], at: int) -> jax.Array:
    pads = [(0, 0, 0)] * y.ndim
    pads[at] = (*by, 0)
    return pad(y, pads)


LOWERING = Lowering(
    name="overlap_add",
    summary="one GEMM of elements with taps, then shifted block additions",
    lower=lower,
    unsupported=unsupported,
)
