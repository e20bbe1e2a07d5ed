"""Flax: its own transposed convolution layers and ours, in NNX and in Linen."""

import typing
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jconvt._call.padding import PERIODIC
from jconvt._call.tracebacks import ends_traceback
from jconvt._layers.config import LayerConfig
from jconvt._layers.flax import settle_fields
from jconvt._layers.kernel import FlaxKernel
from jconvt._layers.torch import TorchConfig
from jconvt.interop._port import port
from jconvt.interop._ported import PortedLayer
from jconvt.interop._targets import check_layer, fixed_crop, refuse

if typing.TYPE_CHECKING:
    from flax import linen, nnx


@ends_traceback
def from_flax(layer: Any, variables: Mapping[str, Any] | None = None) -> PortedLayer:
    """A transposed convolution layer of Flax, or one of `jconvt.nnx` or `jconvt.linen`.

    Without ``transpose_kernel`` Flax's kernel is a convolution's of the dilated input,
    so it is flipped here. Its numeric `padding` counts zeros around that input and
    becomes a crop. A `mask` is multiplied into the weight, once: train the ported layer
    on, and the masked taps are taps like any other.

    Args:
      layer: an NNX layer, or a Linen module with `variables`. Arrays may be traced.
      variables: of the Linen module, ``{"params": {...}}``, or what is in there.

    Returns:
      The layer, for data in the source's layout (Flax's own: channels last, with any
      number of batch axes), with its `dtype`, `precision` and `preferred_element_type`.

    Raises:
      TypeError: `layer` is no such layer.
      ValueError: a Linen module without variables, or an option that has no counterpart
        here: a `promote_dtype` function other than Flax's, a padding that Flax's layer
        refuses too, such as ``"CAUSAL"``.
      ImportError: Flax is not installed.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jconvt.interop import from_flax
      >>> layer = nnx.ConvTranspose(8, 4, (4, 4), strides=2, rngs=nnx.Rngs(0))
      >>> from_flax(layer).apply(jnp.ones((1, 5, 5, 8))).shape
      (1, 10, 10, 4)
    """
    from flax import linen, nnx

    if isinstance(layer, nnx.Module):
        if variables is not None:
            raise ValueError(
                "from_flax: `variables` is for Linen modules; an NNX layer has its own."
            )
        params: Mapping[str, Any] = {
            name: value[...]
            for name in ("kernel", "weight", "bias")
            if (value := getattr(layer, name, None)) is not None
        }
    elif isinstance(layer, linen.Module):
        if variables is None:
            raise ValueError(
                f"from_flax: `variables` must be given for a Linen module, which has "
                f"no parameters; got a {type(layer).__name__} alone."
            )
        params = linen.meta.unbox(variables.get("params", variables))
    else:
        raise TypeError(
            f"from_flax: `layer` must be a transposed convolution of Flax NNX or "
            f"Linen; got {type(layer).__name__}."
        )
    config = getattr(layer, "config", getattr(layer, "_config", None))
    if isinstance(config, TorchConfig):
        last = config.data_format.endswith("C")
        weight = _param(params, "weight")
        return _port(config, weight, params, config.dtype, channels_last=last)
    if not hasattr(layer, "transpose_kernel"):
        raise TypeError(
            f"from_flax: `layer` must be a transposed convolution; got "
            f"{type(layer).__name__}."
        )
    return _from_flax(layer, params)


@ends_traceback
def to_flax(
    layer: PortedLayer, *, api: str = "nnx"
) -> "nnx.ConvTranspose | tuple[linen.ConvTranspose, dict[str, Any]]":
    """A layer of Flax's own that computes the same, for channels-last data.

    Args:
      layer: a ported layer; its arrays may be traced.
      api: ``"nnx"`` (the default) or ``"linen"``.

    Returns:
      An `nnx.ConvTranspose`, or a `linen.ConvTranspose` and its variables. For our own
      layers see `PortedLayer.to_nnx` and `PortedLayer.to_linen`.

    Raises:
      TypeError: `layer` is not a `PortedLayer`.
      ValueError: Flax lacks an option, which is named: `groups` other than 1, a
        crop that depends on the input's size.
      ImportError: Flax is not installed.

    Example:
      >>> import numpy as np
      >>> from jconvt.interop import from_mindspore, to_flax
      >>> up = from_mindspore({"weight": np.ones((8, 4, 4), "float32")}, stride=2)
      >>> to_flax(up)(np.ones((1, 5, 8), "float32")).shape
      (1, 12, 4)
    """
    layer, config = check_layer("to_flax", layer), layer.config
    options, rank = config.options, config.options.rank
    if api not in ("nnx", "linen"):
        raise ValueError(f"to_flax: `api` must be 'nnx' or 'linen'; got {api!r}.")
    if options.groups != 1:
        raise refuse("to_flax", "groups", options.groups, "Flax's layer has no groups")
    if rank == 0:
        raise refuse(
            "to_flax",
            "weight.shape",
            layer.weight.shape,
            "Flax has transposed convolutions over one axis or more",
        )
    # Flax aligns its periodic padding by `transpose_kernel`; else it is free.
    transpose_kernel = options.padding != "CIRCULAR"
    kernel = FlaxKernel(rank, 1, transpose_kernel).kernel(layer.weight)
    arguments: dict[str, Any] = {
        "kernel_size": layer.weight.shape[2:],
        "strides": options.stride,
        "padding": _flax_padding(layer),
        "kernel_dilation": options.dilation,
        "use_bias": layer.bias is not None,
        "dtype": config.dtype,
        "param_dtype": layer.weight.dtype,
        "precision": config.precision,
        "preferred_element_type": config.preferred_element_type,
        "transpose_kernel": transpose_kernel,
    }
    in_channels, out_channels = layer.weight.shape[:2]
    if api == "nnx":
        from flax import nnx

        return nnx.ConvTranspose(
            in_channels,
            out_channels,
            **arguments,
            kernel_init=lambda *_: kernel,
            bias_init=lambda *_: layer.bias,
            rngs=nnx.Rngs(0),  # a constructor asks for one; nothing is drawn
        )
    from flax import linen

    params = {"kernel": kernel} | ({} if layer.bias is None else {"bias": layer.bias})
    return linen.ConvTranspose(out_channels, **arguments), {"params": params}


def _from_flax(layer: Any, params: Mapping[str, Any]) -> PortedLayer:
    promote = layer.promote_dtype
    if not getattr(promote, "__module__", "").startswith("flax."):
        raise ValueError(
            f"from_flax: `layer.promote_dtype` must be Flax's own; got {promote!r}."
        )
    config = settle_fields(layer, "from_flax")
    kernel = config.masked(jnp.asarray(_param(params, "kernel")))
    weight = config.kernel.weight(kernel)
    return _port(config, weight, params, layer.dtype, channels_last=True)


def _port(
    config: LayerConfig,
    weight: jax.Array,
    params: Mapping[str, Any],
    dtype: DTypeLike | None,
    *,
    channels_last: bool,
) -> PortedLayer:
    return port(
        "from_flax",
        weight,
        params.get("bias"),
        channels_last=channels_last,
        precision=config.precision,
        preferred_element_type=config.preferred_element_type,
        dtype=dtype,
        **config.options.keywords,
    )


def _param(params: Mapping[str, Any], name: str) -> jax.Array:
    if name not in params:
        raise ValueError(
            f"from_flax: the variables must hold {name!r} under 'params'; got "
            f"{', '.join(map(str, params)) or 'nothing'}."
        )
    return params[name]


def _flax_padding(layer: PortedLayer) -> Any:
    """Our padding as Flax's: its name, or zeros around the stride-dilated input."""
    options = layer.config.options
    if options.padding in PERIODIC:
        return "CIRCULAR"
    if options.padding in ("SAME", "VALID") and not any(options.output_padding):
        return options.padding
    crop = fixed_crop("to_flax", layer)
    extents = (
        d * (k - 1) + 1
        for k, d in zip(layer.weight.shape[2:], options.dilation, strict=True)
    )
    return tuple(
        (e - 1 - low, e - 1 - high)
        for e, (low, high) in zip(extents, crop, strict=True)
    )
