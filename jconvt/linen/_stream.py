"""A layer whose input arrives in chunks, and whose state is a collection."""

from dataclasses import KW_ONLY
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import canonicalize_dtype
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.tracebacks import ends_traceback
from jconvt._layers.flax import FlaxConfig, settle_fields
from jconvt._layers.torch import TorchConfig
from jconvt.linen._drop_in import ConvTranspose
from jconvt.linen._norms import (
    Layer,
    SpectralNorm,
    WeightNorm,
    parameter_name,
    read_variable,
)
from jconvt.linen._torch import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from jconvt.streaming import State, reset
from jconvt.streaming._layer import (
    NAME,
    LayerStream,
    StreamConfig,
    layer_stream,
    promote_by,
    stream_config,
)

_COLLECTION = "stream"


class Streaming(nn.Module):
    """A layer of this package for a signal that arrives in chunks.

    A call takes a chunk and gives the outputs that it completes: ``m*stride`` for m
    elements along the streamed axis. The outputs of all calls and of `flush`, without
    the first `delay` of them, are the layer's output of the whole signal. The layer's
    options, weight and dtypes are its own; a normalized layer is applied with the
    weight that it has now, and a `SpectralNorm` does not iterate.

    The state is the collection ``"stream"``, with the fields of
    `jconvt.streaming.State`, and must be mutable in each call. Without one a call
    begins a signal, with as many items as its chunk has. The layer's variables are
    below ``layer``. `jconvt.streaming` has the same as pure functions, and says more of
    them.

    Attributes:
      layer: a layer of this package, also in a `WeightNorm` or `SpectralNorm`.
      axis: which of the spatial axes is streamed: 0 is the first one.
      input_delay: how many of the first input elements come before the signal, with a
        `Streaming` below: its `delay`. They count as zeros.
      dtype: of the chunks. None: that of the weight.

    Raises:
      TypeError: at the call, not a layer of this package, or a field of the wrong kind.
      ValueError: at the call, a field out of range, or a padding that is periodic along
        the streamed axis.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jconvt.linen
      >>> up = jconvt.linen.ConvTranspose1d(8, 4, 16, 8, padding=4)
      >>> stream = jconvt.linen.Streaming(up)
      >>> signal = jnp.ones((2, 8, 10))
      >>> variables = stream.init(jax.random.key(0), signal[..., :3])
      >>> parts = []
      >>> for chunk in (signal[..., :3], signal[..., 3:]):
      ...     y, state = stream.apply(variables, chunk, mutable=["stream"])
      ...     parts.append(y)
      ...     variables = variables | state
      >>> parts.append(stream.apply(variables, method="flush"))
      >>> y = jnp.concatenate(parts, 2)[..., stream.delay:]
      >>> parameters = {"params": variables["params"]["layer"]}
      >>> bool(jnp.allclose(y, up.apply(parameters, signal), atol=1e-5))
      True
    """

    layer: Layer | WeightNorm | SpectralNorm
    _: KW_ONLY
    axis: int = 0
    input_delay: int = 0
    dtype: DTypeLike | None = None

    @property
    @ends_traceback
    def delay(self) -> int:
        """The number of outputs before the result, all zeros.

        It needs no variables, and is the `input_delay` of a `Streaming` on top.
        """
        return self._settings().stream.delay

    @ends_traceback
    def __call__(self, x: ArrayLike) -> jax.Array:
        """The next chunk of the signal.

        Args:
          x: batched or unbatched chunk, in the layer's data format, with any number of
            elements along the streamed axis.

        Returns:
          The outputs that it completes.

        Raises:
          TypeError: `x` is not an array of numbers, or of a dtype with which the layer
            computes in another one than the stream.
          ValueError: a shape that does not fit, or ``"stream"`` is not mutable.
        """
        stream, state = self._begun(x)
        state, y = stream.step(state, x)
        self._keep(state)
        return y

    @ends_traceback
    def masked_step(self, x: ArrayLike, mask: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """As a call, for items of a batch whose signals end in different places.

        Args:
          x: the chunk.
          mask: bools of shape ``(N, m)``, or ``(m,)`` without a batch: True before the
            end of an item's signal.

        Returns:
          The outputs, zeros after the end of an item's result, and their mask, which is
          the mask for a layer on top.

        Raises:
          TypeError: an argument of the wrong kind.
          ValueError: a shape that does not fit, or ``"stream"`` is not mutable.
        """
        stream, state = self._begun(x)
        state, y, valid = stream.masked_step(state, x, mask)
        self._keep(state)
        return y, valid

    @ends_traceback
    def flush(self) -> jax.Array:
        """What is left after the last chunk.

        Then a new signal begins, if the collection ``"stream"`` is mutable.

        Returns:
          The outputs along the streamed axis that the calls have not given. There may
          be none.

        Raises:
          ValueError: there is no state.
        """
        state = self._now()
        self._end(state)
        return self._stream().flush(state)

    @ends_traceback
    def masked_flush(self) -> tuple[jax.Array, jax.Array]:
        """As `flush`, after steps with masks.

        Returns:
          The outputs, zeros after the end of an item's result, and their mask.

        Raises:
          ValueError: there is no state.
        """
        state = self._now()
        self._end(state)
        return self._stream().masked_flush(state)

    @ends_traceback
    def reset(self, where: ArrayLike | None = None) -> None:
        """Begin a new signal; what was left of the old one is dropped.

        Args:
          where: bools of shape ``(N,)``: in which items of the batch. None: in all.

        Raises:
          TypeError: `where` does not hold bools.
          ValueError: `where` has another shape, there is no state, or it is not
            mutable.
        """
        state = self._now()
        self._keep(_zeros(state) if where is None else reset(state, where))

    @nn.nowrap
    def _begun(self, x: ArrayLike) -> tuple[LayerStream, State]:
        """The layer with its parameters, which are made at first, and the state."""
        if self.is_initializing():
            stand_in = self._settings().stand_in(x)
            is_spectral = isinstance(self.layer, SpectralNorm)
            self.layer(stand_in, **({"update_stats": False} if is_spectral else {}))
        stream = self._stream()
        if self.has_variable(_COLLECTION, "sums"):
            return stream, self._now()
        return stream, stream.init_like(x)

    @nn.nowrap
    def _now(self) -> State:
        """The state, or the error."""
        if not self.has_variable(_COLLECTION, "sums"):
            raise ValueError(
                f"{NAME}: the variables must hold the collection 'stream', the state "
                f"of a stream that has begun; got none. A call makes it: module.apply("
                f"variables, x, mutable=['stream'])."
            )
        return State(*(self.get_variable(_COLLECTION, f) for f in State._fields))

    @nn.nowrap
    def _keep(self, state: State) -> None:
        """Let the next call go on from this state, or the error."""
        if not self.is_mutable_collection(_COLLECTION):
            raise ValueError(
                f"{NAME}: the collection 'stream', the state of the stream, must be "
                f"mutable. Write module.apply(variables, x, mutable=['stream']), which "
                f"gives the output and the next state."
            )
        if self.is_initializing():
            state = _zeros(state)
        for name, value in state._asdict().items():
            self.put_variable(_COLLECTION, name, value)

    @nn.nowrap
    def _end(self, state: State) -> None:
        """Let the next call begin a signal, where a state can be kept."""
        if self.is_mutable_collection(_COLLECTION):
            self._keep(_zeros(state))

    @nn.nowrap
    def _settings(self) -> StreamConfig:
        layer = _config(_inner(self.layer))
        return stream_config(layer, self.axis, self.input_delay, self.dtype)

    @nn.nowrap
    def _stream(self) -> LayerStream:
        """The layer with the parameters that it has now."""
        outer, config = self.layer, self._settings()
        if isinstance(outer, WeightNorm | SpectralNorm):
            weight = outer._normalized_parameter()
            layer: Any = outer.layer_instance  # bound by that call
        else:
            layer = outer
            weight = read_variable(layer, "params", parameter_name(layer))
        if isinstance(layer, ConvTranspose):
            has_bias = layer.use_bias
            promote = partial(layer.promote_dtype, dtype=layer.dtype)
        else:
            has_bias = layer.bias
            promote = promote_by(canonicalize_dtype, config.layer.dtype)
        bias = read_variable(layer, "params", "bias") if has_bias else None
        return layer_stream(config, weight, bias, promote)


def _zeros(state: State) -> State:
    """The state at the beginning."""
    return jax.tree.map(jnp.zeros_like, state)


def _inner(layer: Any) -> Any:
    """The layer in a norm."""
    is_norm = isinstance(layer, WeightNorm | SpectralNorm)
    return layer.layer_instance if is_norm else layer


def _config(layer: Any) -> FlaxConfig | TorchConfig:
    """A layer's options, or the error."""
    if isinstance(layer, ConvTranspose):
        return settle_fields(layer)
    if isinstance(layer, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d):
        return layer._config
    raise TypeError(
        f"{NAME}: `layer` must be a ConvTranspose or ConvTranspose1d, 2d or 3d of "
        f"jconvt.linen, or a norm of one; got {type(layer).__name__}."
    )
