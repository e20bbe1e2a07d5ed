"""A ported layer as a class of `jconvt.nnx` or `jconvt.linen`, where one can say it."""

from typing import Any

import jax
import jax.numpy as jnp

from jconvt._call.fit import geometry_of
from jconvt._call.layout import dimension_numbers
from jconvt._call.padding import PERIODIC
from jconvt.interop._config import PortedConfig
from jconvt.interop._paddings import symmetric


def constructor(
    config: PortedConfig, weight: jax.Array, bias: jax.Array | None
) -> tuple[str, dict[str, Any]] | None:
    """The name of the class and its arguments, or None.

    The classes are for floats, one to three axes, and PyTorch's padding.
    """
    options = config.options
    if (
        options.rank not in (1, 2, 3)
        or options.padding in PERIODIC
        or config.fixed is not None
        or config.output_size is not None
        or not jnp.issubdtype(weight.dtype, jnp.inexact)
    ):
        return None
    crop = geometry_of(options, weight.shape[2:]).crop
    paddings = symmetric(crop, options.stride, options.dilation)
    if paddings is None:
        return None
    data_format, *_ = dimension_numbers(options.rank, config.channels_last)
    return f"ConvTranspose{options.rank}d", {
        "in_channels": weight.shape[0],
        "out_channels": weight.shape[1] * options.groups,
        "kernel_size": weight.shape[2:],
        "stride": options.stride,
        "padding": paddings[0],
        "output_padding": paddings[1],
        "groups": options.groups,
        "bias": bias is not None,
        "dilation": options.dilation,
        "data_format": data_format,
        "dtype": config.dtype,
        "param_dtype": weight.dtype,
        "precision": config.precision,
        "preferred_element_type": config.preferred_element_type,
    }
