"""One stride-1 convolution of the undilated input for each output residue.

`Geometry` derives the phases. No zero of the dilation is multiplied, nothing cropped is
computed but the tail of the last block, and no zero pads a kernel, so non-finite values
stay where they belong.
"""

import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._geometry import Axis, Geometry, Phase, Size
from jconvt._layout import Layout
from jconvt._lowerings._common import (
    Lowering,
    crop_space,
    depth_to_space,
    grouped_weight,
    serves_all,
)
from jconvt._numerics import Numerics


def lower(
    x: jax.Array, w: jax.Array, geometry: Geometry, layout: Layout, numerics: Numerics
) -> jax.Array:
    """``prod(stride)`` convolutions in channels-last, interleaved."""
    # Widened here and narrowed again by each phase (which XLA drops): the transpose in
    # the input sums the phases' parts, and sums of 16-bit floats are in float32.
    x = layout.input_channels_last(x).astype(numerics.accumulation)
    w = grouped_weight(layout.weight_channels_first(w), geometry.groups)
    axes, size = geometry.axes, x.shape[1:-1]
    blocks = [n + axis.extra_blocks for n, axis in zip(size, axes, strict=True)]
    phases = list(itertools.product(*(axis.phases() for axis in axes)))
    made = {
        p: _phase(x, w, p, geometry.groups, numerics)
        for p in phases
        if all(phase.taps for phase in p)
    }
    # A phase without taps holds nothing. Zeros made from another phase share its
    # sharding, which explicit sharding asks of arrays that are stacked.
    empty = jnp.zeros_like(next(iter(made.values())))
    parts = [made.get(p, empty) for p in phases]
    y = _interleave(parts, geometry)
    y = crop_space(
        y, [_tail(axis, n, b) for axis, n, b in zip(axes, size, blocks, strict=True)]
    )
    return layout.output_from_channels_last(y)


def _tail(axis: Axis, n: Size, blocks: Size) -> tuple[int, Size]:
    return 0, blocks * axis.stride - axis.output_size(n)


def _phase(
    x: jax.Array,
    w: jax.Array,
    phases: tuple[Phase, ...],
    groups: int,
    numerics: Numerics,
) -> jax.Array:
    """The outputs of one residue per axis: (N, *blocks, C_out)."""
    taps = tuple(
        slice(p.first_tap, p.first_tap + (p.taps - 1) * p.tap_step + 1, p.tap_step)
        for p in phases
    )
    kernel = lax.rev(w[(slice(None), slice(None), *taps)], range(2, w.ndim))
    return lax.conv_general_dilated(
        x.astype(w.dtype),
        # Channels last throughout: inside scan and while bodies XLA:CPU only takes
        # its fast path for these dimension numbers (jax issue 12868).
        jnp.moveaxis(kernel, (0, 1), (-2, -1)),
        window_strides=(1,) * len(phases),
        padding=[p.pad for p in phases],
        rhs_dilation=[p.dilation for p in phases],
        dimension_numbers=channels_last_numbers(len(phases)),
        feature_group_count=groups,
        precision=numerics.precision,
        preferred_element_type=numerics.result,
    )


def channels_last_numbers(rank: int) -> lax.ConvDimensionNumbers:
    """``N`` + space + ``C``, kernel space + ``IO``, as axis numbers."""
    data = (0, rank + 1, *range(1, rank + 1))
    return lax.ConvDimensionNumbers(data, (rank + 1, rank, *range(rank)), data)


def _interleave(parts: list[jax.Array], geometry: Geometry) -> jax.Array:
    """Phases in row-major order of their residues -> (N, *(blocks*stride), C)."""
    rank = geometry.rank
    if math.prod(geometry.stride) == 1:
        return parts[0]
    y = jnp.stack(parts, axis=1 + rank)
    y = y.reshape(*y.shape[: 1 + rank], *geometry.stride, y.shape[-1])
    return depth_to_space(y, rank)


LOWERING = Lowering(
    name="phases",
    summary="one stride-1 convolution for each output residue",
    lower=lower,
    unsupported=serves_all,
)
