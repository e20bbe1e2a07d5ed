"""A ported layer as a class of `jconvt.nnx` or `jconvt.linen` with its options."""

from typing import Any

import jax
import jax.numpy as jnp

from jconvt._call.layout import dimension_numbers
from jconvt.interop._config import PortedConfig


def constructor(
    config: PortedConfig, weight: jax.Array, bias: jax.Array | None
) -> tuple[str, dict[str, Any]] | None:
    """The name of the class and its arguments, or None.

    The classes are for floats, one to three axes, and outputs of any size.
    """
    options = config.options
    if (
        options.rank not in (1, 2, 3)
        or config.fixed is not None
        or config.output_size is not None
        or not jnp.issubdtype(weight.dtype, jnp.inexact)
    ):
        return None
    data_format, *_ = dimension_numbers(options.rank, config.channels_last)
    return f"ConvTranspose{options.rank}d", {
        "in_channels": weight.shape[0],
        "out_channels": weight.shape[1] * options.groups,
        "kernel_size": weight.shape[2:],
        "bias": bias is not None,
        "data_format": data_format,
        "dtype": config.dtype,
        "param_dtype": weight.dtype,
        "precision": config.precision,
        "preferred_element_type": config.preferred_element_type,
        **options.keywords,
    }
