"""Checks that every `to_*` function shares: an error names what the target lacks."""

import jax.numpy as jnp

from jconvt._call.fit import geometry_of
from jconvt._call.options import Pairs
from jconvt.interop._ported import PortedLayer


def check_layer(function: str, layer: object) -> PortedLayer:
    """`layer` if it is a `PortedLayer`, or a TypeError."""
    if not isinstance(layer, PortedLayer):
        raise TypeError(
            f"{function}: `layer` must be a PortedLayer; got {type(layer).__name__}. "
            f"Read it first, for example with jconvt.interop.from_flax."
        )
    return layer


def refuse(function: str, option: str, value: object, reason: str) -> ValueError:
    """The error for an option that the target does not have."""
    return ValueError(f"{function}: {reason}; the layer's `{option}` is {value!r}.")


def fixed_crop(function: str, layer: PortedLayer) -> Pairs:
    """The crop, `output_padding` included, if one serves inputs of every size."""
    config = layer.config
    if any(config.options.periodic):
        raise refuse(
            function,
            "padding",
            config.options.padding,
            "the target has no such padding",
        )
    if config.fixed is not None:
        raise refuse(
            function,
            "output_size",
            config.fixed.size,
            "the crop depends on the input's size, see PortedLayer.for_input",
        )
    return geometry_of(config.options, layer.weight.shape[2:]).crop


def check_one_dtype(function: str, layer: PortedLayer) -> None:
    """A ValueError unless all is of the weight's dtype, as in the target."""
    config, bias = layer.config, layer.bias
    for option, value in (
        ("bias.dtype", None if bias is None else bias.dtype),
        ("dtype", config.dtype),
        ("preferred_element_type", config.preferred_element_type),
    ):
        if value is not None and value != layer.weight.dtype:
            reason = "the target computes in its weight's dtype"
            raise refuse(function, option, jnp.dtype(value).name, reason)
