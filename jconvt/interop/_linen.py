"""Ported layers for Flax Linen."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import ArrayLike, DTypeLike

import jconvt.linen
from jconvt._call.arguments import IntOrInts
from jconvt._call.tracebacks import ends_traceback
from jconvt.initializers import torch_uniform
from jconvt.interop._config import PortedConfig
from jconvt.interop._layers import constructor


class PortedModule(nn.Module):
    """A ported layer whose options no class of `jconvt.linen` takes.

    Its parameters are ``weight`` and, where there is a `bias_shape`, ``bias``.
    """

    config: PortedConfig
    weight_shape: tuple[int, ...]
    bias_shape: tuple[int, ...] | None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    @ends_traceback
    def __call__(self, x: ArrayLike, output_size: IntOrInts | None = None) -> jax.Array:
        """As `PortedLayer.apply`."""
        init, shape = torch_uniform(), self.weight_shape
        weight = self.param("weight", init, shape, self.param_dtype)
        bias = None
        if self.bias_shape is not None:
            zeros = nn.initializers.zeros
            bias = self.param("bias", zeros, self.bias_shape, self.param_dtype)
        return self.config(x, weight, bias, output_size)


def layer_of(
    config: PortedConfig, weight: jax.Array, bias: jax.Array | None
) -> tuple[nn.Module, dict[str, Any]]:
    """As `PortedLayer.to_linen`."""
    parameters = {"weight": weight} | ({} if bias is None else {"bias": bias})
    variables = {"params": parameters}
    found = constructor(config, weight, bias)
    if found is not None:
        name, arguments = found
        return getattr(jconvt.linen, name)(**arguments), variables
    module = PortedModule(
        config=config,
        weight_shape=weight.shape,
        bias_shape=None if bias is None else bias.shape,
        param_dtype=weight.dtype,
    )
    return module, variables
