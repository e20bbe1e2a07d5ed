"""A layer as a stream: what the modules of both Flax APIs share.

They hand over the layer's configuration and parameters, and keep the state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import Shape
from jconvt._call.geometry import Size
from jconvt._call.numerics import as_dtype, check_array
from jconvt._call.options import GeometryOptions
from jconvt._layers.config import LayerConfig
from jconvt._layers.flax import FlaxConfig
from jconvt._layers.torch import TorchConfig
from jconvt.streaming._flush import flush, masked_flush
from jconvt.streaming._init import init
from jconvt.streaming._state import State
from jconvt.streaming._step import masked_step, step
from jconvt.streaming._stream import Stream, stream_of

NAME = "Streaming"

Operands = tuple[jax.Array, jax.Array, jax.Array | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """A streamed layer without its parameters.

    Attributes:
      layer: the configuration of the layer.
      stream: the facts of its stream.
      dtype: of the chunks; None: that of the weight.
    """

    layer: FlaxConfig | TorchConfig
    stream: Stream
    dtype: np.dtype[Any] | None

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of the functions of `jconvt.streaming`, but `input_delay`."""
        return {
            **_geometry(self.layer),
            "axis": self.stream.number,
            "precision": self.layer.precision,
            "preferred_element_type": self.layer.preferred_element_type,
            "lowering": self.layer.lowering,
        }

    def check_input(self, x: Any) -> Any:
        """A chunk, or the error."""
        x, axes = check_array(NAME, "x", x), self.layer.options.rank + 2
        if x.ndim not in (axes - 1, axes):
            raise ValueError(
                f"{NAME}: `x` must have {axes} axes, or {axes - 1} without a batch; "
                f"got shape {x.shape}."
            )
        return x

    def stand_in(self, x: Any) -> jax.Array:
        """Zeros like a chunk, with enough elements for an output of the layer itself.

        Its crop may remove more than the outputs of a short chunk.
        """
        shape = list(self.check_input(x).shape)
        *_, streamed = self.stream.input_axes(len(shape) == self.layer.options.rank + 2)
        axis = self.stream.axis
        shape[streamed] = 1 + max(0, axis.low + axis.high)
        return jnp.zeros(shape, x.dtype)


def stream_config(
    layer: FlaxConfig | TorchConfig, axis: object, input_delay: object, dtype: Any
) -> StreamConfig:
    """The checked settings of a stream, or the error."""
    layout, groups = layer.options.layout, layer.options.groups
    sizes = zip(layout.weight, (groups, 1, *layer.kernel_size), strict=True)
    stream = stream_of(
        NAME,
        tuple(size for _, size in sorted(sizes)),  # the channels do not matter
        input_delay=input_delay,
        axis=axis,
        output_size=None,
        **_geometry(layer),
    )
    dtype = None if dtype is None else as_dtype(NAME, dtype)
    return StreamConfig(layer=layer, stream=stream, dtype=dtype)


def _geometry(layer: LayerConfig) -> GeometryOptions:
    """A layer's options, as a function takes them."""
    layout = layer.options.layout
    i, o, *space = layout.weight
    numbers = lax.ConvDimensionNumbers(layout.input, (o, i, *space), layout.output)
    return {**layer.options.keywords, "dimension_numbers": numbers}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStream:
    """A streamed layer with its parameters.

    Attributes:
      config: all else.
      weight: in the layout of the configuration.
      bias: ``(C_out,)``, or None.
      promote: casts input, weight and bias as the layer does.
    """

    config: StreamConfig
    weight: jax.Array
    bias: jax.Array | None
    promote: Callable[[jax.Array, jax.Array, jax.Array | None], Operands]

    def init(self, batch: Size | None, space: Shape) -> State:
        """The state before the first element."""
        x, w, _ = self._promoted(self._no_elements)
        return init(
            w.shape, batch=batch, space=space, dtype=x.dtype, **self.config.options
        )

    def init_like(self, x: ArrayLike) -> State:
        """The state before the first element, for chunks of the sizes of this one."""
        shape = self.config.check_input(x).shape
        layout = self.config.layer.options.layout
        batched = len(shape) == len(layout.input)
        space = list(layout.spatial(shape, batched))
        del space[self.config.stream.number]
        return self.init(shape[layout.input[0]] if batched else None, tuple(space))

    def step(self, state: State, x: ArrayLike) -> tuple[State, jax.Array]:
        """As `jconvt.streaming.step`."""
        return step(state, *self._chunk(x), **self._delayed)

    def masked_step(
        self, state: State, x: ArrayLike, mask: ArrayLike
    ) -> tuple[State, jax.Array, jax.Array]:
        """As `jconvt.streaming.masked_step`."""
        x, w, b = self._chunk(x)
        return masked_step(state, x, mask, w, b, **self._delayed)

    def flush(self, state: State) -> jax.Array:
        """As `jconvt.streaming.flush`."""
        x, w, b = self._promoted(self._no_elements)
        return flush(state, w, b, dtype=x.dtype, **self._delayed)

    def masked_flush(self, state: State) -> tuple[jax.Array, jax.Array]:
        """As `jconvt.streaming.masked_flush`."""
        x, w, b = self._promoted(self._no_elements)
        return masked_flush(state, w, b, dtype=x.dtype, **self._delayed)

    @property
    def _delayed(self) -> dict[str, Any]:
        delay = self.config.stream.input_delay
        return {"input_delay": delay, **self.config.options}

    @property
    def _no_elements(self) -> jax.Array:
        """An input of the chunks' dtype."""
        dtype = self.config.dtype
        return jnp.zeros(0, self.weight.dtype if dtype is None else dtype)

    def _chunk(self, x: Any) -> Operands:
        """The operands for a chunk, or the error if it changed the stream's dtype."""
        x = self.config.check_input(x)
        operands, (wanted, *_) = self._promoted(x), self._promoted(self._no_elements)
        if operands[0].dtype != wanted.dtype:
            raise TypeError(
                f"{NAME}: `x` must be of a dtype for which the layer computes in "
                f"{wanted.dtype}, as this stream does; got {x.dtype}, for which it is "
                f"{operands[0].dtype}. Write dtype={x.dtype.name!r} where Streaming is "
                f"made, or .astype({wanted.dtype.name!r})."
            )
        return operands

    def _promoted(self, x: jax.Array) -> Operands:
        """The operands as the layer computes with them, or the error."""
        x, w, b = operands = self.promote(x, self.weight, self.bias)
        dtypes = {a.dtype for a in operands if a is not None}
        if len(dtypes) > 1:
            raise TypeError(
                f"{NAME}: the layer's `promote_dtype` must cast inputs, kernel and "
                f"bias to one dtype; got {', '.join(sorted(map(str, dtypes)))}."
            )
        return x, w, b


def layer_stream(
    config: StreamConfig,
    parameter: jax.Array,
    bias: jax.Array | None,
    promote: Callable[..., Any],
) -> LayerStream:
    """A layer with its parameters; `parameter` is its weight, or Flax's kernel."""
    layer, weight = config.layer, parameter
    if isinstance(layer, FlaxConfig):
        layer.check_kernel(parameter)
        weight = layer.kernel.oriented(layer.masked(parameter))
    return LayerStream(config=config, weight=weight, bias=bias, promote=promote)


def promote_by(
    canonicalize_dtype: Callable[..., DTypeLike], dtype: DTypeLike | None
) -> Callable[[jax.Array, jax.Array, jax.Array | None], Operands]:
    """How layers with PyTorch's constructors cast; Flax's function, a layer's dtype."""

    def promote(x: jax.Array, weight: jax.Array, bias: jax.Array | None) -> Operands:
        common = canonicalize_dtype(x, weight, bias, dtype=dtype)
        bias = None if bias is None else jnp.asarray(bias, common)
        return jnp.asarray(x, common), jnp.asarray(weight, common), bias

    return promote
