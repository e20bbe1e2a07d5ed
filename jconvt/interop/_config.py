"""`PortedConfig`: a ported layer without its parameters, which computes with them."""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jconvt._call.arguments import IntOrInts
from jconvt._call.numerics import check_array
from jconvt._call.options import Options, Pairs
from jconvt._call.padding import onnx_output_shape
from jconvt._layers.config import LayerConfig


@dataclass(frozen=True, slots=True)
class FixedSize:
    """ONNX's `output_shape`: a size, and a crop that depends on the input's."""

    size: tuple[int, ...]
    lower: bool

    def padding(
        self, options: Options, kernel_size: tuple[int, ...], input_size: Any
    ) -> Pairs:
        """The crop of an input of that spatial size."""
        axes = zip(
            input_size,
            kernel_size,
            options.stride,
            options.dilation,
            options.output_padding,
            self.size,
            strict=True,
        )
        crops = (
            onnx_output_shape(n, d * (k - 1) + 1, s, a, m, lower=self.lower)
            for n, k, s, d, a, m in axes
        )
        return tuple((crop.low, crop.high) for crop in crops)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortedConfig(LayerConfig):
    """All of a ported layer but its parameters: hashable, without arrays.

    Attributes:
      channels_last: whether the source's data is.
      output_size: the only output size that the source has, if so.
      fixed: the same where the crop depends on the input's size.
    """

    channels_last: bool
    output_size: tuple[int, ...] | None = None
    fixed: FixedSize | None = None

    def __call__(
        self,
        input: ArrayLike,
        weight: ArrayLike,
        bias: ArrayLike | None,
        output_size: IntOrInts | None = None,
    ) -> jax.Array:
        """The layer's output; the arguments are those of `PortedLayer.apply`."""
        x = check_array(self.options.function, "input", input)
        axes = max(x.ndim - self.options.rank - 1, 0)
        batch, one = x.shape[:axes], x.shape[axes:]
        if len(batch) > 1:
            output_size = self._spatial(output_size, x.ndim)
            flat = jnp.reshape(x, (math.prod(batch), *one))
            y = self(flat, weight, bias, output_size)
            return jnp.reshape(y, (*batch, *y.shape[1:]))
        if self.fixed is not None:
            space = one[:-1] if self.channels_last else one[1:]
            config = self.for_input(np.shape(weight)[2:], space)
            return config(x, weight, bias, output_size)
        size = self.output_size if output_size is None else output_size
        return self.run(x, weight, bias, size, self.dtype)

    def for_input(
        self, kernel_size: tuple[int, ...], input_size: tuple[int, ...]
    ) -> Self:
        """The same with a padding that serves inputs of this spatial size alone.

        Where the crop does not depend on the input's size: the same.
        """
        options, fixed = self.options, self.fixed
        if fixed is None:
            return self
        # `output_size` is this padding's size, so any other input is out of reach.
        padding = tuple(
            (low, high - a)
            for (low, high), a in zip(
                fixed.padding(options, kernel_size, input_size),
                options.output_padding,
                strict=True,
            )
        )
        options = replace(options, padding=padding, output_padding=(0,) * options.rank)
        return replace(self, options=options, fixed=None, output_size=fixed.size)
