"""A ported layer as a class of `jconvt.nnx` or `jconvt.linen`, where one can say it."""

from typing import Any

import jax.numpy as jnp

from jconvt._call.fit import geometry_of
from jconvt._call.padding import PERIODIC
from jconvt.interop._ported import PortedLayer
from jconvt.interop._static import dimension_numbers
from jconvt.interop._targets import symmetric


def constructor(layer: PortedLayer) -> tuple[str, dict[str, Any]] | None:
    """The name of the class and its arguments, or None.

    The classes are for floats, one to three axes, and PyTorch's padding.
    """
    static, options, weight = layer.static, layer.static.options, layer.weight
    if (
        options.rank not in (1, 2, 3)
        or options.padding in PERIODIC
        or static.fixed is not None
        or static.output_size is not None
        or not jnp.issubdtype(weight.dtype, jnp.inexact)
    ):
        return None
    crop = geometry_of(options, weight.shape[2:]).crop
    paddings = symmetric(crop, options.stride, options.dilation)
    if paddings is None:
        return None
    data_format, *_ = dimension_numbers(options.rank, static.channels_last)
    return f"ConvTranspose{options.rank}d", {
        "in_channels": weight.shape[0],
        "out_channels": weight.shape[1] * options.groups,
        "kernel_size": weight.shape[2:],
        "stride": options.stride,
        "padding": paddings[0],
        "output_padding": paddings[1],
        "groups": options.groups,
        "bias": layer.bias is not None,
        "dilation": options.dilation,
        "data_format": data_format,
        "dtype": static.dtype,
        "param_dtype": weight.dtype,
        "precision": static.precision,
        "preferred_element_type": static.preferred_element_type,
    }
