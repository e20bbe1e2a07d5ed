"""The transposed convolutions of the libraries over JAX: they call lax underneath."""

import os
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.contenders._prepared import Form, Unsupported, jax_arrays
from benchmarks.layers import Layer
from benchmarks.native import dilated_pads


def flax(layer: Layer, dtype: str) -> Form:
    """Flax's `nnx.ConvTranspose`: channels last, its kernel (*K, C_in, C_out)."""
    from flax import nnx

    if layer.groups > 1:
        raise Unsupported
    module = nnx.ConvTranspose(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        strides=layer.stride,
        padding=dilated_pads(layer),
        kernel_dilation=layer.dilation,
        dtype=jnp.dtype(dtype),
        param_dtype=jnp.dtype(dtype),
        rngs=nnx.Rngs(0),
    )
    graph, _ = nnx.split(module)

    def forward(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        state = nnx.State({"kernel": nnx.Param(w), "bias": nnx.Param(b)})
        return nnx.merge(graph, state)(x)

    x, w, b, cotangent = jax_arrays(layer, dtype, last=True)
    return Form(
        forward=forward,
        operands=(x, _flipped_last(w), b),
        cotangent=cotangent,
        channels_last=True,
    )


def haiku(layer: Layer, dtype: str) -> Form:
    """Haiku's `ConvNDTranspose`, channels last, its kernel (*K, C_out, C_in)."""
    import haiku as hk

    if layer.groups > 1 or any(d > 1 for d in layer.dilation):
        raise Unsupported

    def module(x: jax.Array) -> jax.Array:
        return hk.ConvNDTranspose(
            layer.rank,
            layer.out_channels,
            layer.kernel_size,
            stride=layer.stride,
            padding=dilated_pads(layer),
        )(x)

    transformed = hk.without_apply_rng(hk.transform(module))

    def forward(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        return transformed.apply({"conv_nd_transpose": {"w": w, "b": b}}, x)

    x, w, b, cotangent = jax_arrays(layer, dtype, last=True)
    return Form(
        forward=forward,
        operands=(x, jnp.swapaxes(_flipped_last(w), -1, -2), b),
        cotangent=cotangent,
        channels_last=True,
    )


def _flipped_last(w: jax.Array) -> jax.Array:
    """PyTorch's weight as (*K, C_in, C_out), turned round in space."""
    return jnp.moveaxis(jnp.flip(w, range(2, w.ndim)), (0, 1), (-2, -1))


def equinox(layer: Layer, dtype: str) -> Form:
    """Equinox's `ConvTranspose` under `vmap`, channels first."""
    import equinox as eqx

    if any(a >= s for a, s in zip(layer.output_padding, layer.stride, strict=True)):
        raise Unsupported
    module = eqx.nn.ConvTranspose(
        layer.rank,
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        output_padding=layer.output_padding,
        dilation=layer.dilation,
        groups=layer.groups,
        dtype=jnp.dtype(dtype),
        key=jax.random.key(0),
    )

    def forward(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        bias = b.reshape(-1, *(1,) * layer.rank)
        filled = eqx.tree_at(lambda m: (m.weight, m.bias), module, (w, bias))
        return jax.vmap(filled)(x)

    x, w, b, cotangent = jax_arrays(layer, dtype)
    groups, c_in = layer.groups, layer.in_channels
    w = jnp.flip(w, range(2, w.ndim))
    w = w.reshape(groups, c_in // groups, -1, *layer.kernel_size).swapaxes(1, 2)
    w = w.reshape(layer.out_channels, c_in // groups, *layer.kernel_size)
    return Form(forward=forward, operands=(x, w, b), cotangent=cotangent)


def keras(layer: Layer, dtype: str) -> Form:
    """`keras.ops.conv_transpose` on JAX: "valid", then cropped to the same output."""
    os.environ["KERAS_BACKEND"] = "jax"
    from keras import ops

    conv_transpose: Any = ops.conv_transpose  # Keras annotates pairs as ints
    if layer.groups > 1 or any(
        s > 1 and d > 1 for s, d in zip(layer.stride, layer.dilation, strict=True)
    ):
        raise Unsupported
    crop = tuple(
        slice(p, p + n)
        for p, n in zip(layer.padding, layer.output_spatial, strict=True)
    )
    missing = [
        max(0, p + n - ((i - 1) * s + max(e, s)))
        for p, n, i, s, e in zip(
            layer.padding,
            layer.output_spatial,
            layer.spatial,
            layer.stride,
            layer.extent,
            strict=True,
        )
    ]

    def forward(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        y = conv_transpose(
            x, w, strides=layer.stride, padding="valid", dilation_rate=layer.dilation
        )
        y = jnp.pad(y, [(0, 0), *((0, m) for m in missing), (0, 0)])
        return y[(slice(None), *crop)] + b

    x, w, b, cotangent = jax_arrays(layer, dtype, last=True)
    return Form(
        forward=forward,
        operands=(x, jnp.moveaxis(w, (0, 1), (-1, -2)), b),
        cotangent=cotangent,
        channels_last=True,
    )
