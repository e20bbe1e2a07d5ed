"""JAX's own form, which the layers of Flax, Haiku and Equinox use too."""

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.layers import Layer


def native(
    layer: Layer,
    x: jax.Array,
    w: jax.Array,
    b: jax.Array,
    axes: tuple[str, str, str],
    result: str | None = None,
) -> jax.Array:
    """`lax.conv_general_dilated` with ``lhs_dilation``; `axes` as lax writes them."""
    groups, rank = layer.groups, layer.rank
    c_in, c_out, *taps = w.shape
    w = w.reshape(groups, c_in // groups, c_out, *taps).swapaxes(0, 1)
    w = w.reshape(c_in // groups, groups * c_out, *taps)
    y = lax.conv_general_dilated(
        x,
        jnp.flip(w, range(2, w.ndim)),
        (1,) * rank,
        dilated_pads(layer),
        lhs_dilation=layer.stride,
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
