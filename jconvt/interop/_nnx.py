"""Ported layers for Flax NNX."""

from typing import Any

import jax
from flax import nnx
from jax.typing import ArrayLike

import jconvt.nnx
from jconvt._call.arguments import IntOrInts
from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._layers import constructor
from jconvt.interop._ported import PortedLayer


class PortedModule(nnx.Module):
    """A ported layer whose options no class of `jconvt.nnx` can say.

    Attributes:
      weight: `nnx.Param`, ``(C_in, C_out/groups, *K)``.
      bias: `nnx.Param`, ``(C_out,)``, or None.
      static: all the rest.
    """

    @ends_traceback
    def __init__(self, layer: PortedLayer) -> None:
        self.static = layer.static
        self.weight = nnx.Param(layer.weight)
        self.bias: nnx.Param[Any] | None
        self.bias = nnx.data(None) if layer.bias is None else nnx.Param(layer.bias)

    @ends_traceback
    def __call__(self, x: ArrayLike, output_size: IntOrInts | None = None) -> jax.Array:
        """As `PortedLayer.apply`."""
        bias = None if self.bias is None else self.bias[...]
        layer = PortedLayer(self.weight[...], bias, self.static)
        return layer.apply(x, output_size)


def layer_of(layer: PortedLayer) -> nnx.Module:
    """As `PortedLayer.to_nnx`."""
    found = constructor(layer)
    if found is None:
        return PortedModule(layer)
    name, arguments = found
    return getattr(jconvt.nnx, name)(
        **arguments,
        weight_init=lambda *_: layer.weight,
        bias_init=lambda *_: layer.bias,
        rngs=nnx.Rngs(0),  # a constructor asks for one; nothing is drawn
    )
