"""Port a whole vocoder from PyTorch to JAX, and train it on.

The generator is written in PyTorch in the shape of HiFi-GAN's: forward and transposed
convolutions under weight norm, leaky ReLU, blocks whose residual units differ in kernel
and dilation, and tanh. `jconvt.interop.from_torch_model` reads the transposed layers;
the weights of the others are PyTorch's arrays as they are, for `jax.lax`. Both give the
same samples. Then the JAX model learns a tone. It needs torch and optax:

    python examples/hifi_gan.py
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from jax import lax
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import jconvt.interop

BANDS = 20
STRIDES = (8, 4, 2)  # 64 samples a frame
KERNELS, DILATIONS = (3, 7), (1, 3)


class Unit(nn.Module):
    """Residual units of one kernel, a dilation each."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, channels, kernel, 1, "same", dilation))
            for dilation in DILATIONS
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, T)`` -> the same shape."""
        for conv in self.convs:
            x = x + conv(nn.functional.leaky_relu(x, 0.1))
        return x


class Generator(nn.Module):
    """Mel bands ``(N, BANDS, frames)`` -> samples ``(N, 1, 64*frames)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = weight_norm(nn.Conv1d(BANDS, channels, 7, padding="same"))
        self.ups, self.units = nn.ModuleList(), nn.ModuleList()
        for s in STRIDES:
            up = nn.ConvTranspose1d(channels, channels // 2, 2 * s, s, s // 2)
            channels //= 2
            self.ups.append(weight_norm(up))
            self.units.append(nn.ModuleList(Unit(channels, k) for k in KERNELS))
        self.last = weight_norm(nn.Conv1d(channels, 1, 7, padding="same"))

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        """The samples."""
        x = self.first(bands)
        for up, units in zip(self.ups, self.units, strict=True):
            x = up(nn.functional.leaky_relu(x, 0.1))
            x = sum(unit(x) for unit in units) / len(KERNELS)
        return torch.tanh(self.last(nn.functional.leaky_relu(x, 0.1)))


def port(model: Generator) -> dict[str, Any]:
    """Every convolution by its dotted name, the magnitudes multiplied in."""
    forward = {
        name: tuple(jnp.asarray(a.detach().numpy()) for a in (conv.weight, conv.bias))
        for name, conv in model.named_modules()
        if isinstance(conv, nn.Conv1d)
    }
    return forward | jconvt.interop.from_torch_model(model)


def generate(layers: dict[str, Any], bands: jax.Array) -> jax.Array:
    """What `Generator.forward` computes."""

    def conv(name: str, x: jax.Array, dilation: int = 1) -> jax.Array:
        weight, bias = layers[name]
        y = lax.conv_general_dilated(x, weight, (1,), "SAME", rhs_dilation=(dilation,))
        return y + bias[None, :, None]

    def unit(name: str, x: jax.Array) -> jax.Array:
        for i, dilation in enumerate(DILATIONS):
            x = x + conv(f"{name}.convs.{i}", jax.nn.leaky_relu(x, 0.1), dilation)
        return x

    x = conv("first", bands)
    for i in range(len(STRIDES)):
        x = layers[f"ups.{i}"](jax.nn.leaky_relu(x, 0.1))
        x = sum(unit(f"units.{i}.{j}", x) for j in range(len(KERNELS))) / len(KERNELS)
    return jnp.tanh(conv("last", jax.nn.leaky_relu(x, 0.1)))


def spectrum(samples: jax.Array) -> jax.Array:
    """Log magnitudes of each 64 samples."""
    blocks = samples.reshape(*samples.shape[:2], -1, 64)
    return jnp.log(jnp.abs(jnp.fft.rfft(blocks)) + 1e-3)


def train(
    layers: dict[str, Any], bands: jax.Array, sound: jax.Array, steps: int
) -> Any:
    """The layers after some steps of Adam, and the loss before each of them."""
    optimizer = optax.adam(1e-3)
    state, losses = optimizer.init(layers), []

    def loss(layers: dict[str, Any]) -> jax.Array:
        return jnp.abs(spectrum(generate(layers, bands)) - spectrum(sound)).mean()

    @jax.jit
    def step(layers: dict[str, Any], state: Any) -> tuple[Any, ...]:
        value, gradients = jax.value_and_grad(loss)(layers)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(layers, updates), state, value

    for _ in range(steps):
        layers, state, value = step(layers, state)
        losses.append(float(value))
    return layers, losses


def main(arguments: list[str] | None = None) -> None:
    """Port, compare, train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    model, bands = Generator(options.channels), torch.randn(2, BANDS, options.frames)
    with torch.no_grad():
        theirs = model(bands).numpy()
    layers, bands = port(model), jnp.asarray(bands.numpy())
    ours = jax.jit(generate)(layers, bands)
    print(f"{ours.shape} samples differ by {np.abs(ours - theirs).max():.0e} at most")
    tone = jnp.sin(0.2 * jnp.arange(ours.shape[-1], dtype="f4"))[None, None]
    _, losses = train(layers, bands, tone, options.steps)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} in {options.steps} steps")


if __name__ == "__main__":
    main()
