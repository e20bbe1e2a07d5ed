"""Flax: its own transposed convolution layers and ours, in NNX and in Linen."""

import typing
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jconvt._call.arguments import check_ints
from jconvt._call.padding import PERIODIC
from jconvt._call.tracebacks import ends_traceback
from jconvt._layers.torch import LayerConfig
from jconvt.interop._kernels import flip, from_channels_last, regroup, to_channels_last
from jconvt.interop._paddings import crop_of_pads
from jconvt.interop._port import port
from jconvt.interop._ported import PortedLayer
from jconvt.interop._targets import check_layer, fixed_crop, refuse

if typing.TYPE_CHECKING:
    from flax import linen, nnx

# `padding` and `transpose_kernel` of a layer of Flax -> the padding here
_STRINGS = {
    ("SAME", False): "SAME",
    ("SAME", True): "SAME",
    ("VALID", False): "VALID",
    ("VALID", True): "VALID",
    ("CIRCULAR", False): "CIRCULAR",
    ("CIRCULAR", True): "CIRCULAR_LOWER",
}


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
    if isinstance(config, LayerConfig):
        return _from_config(config, params)
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
      ValueError: Flax cannot say an option, which is named: `groups` other than 1, a
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
    weight = layer.weight if transpose_kernel else flip(layer.weight)
    kernel = to_channels_last(weight, "OI" if transpose_kernel else "IO")
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


def _from_config(config: LayerConfig, params: Mapping[str, Any]) -> PortedLayer:
    """A layer of ours: the weight is as it is here."""
    options = config.options
    return port(
        "from_flax",
        _param(params, "weight"),
        params.get("bias"),
        stride=options.stride,
        padding=config.padding,
        output_padding=options.output_padding,
        groups=options.groups,
        dilation=options.dilation,
        channels_last=config.data_format.endswith("C"),
        precision=config.precision,
        preferred_element_type=config.preferred_element_type,
        dtype=config.dtype,
    )


def _from_flax(layer: Any, params: Mapping[str, Any]) -> PortedLayer:
    kernel = jnp.asarray(_param(params, "kernel"))
    rank = kernel.ndim - 2
    if layer.mask is not None:
        if layer.mask.shape != kernel.shape:
            raise ValueError(
                f"from_flax: `layer.mask` must have the kernel's shape, {kernel.shape};"
                f" got {layer.mask.shape}."
            )
        kernel = kernel * layer.mask
    promote = layer.promote_dtype
    if not getattr(promote, "__module__", "").startswith("flax."):
        raise ValueError(
            f"from_flax: `layer.promote_dtype` must be Flax's own; got {promote!r}."
        )
    dilation = _ints(layer, "kernel_dilation", rank)
    # These two only our drop-in layers have, which otherwise are as Flax's. Groups lie
    # in the output channels of a plain kernel, as in a convolution's.
    groups = getattr(layer, "groups", 1)
    output_padding = getattr(layer, "output_padding", 0)
    weight = from_channels_last(kernel, "OI")
    if not layer.transpose_kernel:
        weight = flip(regroup(weight, groups))
    return port(
        "from_flax",
        weight,
        params.get("bias"),
        stride=_ints(layer, "strides", rank),
        padding=_padding(layer, kernel.shape[:rank], dilation),
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
        channels_last=True,
        precision=layer.precision,
        preferred_element_type=layer.preferred_element_type,
        dtype=layer.dtype,
    )


def _param(params: Mapping[str, Any], name: str) -> jax.Array:
    if name not in params:
        raise ValueError(
            f"from_flax: the variables must hold {name!r} under 'params'; got "
            f"{', '.join(map(str, params)) or 'nothing'}."
        )
    return params[name]


def _ints(layer: Any, field: str, rank: int) -> tuple[int, ...]:
    """Flax's strides or dilations, where None is 1, as one for each axis."""
    value = getattr(layer, field)
    return check_ints("from_flax", field, 1 if value is None else value, rank, 1)


def _padding(
    layer: Any, kernel_size: tuple[int, ...], dilation: tuple[int, ...]
) -> Any:
    """Flax's padding as a dialect or as crops."""
    padding = layer.padding
    if isinstance(padding, str):
        if (padding, bool(layer.transpose_kernel)) not in _STRINGS:
            names = dict.fromkeys(name for name, _ in _STRINGS)
            raise ValueError(
                f"from_flax: `layer.padding` must be one of {', '.join(names)}, ints "
                f"or pairs, as Flax's own code has it; got {padding!r}."
            )
        return _STRINGS[padding, bool(layer.transpose_kernel)]
    extents = tuple(d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True))
    return crop_of_pads("from_flax", padding, extents)


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
