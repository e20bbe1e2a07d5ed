"""jconvt's functions and JAX's own."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

import jconvt
from benchmarks.contenders._prepared import (
    Form,
    Prepared,
    Unsupported,
    dilated_pads,
    jax_arrays,
)
from benchmarks.layers import Layer


def jconvt_first(layer: Layer, dtype: str, lowering: str = "auto") -> Form:
    """jconvt, channels first."""
    forward = partial(
        jconvt.conv_transpose,
        preferred_element_type=_result_dtype(dtype),
        lowering=lowering,
        **layer.options,
    )
    return _form(forward, jax_arrays(layer, dtype))


def jconvt_last(layer: Layer, dtype: str) -> Form:
    """jconvt, channels last; the weight in PyTorch's layout."""
    space = "DHW"[3 - layer.rank :]
    forward = partial(
        jconvt.conv_transpose,
        dimension_numbers=(f"N{space}C", f"IO{space}", f"N{space}C"),
        preferred_element_type=_result_dtype(dtype),
        **layer.options,
    )
    return _form(forward, jax_arrays(layer, dtype, last=True), channels_last=True)


def jconvt_lowering(layer: Layer, dtype: str, train: bool, lowering: str) -> Prepared:
    """One of jconvt's lowerings, where it can serve."""
    form = jconvt_first(layer, dtype, lowering)
    function, arguments = form.task(train)
    try:
        jax.eval_shape(function, *arguments)
    except ValueError as error:
        raise Unsupported from error
    return form.prepared(train)


def native(layer: Layer, dtype: str) -> Form:
    """`lax.conv_general_dilated` with ``lhs_dilation``, differentiated by JAX."""
    space = "DHW"[3 - layer.rank :]

    def forward(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
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
            dimension_numbers=(f"NC{space}", f"IO{space}", f"NC{space}"),
            feature_group_count=groups,
            preferred_element_type=_result_dtype(dtype),
        )
        return y + b.reshape(-1, *(1,) * rank)

    return _form(forward, jax_arrays(layer, dtype))


def _form(
    forward: Callable[..., jax.Array], arrays: list[jax.Array], **layout: bool
) -> Form:
    *operands, cotangent = arrays
    return Form(
        forward=forward, operands=tuple(operands), cotangent=cotangent, **layout
    )


def _result_dtype(dtype: str) -> str | None:
    """Sums of 8-bit products do not fit into 8 bits; other results have `dtype`."""
    return "int32" if dtype == "int8" else None
