"""A network in Flax NNX, channels last, with transposed layers to choose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jconvt.nnx
from benchmarks.networks._build import RATE, Build
from benchmarks.networks.descriptions import (
    EPSILON,
    Conv,
    Layer,
    Network,
    Norm,
    Relu,
    Tanh,
    Up,
    walk,
)

Arrays = Sequence[jax.Array]
Make = Callable[[Any, int, Arrays], nnx.Module]
"""From a layer, the number of spatial axes and the parameters to a module."""


def flax_up(layer: Up, rank: int, arrays: Arrays) -> nnx.Module:
    """Flax's own transposed convolution."""
    pad = layer.kernel - 1 - layer.padding
    flipped = jnp.flip(arrays[0], range(2, rank + 2))
    return nnx.ConvTranspose(
        layer.in_channels,
        layer.out_channels,
        (layer.kernel,) * rank,
        (layer.stride,) * rank,
        padding=((pad, pad),) * rank,
        **_given(jnp.moveaxis(flipped, (0, 1), (-2, -1)), *arrays[1:]),
    )


def jconvt_up(layer: Up, rank: int, arrays: Arrays) -> nnx.Module:
    """jconvt's, whose parameters are those of PyTorch."""
    kinds = {
        1: jconvt.nnx.ConvTranspose1d,
        2: jconvt.nnx.ConvTranspose2d,
        3: jconvt.nnx.ConvTranspose3d,
    }
    weight, *bias = arrays
    return kinds[rank](
        layer.in_channels,
        layer.out_channels,
        layer.kernel,
        layer.stride,
        layer.padding,
        bias=layer.bias,
        data_format=f"N{'DHW'[3 - rank :]}C",
        weight_init=_as_it_is(weight),
        bias_init=_as_it_is(*bias) if bias else None,
        rngs=nnx.Rngs(0),
    )


def jconvt_conv(layer: Conv, rank: int, arrays: Arrays) -> nnx.Module:
    """A convolution as what it also is: a transposed one of stride 1.

    Its kernel is the convolution's, flipped.
    """
    weight, bias = arrays
    up = Up(
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        kernel=layer.kernel,
        stride=1,
        padding=layer.kernel // 2,
    )
    flipped = jnp.flip(weight, range(2, rank + 2))
    return jconvt_up(up, rank, (jnp.swapaxes(flipped, 0, 1), bias))


def flax_conv(layer: Conv, rank: int, arrays: Arrays) -> nnx.Module:
    """Flax's own convolution."""
    weight, bias = arrays
    return nnx.Conv(
        layer.in_channels,
        layer.out_channels,
        (layer.kernel,) * rank,
        **_given(jnp.moveaxis(weight, (0, 1), (-1, -2)), bias),
    )


def _given(kernel: jax.Array, *bias: jax.Array) -> dict[str, Any]:
    """The options that make a layer of Flax start from these parameters."""
    options = {"kernel_init": _as_it_is(kernel), "rngs": nnx.Rngs(0)}
    if bias:
        return options | {"bias_init": _as_it_is(*bias)}
    return options | {"use_bias": False}


def _as_it_is(array: jax.Array) -> Callable[..., jax.Array]:
    return lambda key, shape, dtype: array


@dataclass(frozen=True, kw_only=True)
class FlaxBuild(Build):
    """A build that JAX can trace.

    Attributes:
      program: the training step as a function, and its arguments.
    """

    program: tuple[Callable[..., Any], tuple[Any, ...]]


class _Norm(nnx.Module):
    """Batch normalisation without running averages."""

    def __init__(self, layer: Norm, rank: int, arrays: Arrays) -> None:
        del layer, rank
        self.scale, self.offset = (nnx.Param(array) for array in arrays)

    def __call__(self, x: jax.Array) -> jax.Array:
        axes = range(x.ndim - 1)
        mean, variance = jnp.mean(x, axes), jnp.var(x, axes)
        scale = self.scale[...] / jnp.sqrt(variance + EPSILON)
        return (x - mean) * scale + self.offset[...]


class _Function(nnx.Module):
    """A layer without parameters."""

    def __init__(self, function: Callable[[jax.Array], jax.Array]) -> None:
        self.function = function

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.function(x)


def _relu(layer: Relu, rank: int, arrays: Arrays) -> nnx.Module:
    del rank, arrays
    leaky = partial(nnx.leaky_relu, negative_slope=layer.slope)
    return _Function(leaky if layer.slope else nnx.relu)


def _tanh(layer: Tanh, rank: int, arrays: Arrays) -> nnx.Module:
    del layer, rank, arrays
    return _Function(jnp.tanh)


def _maker(layer: Layer, up: Make, conv: Make) -> Make:
    makers = {Up: up, Conv: conv, Norm: _Norm, Relu: _relu, Tanh: _tanh}
    return makers[type(layer)]


class Modules(nnx.Module):
    """The whole network."""

    def __init__(
        self, network: Network, parameters: Sequence[Arrays], up: Make, conv: Make
    ) -> None:
        self.steps = network.steps
        self.layers = nnx.List(
            [
                _maker(layer, up, conv)(layer, network.rank, arrays)
                for layer, arrays in zip(network.layers, parameters, strict=True)
            ]
        )

    def __call__(self, x: jax.Array, *skips: jax.Array) -> jax.Array:
        return walk(self.steps, iter(self.layers), x, iter(skips), _join)


def _join(x: jax.Array, skip: jax.Array) -> jax.Array:
    return jnp.concatenate([x, skip], axis=-1)


def build(network: Network, up: Make, conv: Make = flax_conv) -> FlaxBuild:
    """`network` with `up` for its transposed convolutions and `conv` for the others."""
    parameters = jax.tree.map(jnp.asarray, network.parameters())
    inputs, target = jax.tree.map(channels_last, network.arrays())
    graph, state = nnx.split(Modules(network, parameters, up, conv))

    @jax.jit
    def forward(state: Any, inputs: Arrays) -> jax.Array:
        return nnx.merge(graph, state)(*inputs)

    def loss(state: Any, inputs: Arrays, target: jax.Array) -> jax.Array:
        return jnp.mean((forward(state, inputs) - target) ** 2)

    def update(state: Any, inputs: Arrays, target: jax.Array) -> tuple[Any, jax.Array]:
        error, gradients = jax.value_and_grad(loss)(state, inputs, target)
        return jax.tree.map(lambda p, g: p - RATE * g, state, gradients), error

    train = jax.jit(update, donate_argnums=0)

    def step() -> jax.Array:
        nonlocal state
        state, error = train(state, inputs, target)
        return jax.block_until_ready((state, error))[1]

    @jax.jit
    def gradients(parameters: Sequence[Arrays]) -> Sequence[Arrays]:
        # Through the layouts: a network's state is linear in the parameters it is of.
        def error(parameters: Sequence[Arrays]) -> jax.Array:
            state = nnx.state(Modules(network, parameters, up, conv))
            return loss(state, inputs, target)

        return jax.grad(error)(parameters)

    return FlaxBuild(
        forward=lambda: jax.block_until_ready(forward(state, inputs)),
        step=step,
        output=lambda: np.moveaxis(np.asarray(forward(state, inputs)), -1, 1),
        gradients=lambda: [
            np.asarray(g) for g in jax.tree.leaves(gradients(parameters))
        ],
        program=(update, (jax.tree.map(jnp.copy, state), inputs, target)),
    )


def channels_last(array: np.ndarray) -> jax.Array:
    """An array of PyTorch's layout in Flax's."""
    return jnp.asarray(np.moveaxis(array, 1, -1))
