"""Four decoders, described independently of any framework."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Up:
    """A transposed convolution, in PyTorch's terms; kernels are as wide as high."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    padding: int = 0
    bias: bool = True

    def shapes(self, rank: int) -> Iterator[tuple[int, ...]]:
        """Of weight and bias."""
        yield (self.in_channels, self.out_channels, *(self.kernel,) * rank)
        if self.bias:
            yield (self.out_channels,)

    def terms(self, rank: int) -> int:
        """Products in an output element, at most."""
        return self.in_channels * math.ceil(self.kernel / self.stride) ** rank


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution with an odd kernel that keeps the size."""

    in_channels: int
    out_channels: int
    kernel: int

    def shapes(self, rank: int) -> Iterator[tuple[int, ...]]:
        """Of weight and bias."""
        yield (self.out_channels, self.in_channels, *(self.kernel,) * rank)
        yield (self.out_channels,)

    def terms(self, rank: int) -> int:
        """Products in an output element, at most."""
        return self.in_channels * self.kernel**rank


@dataclass(frozen=True, kw_only=True)
class Norm:
    """Batch normalisation by the statistics of the batch, as in training."""

    channels: int

    def shapes(self, rank: int) -> Iterator[tuple[int, ...]]:
        """Of scale and offset."""
        del rank
        yield from [(self.channels,)] * 2


@dataclass(frozen=True)
class Relu:
    """Rectifies; `slope` is that of the negative side."""

    slope: float = 0.0


@dataclass(frozen=True)
class Tanh:
    """Squashes into (-1, 1)."""


@dataclass(frozen=True)
class Join:
    """Appends the channels of the next skip input."""


@dataclass(frozen=True)
class Residual:
    """Adds what its steps make."""

    steps: tuple["Step", ...]


Layer = Up | Conv | Norm | Relu | Tanh
Step = Layer | Join | Residual

EPSILON = 1e-5
"""Of the batch normalisation."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A decoder: its input, its skip inputs and its steps.

    Attributes:
      inputs: shapes, channels first; the first runs through the steps, each `Join`
        takes the next.
    """

    name: str
    inputs: tuple[tuple[int, ...], ...]
    steps: tuple[Step, ...]

    @property
    def rank(self) -> int:
        """Spatial axes."""
        return len(self.inputs[0]) - 2

    @property
    def layers(self) -> list[Layer]:
        """The steps one by one, in the order in which they run."""
        return list(_flat(self.steps))

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(N, C_out, *O)."""
        batch, channels, *space = self.inputs[0]
        for layer in self.layers:
            if isinstance(layer, Up | Conv):
                channels = layer.out_channels
            if isinstance(layer, Up):
                grown = layer.kernel - 2 * layer.padding
                space = [(n - 1) * layer.stride + grown for n in space]
        return (batch, channels, *space)

    @property
    def terms(self) -> int:
        """Products on the longest way from the input to an output element."""
        sums = [layer for layer in self.layers if isinstance(layer, Up | Conv)]
        return sum(layer.terms(self.rank) for layer in sums)

    def parameters(self) -> list[list[np.ndarray]]:
        """For each layer its parameters, in PyTorch's layouts; the same every time."""
        rng = np.random.default_rng(0)
        return [
            [_parameter(rng, layer, shape, self.rank) for shape in _shapes(layer, self)]
            for layer in self.layers
        ]

    def arrays(self) -> tuple[list[np.ndarray], np.ndarray]:
        """The inputs, and the target that training approaches."""
        rng = np.random.default_rng(1)
        shapes = (*self.inputs, self.output_shape)
        *inputs, target = (rng.standard_normal(shape, np.float32) for shape in shapes)
        return inputs, target


def _flat(steps: Sequence[Step]) -> Iterator[Layer]:
    for step in steps:
        if isinstance(step, Residual):
            yield from _flat(step.steps)
        elif not isinstance(step, Join):
            yield step


def _shapes(layer: Layer, network: Network) -> Iterator[tuple[int, ...]]:
    if isinstance(layer, Up | Conv | Norm):
        yield from layer.shapes(network.rank)


def _parameter(
    rng: np.random.Generator, layer: Layer, shape: tuple[int, ...], rank: int
) -> np.ndarray:
    """Scales near 1, offsets near 0, and weights that keep the size of what passes."""
    values = rng.standard_normal(shape, np.float32)
    if len(shape) > 1 and isinstance(layer, Up | Conv):
        return values * np.float32(math.sqrt(2 / layer.terms(rank)))
    near = 1 if isinstance(layer, Norm) else 0
    return near + np.float32(0.1) * values


def walk(
    steps: Sequence[Step],
    layers: Iterator[Callable[[Any], Any]],
    x: Any,
    skips: Iterator[Any],
    join: Callable[[Any, Any], Any],
) -> Any:
    """Run `steps` on `x`: `layers` in their order, with joins and residuals between."""
    for step in steps:
        if isinstance(step, Join):
            x = join(x, next(skips))
        elif isinstance(step, Residual):
            x = x + walk(step.steps, layers, x, skips, join)
        else:
            x = next(layers)(x)
    return x


def dcgan(batch: int = 16, latent: int = 100, width: int = 64) -> Network:
    """The generator of DCGAN (Radford et al., 2016): an image of 64x64 pixels."""
    steps: list[Step] = []
    channels = [latent, 8 * width, 4 * width, 2 * width, width, 3]
    for n, (c_in, c_out) in enumerate(pairwise(channels)):
        if n:
            steps += [Norm(channels=c_in), Relu()]
        steps.append(
            Up(
                in_channels=c_in,
                out_channels=c_out,
                kernel=4,
                stride=2 if n else 1,
                padding=1 if n else 0,
                bias=False,
            )
        )
    steps.append(Tanh())
    return Network(
        name="DCGAN generator", inputs=((batch, latent, 1, 1),), steps=tuple(steps)
    )


def unet(batch: int = 2, channels: int = 512, size: int = 8, ups: int = 4) -> Network:
    """The decoder of U-Net (Ronneberger et al., 2015), with padded convolutions."""
    return _unet("U-Net decoder", batch, channels, (size,) * 2, ups, convolutions=2)


def unet3d(batch: int = 1, channels: int = 128, size: int = 4, ups: int = 3) -> Network:
    """The decoder of a 3-D U-Net (Cicek et al., 2016)."""
    return _unet("3-D U-Net decoder", batch, channels, (size,) * 3, ups, convolutions=1)


def _unet(
    name: str,
    batch: int,
    channels: int,
    space: tuple[int, ...],
    ups: int,
    convolutions: int,
) -> Network:
    inputs = [(batch, channels, *space)]
    steps: list[Step] = []
    for n in range(1, ups + 1):
        half = channels // 2
        inputs.append((batch, half, *(size * 2**n for size in space)))
        steps += [
            Up(in_channels=channels, out_channels=half, kernel=2, stride=2),
            Join(),
        ]
        for _ in range(convolutions):
            steps += [
                Conv(in_channels=channels, out_channels=half, kernel=3),
                Relu(),
            ]
            channels = half
    return Network(name=name, inputs=tuple(inputs), steps=tuple(steps))


def hifigan(batch: int = 1, channels: int = 512, frames: int = 64) -> Network:
    """The upsampling of HiFi-GAN (Kong et al., 2020), one residual convolution each."""
    inputs = ((batch, channels, frames),)
    steps: list[Step] = []
    for kernel, stride in ((16, 8), (16, 8), (4, 2), (4, 2)):
        half = channels // 2
        steps += [
            Relu(0.1),
            Up(
                in_channels=channels,
                out_channels=half,
                kernel=kernel,
                stride=stride,
                padding=(kernel - stride) // 2,
            ),
            Residual((Relu(0.1), Conv(in_channels=half, out_channels=half, kernel=3))),
        ]
        channels = half
    steps += [Relu(0.1), Conv(in_channels=channels, out_channels=1, kernel=7), Tanh()]
    return Network(name="HiFi-GAN upsampling", inputs=inputs, steps=tuple(steps))


def networks() -> dict[str, Network]:
    """Name -> the network, as it is raced."""
    return {
        "dcgan": dcgan(),
        "unet": unet(),
        "hifigan": hifigan(),
        "unet3d": unet3d(),
    }
