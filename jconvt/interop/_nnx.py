"""Ported layers for Flax NNX."""

from typing import Any

import jax
from flax import nnx
from jax.typing import ArrayLike

import jconvt.nnx
from jconvt._call.arguments import IntOrInts
from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._config import PortedConfig
from jconvt.interop._layers import constructor


class PortedModule(nnx.Module):
    """A ported layer whose options no class of `jconvt.nnx` takes.

    Attributes:
      weight: `nnx.Param`, ``(C_in, C_out/groups, *K)``.
      bias: `nnx.Param`, ``(C_out,)``, or None.
      config: all the rest.
    """

    @ends_traceback
    def __init__(
        self, config: PortedConfig, weight: jax.Array, bias: jax.Array | None
    ) -> None:
        self.config = config
        self.weight = nnx.Param(weight)
        self.bias: nnx.Param[Any] | None
        self.bias = nnx.data(None) if bias is None else nnx.Param(bias)

    @ends_traceback
    def __call__(self, x: ArrayLike, output_size: IntOrInts | None = None) -> jax.Array:
        """As `PortedLayer.apply`."""
        bias = None if self.bias is None else self.bias[...]
        return self.config(x, self.weight[...], bias, output_size)


def layer_of(
    config: PortedConfig, weight: jax.Array, bias: jax.Array | None
) -> nnx.Module:
    """As `PortedLayer.to_nnx`."""
    found = constructor(config, weight, bias)
    if found is None:
        return PortedModule(config, weight, bias)
    name, arguments = found
    return getattr(jconvt.nnx, name)(
        **arguments,
        weight_init=lambda *_: weight,
        bias_init=lambda *_: bias,
        rngs=nnx.Rngs(0),  # a constructor asks for one; nothing is drawn
    )
