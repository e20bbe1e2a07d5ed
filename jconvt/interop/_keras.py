"""Keras 3: its transposed convolution layers."""

from typing import Any

import jax.numpy as jnp

from jconvt._call.padding import keras_same
from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._kernels import from_channels_last
from jconvt.interop._paddings import per_axis
from jconvt.interop._port import port
from jconvt.interop._ported import PortedLayer


@ends_traceback
def from_keras(layer: Any, *, ignore_activation: bool = False) -> PortedLayer:
    """A `Conv1DTranspose`, `Conv2DTranspose` or `Conv3DTranspose` of Keras 3.

    Matched is what its JAX backend computes, with which TensorFlow's agrees where it
    accepts the options. Without `output_padding`, ``same`` gives n*strides output
    elements and ``valid`` as many as lax does; with one, ``same`` gives
    ``(n-1)*strides + e % 2 + output_padding`` for a dilated kernel of e taps, whatever
    the strides, and ``valid`` as many as PyTorch does.

    Args:
      layer: a layer that is built, on any backend.
      ignore_activation: accept a layer with an activation, and leave it to the caller.

    Returns:
      The layer, for data in its ``data_format``. Under a mixed-precision policy it
      computes in the policy's compute dtype.

    Raises:
      TypeError: `layer` is not such a layer.
      ValueError: it is not built, or it has an activation, which is no part of a
        transposed convolution.
      ImportError: Keras is not installed.

    Example:
      >>> import keras, numpy as np
      >>> from jconvt.interop import from_keras
      >>> layer = keras.layers.Conv2DTranspose(4, 3, 2, padding="same")
      >>> layer.build((None, 8, 8, 16))
      >>> from_keras(layer).apply(np.ones((1, 8, 8, 16), "float32")).shape
      (1, 16, 16, 4)
    """
    import keras

    layers = keras.layers
    classes = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
    if not isinstance(layer, classes):
        raise TypeError(
            f"from_keras: `layer` must be a Conv1DTranspose, Conv2DTranspose or "
            f"Conv3DTranspose of Keras 3; got {type(layer).__name__}."
        )
    if not layer.built:
        raise ValueError(
            f"from_keras: `layer` must be built; got {layer.name!r}, which is not. "
            f"Call it once, or its `build`."
        )
    if layer.activation not in (None, keras.activations.linear) and not (
        ignore_activation
    ):
        raise ValueError(
            f"from_keras: `layer` must have no activation; got {layer.name!r} with "
            f"{getattr(layer.activation, '__name__', layer.activation)!r}. Give "
            f"ignore_activation=True, and apply it to the result."
        )
    kernel = jnp.asarray(keras.ops.convert_to_numpy(layer.kernel))
    bias = None
    if layer.bias is not None:
        bias = jnp.asarray(keras.ops.convert_to_numpy(layer.bias))
    mixed = layer.compute_dtype != layer.variable_dtype
    padding, output_padding = _padding(layer)
    return port(
        "from_keras",
        from_channels_last(kernel),
        bias,
        stride=layer.strides,
        padding=padding,
        output_padding=output_padding,
        dilation=layer.dilation_rate,
        channels_last=layer.data_format == "channels_last",
        dtype=jnp.dtype(layer.compute_dtype) if mixed else None,
    )


def _padding(layer: Any) -> tuple[Any, Any]:
    """`padding` and `output_padding` as `conv_transpose` has them."""
    if layer.output_padding is None:
        return layer.padding.upper(), 0
    if layer.padding == "valid":
        return 0, layer.output_padding
    extents = tuple(
        d * (k - 1) + 1
        for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)
    )
    return per_axis(keras_same, extents, layer.output_padding), 0
