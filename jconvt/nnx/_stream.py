"""A layer whose input arrives in chunks, and which keeps the state of the stream."""

from typing import Any, Generic

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import canonicalize_dtype
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import Shape
from jconvt._call.tracebacks import ends_traceback
from jconvt._layers.flax import FlaxConfig, settle_fields
from jconvt._layers.torch import TorchConfig
from jconvt.nnx._drop_in import ConvTranspose
from jconvt.nnx._norms import L, SpectralNorm, WeightNorm
from jconvt.nnx._signature import shows_constructor
from jconvt.nnx._torch import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from jconvt.streaming import State, reset
from jconvt.streaming._layer import (
    NAME,
    LayerStream,
    StreamConfig,
    layer_stream,
    promote_by,
    stream_config,
)


class StreamState(nnx.Variable[jax.Array]):
    """The kind of the variables in which `Streaming` keeps the state of a stream.

    As a filter it tells them from parameters.

    Example:
      >>> from flax import nnx
      >>> import jconvt.nnx
      >>> up = jconvt.nnx.ConvTranspose1d(8, 4, 16, 8, rngs=nnx.Rngs(0))
      >>> stream = jconvt.nnx.Streaming(up, batch=2)
      >>> _, parameters, state = nnx.split(stream, nnx.Param, jconvt.nnx.StreamState)
      >>> sorted(state)
      ['heard', 'missing', 'sums']
    """


@shows_constructor
class Streaming(nnx.Module, Generic[L]):
    """A layer of this package for a signal that arrives in chunks.

    A call takes a chunk and gives the outputs that it completes: ``m*stride`` for m
    elements along the streamed axis. The outputs of all calls and of `flush`, without
    the first `delay` of them, are the layer's output of the whole signal. The layer's
    options, weight and dtypes are its own; a normalized layer is applied with the
    weight that it has now, and a `SpectralNorm` does not iterate.

    `jconvt.streaming` has the same as pure functions, and says more of them.

    Args:
      layer: a layer of this package, also in a `WeightNorm` or `SpectralNorm`. It is
        kept, not copied, and its parameters keep their names below ``layer``.
      batch: the number of items N; None: chunks have no batch axis.
      space: input sizes of the spatial axes that are not streamed, in the order of the
        layer's strides. Empty where there is one spatial axis.
      axis: which of the spatial axes is streamed: 0 is the first one.
      input_delay: how many of the first input elements come before the signal, with a
        `Streaming` below: its `delay`. They count as zeros.
      dtype: of the chunks. None: that of the weight.

    Attributes:
      layer: the layer.
      sums, heard, missing: `StreamState`, the fields of `jconvt.streaming.State`.

    Raises:
      TypeError: not a layer of this package, or an argument of the wrong kind.
      ValueError: an argument out of range, or a padding that is periodic along the
        streamed axis.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jconvt.nnx
      >>> up = jconvt.nnx.ConvTranspose1d(8, 4, 16, 8, padding=4, rngs=nnx.Rngs(0))
      >>> signal = jnp.ones((2, 8, 10))
      >>> stream = jconvt.nnx.Streaming(up, batch=2)
      >>> parts = [stream(signal[..., :3]), stream(signal[..., 3:]), stream.flush()]
      >>> [part.shape for part in parts]
      [(2, 4, 24), (2, 4, 56), (2, 4, 4)]
      >>> y = jnp.concatenate(parts, 2)[..., stream.delay:]
      >>> bool(jnp.allclose(y, up(signal), atol=1e-5))
      True
    """

    @ends_traceback
    def __init__(
        self,
        layer: L | WeightNorm[L] | SpectralNorm[L],
        *,
        batch: int | None = None,
        space: Shape = (),
        axis: int = 0,
        input_delay: int = 0,
        dtype: DTypeLike | None = None,
    ) -> None:
        settings = stream_config(_config(_inner(layer)), axis, input_delay, dtype)
        self.layer = layer
        self.axis = axis
        self.input_delay = input_delay
        self.dtype = settings.dtype
        state = self._stream().init(batch, space)
        self.sums = StreamState(state.sums)
        self.heard = StreamState(state.heard)
        self.missing = StreamState(state.missing)

    @property
    @ends_traceback
    def delay(self) -> int:
        """The number of outputs before the result, all zeros.

        It is the `input_delay` of a `Streaming` on top of this one.
        """
        return self._settings().stream.delay

    @property
    def state(self) -> State:
        """The state as `jconvt.streaming` has it."""
        return State(self.sums[...], self.heard[...], self.missing[...])

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
            computes in another one than at the beginning.
          ValueError: a shape that does not fit.
        """
        state, y = self._stream().step(self.state, x)
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
          ValueError: a shape that does not fit.
        """
        state, y, valid = self._stream().masked_step(self.state, x, mask)
        self._keep(state)
        return y, valid

    @ends_traceback
    def flush(self) -> jax.Array:
        """What is left after the last chunk; then a new signal begins.

        Returns:
          The outputs along the streamed axis that the calls have not given. There may
          be none.
        """
        y = self._stream().flush(self.state)
        self.reset()
        return y

    @ends_traceback
    def masked_flush(self) -> tuple[jax.Array, jax.Array]:
        """As `flush`, after steps with masks.

        Returns:
          The outputs, zeros after the end of an item's result, and their mask.
        """
        y, valid = self._stream().masked_flush(self.state)
        self.reset()
        return y, valid

    @ends_traceback
    def reset(self, where: ArrayLike | None = None) -> None:
        """Begin a new signal; what was left of the old one is dropped.

        Args:
          where: bools of shape ``(N,)``: in which items of the batch. None: in all.

        Raises:
          TypeError: `where` does not hold bools.
          ValueError: `where` has another shape.
        """
        if where is None:
            self._keep(jax.tree.map(jnp.zeros_like, self.state))
        else:
            self._keep(reset(self.state, where))

    def _keep(self, state: State) -> None:
        self.sums[...], self.heard[...], self.missing[...] = state

    def _settings(self) -> StreamConfig:
        layer = _config(_inner(self.layer))
        return stream_config(layer, self.axis, self.input_delay, self.dtype)

    def _stream(self) -> LayerStream:
        layer: Any = self.layer
        if isinstance(layer, WeightNorm | SpectralNorm):
            layer = layer.normalized()
        config, bias = self._settings(), layer.bias
        bias = None if bias is None else bias[...]
        if not isinstance(layer, ConvTranspose):
            promote = promote_by(canonicalize_dtype, config.layer.dtype)
            return layer_stream(config, layer.weight[...], bias, promote)

        def promote_all(*arrays: jax.Array | None) -> Any:
            return layer.promote_dtype(arrays, dtype=layer.dtype)

        return layer_stream(config, layer.kernel[...], bias, promote_all)


def _inner(layer: Any) -> Any:
    """The layer in a norm."""
    is_norm = isinstance(layer, WeightNorm | SpectralNorm)
    return layer.layer_instance if is_norm else layer


def _config(layer: Any) -> FlaxConfig | TorchConfig:
    """A layer's options, or the error."""
    if isinstance(layer, ConvTranspose):
        return settle_fields(layer)
    if isinstance(layer, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d):
        return layer.config
    raise TypeError(
        f"{NAME}: `layer` must be a ConvTranspose or ConvTranspose1d, 2d or 3d of "
        f"jconvt.nnx, or a norm of one; got {type(layer).__name__}. Layers of Flax "
        f"become ones by jconvt.nnx.replace_conv_transpose."
    )
