"""jconvt's functions and JAX's own."""

from collections.abc import Callable
from functools import partial

import jax

import jconvt
from benchmarks import native as forms
from benchmarks.contenders._prepared import (
    Form,
    Prepared,
    Unsupported,
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


def native(layer: Layer, dtype: str, channels_last: bool = False) -> Form:
    """`lax.conv_general_dilated` with ``lhs_dilation``, differentiated by JAX."""
    return _of_lax(forms.native, layer, dtype, channels_last)


def padded(layer: Layer, dtype: str) -> Form:
    """Equinox's form after 0.13.8, channels first, differentiated by JAX."""
    return _of_lax(forms.padded, layer, dtype, channels_last=False)


def _of_lax(
    form: Callable[..., jax.Array], layer: Layer, dtype: str, channels_last: bool
) -> Form:
    space = "DHW"[3 - layer.rank :]
    data = f"N{space}C" if channels_last else f"NC{space}"
    axes = (data, f"IO{space}", data)
    forward = partial(form, layer, axes=axes, result=_result_dtype(dtype))
    arrays = jax_arrays(layer, dtype, last=channels_last)
    return _form(forward, arrays, channels_last=channels_last)


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
