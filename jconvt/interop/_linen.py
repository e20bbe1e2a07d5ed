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
from jconvt.interop._layers import constructor
from jconvt.interop._ported import PortedLayer
from jconvt.interop._static import Static


class PortedModule(nn.Module):
    """A ported layer whose options no class of `jconvt.linen` can say.

    Its parameters are ``weight`` and, where there is a `bias_shape`, ``bias``.
    """

    static: Static
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
        return PortedLayer(weight, bias, self.static).apply(x, output_size)


def layer_of(layer: PortedLayer) -> tuple[nn.Module, dict[str, Any]]:
    """As `PortedLayer.to_linen`."""
    parameters = {"weight": layer.weight}
    if layer.bias is not None:
        parameters["bias"] = layer.bias
    variables = {"params": parameters}
    found = constructor(layer)
    if found is not None:
        name, arguments = found
        return getattr(jconvt.linen, name)(**arguments), variables
    module = PortedModule(
        static=layer.static,
        weight_shape=layer.weight.shape,
        bias_shape=None if layer.bias is None else layer.bias.shape,
        param_dtype=layer.weight.dtype,
    )
    return module, variables
