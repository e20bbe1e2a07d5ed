"""The public doors: each makes a config a call ``f(x, w, b)`` in its layout."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import jconvt
import jconvt.linen
import jconvt.nnx
from fuzz.config import LETTERS, Config

Call = Callable[[Any, Any, Any], jax.Array]


def is_symmetric(padding: Any) -> bool:
    """Whether PyTorch can say it."""
    named = any(isinstance(p, str) for p in (padding, *padding))
    return not named and all(low == high >= 0 for low, high in padding)


def _size(config: Config) -> dict[str, Any]:
    return {} if config.more is None else {"output_size": config.out}


def general(config: Config) -> Call:
    """`jconvt.conv_transpose`."""
    options: dict[str, Any] = {
        "stride": config.stride,
        "padding": config.padding,
        "output_padding": config.output_padding if config.more is None else 0,
        "groups": config.groups,
        "dilation": config.dilation,
        "dimension_numbers": config.numbers,
        "preferred_element_type": config.preferred,
        "lowering": config.lowering,
        **_size(config),
    }
    return lambda x, w, b: jconvt.conv_transpose(x, w, b, **options)


def _data_format(config: Config) -> str:
    letters = "DHW"[-config.rank :]
    last = config.numbers is not None
    return f"N{letters}C" if last else f"NC{letters}"


def _channels_in(config: Config) -> int:
    return config.shapes["x"][1]


def _torch_options(config: Config) -> dict[str, Any]:
    padding = config.padding
    if is_symmetric(padding):  # the functions take no pairs
        padding = tuple(low for low, _ in padding)
    return {
        "stride": config.stride,
        "padding": padding,
        "output_padding": config.output_padding if config.more is None else 0,
        "groups": config.groups,
        "dilation": config.dilation,
        "lowering": config.lowering,
        "data_format": _data_format(config),
    }


def ranked(config: Config) -> Call:
    """`jconvt.conv_transpose1d`, 2d or 3d."""
    function = getattr(jconvt, f"conv_transpose{config.rank}d")
    options = _torch_options(config) | _size(config)
    options["preferred_element_type"] = config.preferred
    return lambda x, w, b: function(x, w, b, **options)


def linen_module(config: Config, w: Any, b: Any) -> tuple[Any, dict[str, Any]]:
    """`jconvt.linen.ConvTranspose1d`, 2d or 3d, and its parameters."""
    kind = getattr(jconvt.linen, f"ConvTranspose{config.rank}d")
    outputs = config.shapes["b"][0]
    layer = kind(
        _channels_in(config), outputs, config.kernel, bias=b is not None,
        **_torch_options(config),
    )  # fmt: skip
    return layer, {"weight": w} | ({} if b is None else {"bias": b})


def linen_layer(config: Config) -> Call:
    """A call of `linen_module`."""

    def call(x: Any, w: Any, b: Any) -> jax.Array:
        layer, parameters = linen_module(config, w, b)
        return layer.apply({"params": parameters}, x, **_size(config))

    return call


def nnx_module(config: Config, w: Any, b: Any) -> Any:
    """`jconvt.nnx.ConvTranspose1d`, 2d or 3d, with these parameters."""
    kind = getattr(jconvt.nnx, f"ConvTranspose{config.rank}d")
    outputs = config.shapes["b"][0]
    layer = nnx.eval_shape(
        lambda: kind(
            _channels_in(config), outputs, config.kernel, bias=b is not None,
            **_torch_options(config), rngs=nnx.Rngs(0),
        )
    )  # fmt: skip
    state = nnx.state(layer)
    state["weight"] = nnx.Param(w)
    if b is not None:
        state["bias"] = nnx.Param(b)
    return nnx.merge(nnx.graphdef(layer), state)


def nnx_layer(config: Config) -> Call:
    """A call of `nnx_module`."""
    return lambda x, w, b: nnx_module(config, w, b)(x, **_size(config))


def _flax_fields(config: Config) -> dict[str, Any]:
    """Raw paddings count zeros around the stride-dilated input."""
    spans = [d * (k - 1) for k, d in zip(config.kernel, config.dilation, strict=True)]
    padding = config.padding
    if not isinstance(padding, str):
        pairs = zip(spans, padding, strict=True)
        padding = tuple((e - low, e - high) for e, (low, high) in pairs)
    return {
        "kernel_size": config.kernel,
        "strides": config.stride,
        "padding": padding,
        "kernel_dilation": config.dilation,
        "transpose_kernel": config.padding == "CIRCULAR_LOWER",
        "lowering": config.lowering,
        # JAX's default for the kernel divides by zero channels.
        "kernel_init": nnx.initializers.zeros,
    }


def _flax_kernel(config: Config, w: Any) -> Any:
    """The plain one is flipped, (*K, I, O); the transposed one is not, (*K, O, I)."""
    space = range(2, 2 + config.rank)
    if config.padding == "CIRCULAR_LOWER":
        return jnp.transpose(w, (*space, 1, 0))
    return jnp.flip(jnp.transpose(w, (*space, 0, 1)), range(config.rank))


def _drop_in(config: Config, run: Callable[..., Any]) -> Call:
    fields = _flax_fields(config)
    if fields["padding"] == "CIRCULAR_LOWER":
        fields["padding"] = "CIRCULAR"

    def call(x: Any, w: Any, b: Any) -> jax.Array:
        kernel = _flax_kernel(config, w)
        parameters = {"kernel": kernel} | ({} if b is None else {"bias": b})
        return run(x, parameters, fields | {"use_bias": b is not None})

    return call


def linen_drop_in(config: Config) -> Call:
    """`jconvt.linen.ConvTranspose`, Flax's layer."""
    features = config.shapes["b"][0]

    def run(x: Any, parameters: dict[str, Any], fields: dict[str, Any]) -> Any:
        layer = jconvt.linen.ConvTranspose(features, **fields)
        return layer.apply({"params": parameters}, x)

    return _drop_in(config, run)


def nnx_drop_in(config: Config) -> Call:
    """`jconvt.nnx.ConvTranspose`, Flax's layer."""
    inputs, features = config.shapes["x"][1], config.shapes["b"][0]

    def run(x: Any, parameters: dict[str, Any], fields: dict[str, Any]) -> Any:
        layer = nnx.eval_shape(
            lambda: jconvt.nnx.ConvTranspose(
                inputs, features, **fields, rngs=nnx.Rngs(0)
            )
        )
        state = nnx.state(layer)
        for name, value in parameters.items():
            state[name] = nnx.Param(value)
        return nnx.merge(nnx.graphdef(layer), state)(x)

    return _drop_in(config, run)


DOORS: dict[str, Callable[[Config], Call]] = {
    "conv_transpose": general,
    "conv_transposeNd": ranked,
    "linen": linen_layer,
    "nnx": nnx_layer,
    "linen drop-in": linen_drop_in,
    "nnx drop-in": nnx_drop_in,
}
"""Name -> the call of a config."""

TORCH_LIKE = ("conv_transposeNd", "linen", "nnx")
"""Doors with PyTorch's symmetric padding and a `data_format`."""

DROP_IN = ("linen drop-in", "nnx drop-in")
"""Doors with Flax's fields: channels last, one group, no output padding."""


def channels_last(rank: int) -> tuple[str, str, str]:
    """Specs of channels-last data."""
    space = LETTERS[:rank]
    return f"N{space}C", f"IO{space}", f"N{space}C"
