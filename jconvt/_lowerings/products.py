"""The products of every input element with every tap, as one GEMM."""

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.geometry import Geometry
from jconvt._call.layout import Layout
from jconvt._call.numerics import Numerics
from jconvt._lowerings.axes import merge_axes, permute


def tap_products(
    x: jax.Array, w: jax.Array, geometry: Geometry, layout: Layout, numerics: Numerics
) -> jax.Array:
    """(N, *space, groups, *taps, O): products, summed over the inputs of a group.

    One `lax.dot_general` whose contraction is C_in/groups and whose batch is the group.
    """
    rank, groups = geometry.rank, geometry.groups
    x = permute(x, layout.input_channels_last)
    w = jnp.moveaxis(permute(w, layout.weight_channels_first), 1, -1)
    contracting, batch = ((rank + 1,), (0,)), ((), ())
    if groups > 1:
        x = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
        w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
        contracting, batch = ((rank + 2,), (1,)), ((rank + 1,), (0,))
    y = lax.dot_general(
        x,
        w,
        dimension_numbers=(contracting, batch),
        precision=numerics.precision,
        preferred_element_type=numerics.result,
    )
    if groups == 1:
        return jnp.expand_dims(y, 1 + rank)
    return jnp.moveaxis(y, 0, 1 + rank)


def merge_groups(y: jax.Array, layout: Layout) -> jax.Array:
    """(N, groups, *space, O) -> the output in the caller's layout."""
    y = jnp.moveaxis(y, 1, -2)
    return permute(merge_axes(y, y.ndim - 2), layout.output_from_channels_last)
