"""JAX's own form, which Flax, Haiku and Equinox use too, and Equinox's newest one."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.layers import Layer

Pads = Sequence[tuple[int, int]]


def native(
    layer: Layer,
    x: jax.Array,
    w: jax.Array,
    b: jax.Array,
    axes: tuple[str, str, str],
    result: str | None = None,
) -> jax.Array:
    """`lax.conv_general_dilated` with ``lhs_dilation``; `axes` as lax writes them."""
    return _convolved(layer, x, w, b, axes, result, dilated_pads(layer), layer.stride)


def padded(
    layer: Layer,
    x: jax.Array,
    w: jax.Array,
    b: jax.Array,
    axes: tuple[str, str, str],
    result: str | None = None,
) -> jax.Array:
    """A convolution of an input that `lax.pad` has zero-inflated.

    Equinox's layer is written so after its version 0.13.8.
    """
    inflated = {
        axis: (0, a, s - 1)
        for axis, a, s in zip(
            "DHW"[3 - layer.rank :], layer.output_padding, layer.stride, strict=True
        )
    }
    x = lax.pad(
        x, jnp.zeros((), x.dtype), [inflated.get(a, (0, 0, 0)) for a in axes[0]]
    )
    around = [e - 1 - p for e, p in zip(layer.extent, layer.padding, strict=True)]
    pads = [(n, n) for n in around]
    return _convolved(layer, x, w, b, axes, result, pads, (1,) * layer.rank)


def _convolved(
    layer: Layer,
    x: jax.Array,
    w: jax.Array,
    b: jax.Array,
    axes: tuple[str, str, str],
    result: str | None,
    pads: Pads,
    lhs_dilation: tuple[int, ...],
) -> jax.Array:
    groups, rank = layer.groups, layer.rank
    c_in, c_out, *taps = w.shape
    w = w.reshape(groups, c_in // groups, c_out, *taps).swapaxes(0, 1)
    w = w.reshape(c_in // groups, groups * c_out, *taps)
    y = lax.conv_general_dilated(
        x,
        jnp.flip(w, range(2, w.ndim)),
        (1,) * rank,
        pads,
        lhs_dilation=lhs_dilation,
        rhs_dilation=layer.dilation,
        dimension_numbers=axes,
        feature_group_count=groups,
        preferred_element_type=result,
    )
    return y + (b if axes[2].endswith("C") else b.reshape(-1, *(1,) * rank))


def dilated_pads(layer: Layer) -> list[tuple[int, int]]:
    """The crop as zeros around the dilated input: what lax, Flax and Haiku pad."""
    return [
        (e - 1 - p, e - 1 - p + a)
        for e, p, a in zip(
            layer.extent, layer.padding, layer.output_padding, strict=True
        )
    ]
