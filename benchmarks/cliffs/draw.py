"""Random layers as real networks have them, each from a seed and a number.

A geometry, groups and channels are drawn from tables of kinds; the spatial size is then
set so that the layer takes a number of multiply-adds drawn beforehand. A layer outside
the bounds below is drawn again. Everything comes from `random.Random`, so a seed and a
number give the same layer on every machine, however many layers are drawn.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from benchmarks.candidates import problem_of_layer
from benchmarks.layers import Layer

Ints = tuple[int, ...]

USEFUL = (1e6, 5e9)
"""Least and most multiply-adds of products that reach the output."""

MOST_BYTES = 256 * 2**20
"""Of input, weight and output together, in float32."""

MOST_PRODUCTS = 2**28
"""Elements of an image's product matrix (taps and output channels by input elements),
which contenders without pieces hold in memory at once: 1 GiB."""

MOST_CHANNELS = 2048
MOST_SIZE = (2**16, 1024, 128)
"""Of a spatial axis, for one, two and three of them."""


@dataclass(frozen=True)
class Drawn:
    """A layer, and whether its arrays have the channels last."""

    layer: Layer
    channels_last: bool


class Window(NamedTuple):
    """Kernel, stride and dilation of each axis."""

    kernel: Ints
    stride: Ints
    dilation: Ints


def draw(seed: int, number: int) -> Drawn:
    """The layer with this number among those of the seed."""
    rng = Random(f"{seed}-{number}")
    while True:
        drawn = _attempt(rng, f"{seed}-{number}")
        if drawn is not None and within_bounds(drawn.layer):
            return drawn


def within_bounds(layer: Layer) -> bool:
    """Whether a layer is neither too small nor too large to be timed."""
    shapes = layer.input_shape, layer.weight_shape, layer.output_shape
    if min(map(min, shapes)) < 1 or 4 * sum(map(math.prod, shapes)) > MOST_BYTES:
        return False
    if max(layer.in_channels, layer.out_channels) > MOST_CHANNELS:
        return False
    products = math.prod((*layer.kernel_size, *layer.spatial, layer.out_channels))
    useful = problem_of_layer(layer, features_first=True).useful
    return USEFUL[0] <= useful <= USEFUL[1] and products <= MOST_PRODUCTS


def _attempt(rng: Random, name: str) -> Drawn | None:
    geometry = _pick(rng, GEOMETRIES)
    if geometry == "inverse-stft":
        groups_kind, groups = "no groups", 1
        window, batch, channels = _inverse_stft(rng)
    else:
        rank = rng.choice((1, 1, 2, 2, 2, 2, 3, 3))
        window = WINDOWS[geometry](rng, rank)
        groups_kind = _pick(rng, GROUPS)
        groups, batch, channels = CHANNELS[groups_kind](rng)
    padding, output_padding = _padding(rng, window)
    taps = math.prod(window.kernel)
    size = _size(rng, len(window.kernel), batch * math.prod(channels) // groups * taps)
    if size is None:
        return None
    layer = Layer(
        name=name,
        batch=batch,
        in_channels=channels[0],
        out_channels=channels[1],
        spatial=size,
        kernel_size=window.kernel,
        stride=window.stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=window.dilation,
        source=f"drawn: {geometry}, {groups_kind}",
    )
    return Drawn(layer, channels_last=rng.random() < 0.5)


# Kernels and strides ------------------------------------------------------------------

GEOMETRIES = {
    "upsampling": 40,
    "kernel = stride": 14,
    "stride 1": 14,
    "anisotropic": 16,
    "wide kernel": 8,
    "inverse-stft": 8,
}
"""Kind -> how often it is drawn."""


def _upsampling(rng: Random, rank: int) -> Window:
    stride = rng.choice((2, 2, 2, 2, 3, 4, 5, 8))
    kernel = min(16, rng.choice((stride + 1, stride + 2, 2 * stride, 2 * stride + 1)))
    return _equal(rng, rank, kernel, stride)


def _blocks(rng: Random, rank: int) -> Window:
    stride = rng.choice((2, 2, 2, 3, 4, 8, 16))
    return _equal(rng, rank, stride, stride)


def _stride_1(rng: Random, rank: int) -> Window:
    return _equal(rng, rank, rng.choice((1, 2, 3, 3, 3, 4, 5, 7, 9)), 1)


def _anisotropic(rng: Random, rank: int) -> Window:
    """Spectrograms and videos: each axis has a kernel and a stride of its own."""
    stride = [rng.choice((1, 1, 2, 2, 4)) for _ in range(rank)]
    kernel = [rng.choice((1, s, s + 1, 2 * s, 3, 2 * s + 1)) for s in stride]
    return Window(tuple(kernel), tuple(stride), (1,) * rank)


def _wide(rng: Random, rank: int) -> Window:
    most = (4096, 16, 8)[rank - 1]
    kernel = round(_log(rng, 4, most))
    stride = round(_log(rng, 1, min(kernel, 1024)))
    return Window((kernel,) * rank, (stride,) * rank, (1,) * rank)


def _inverse_stft(rng: Random) -> tuple[Window, int, tuple[int, int]]:
    """Overlap-add of windowed frames: real and imaginary parts in, one signal out."""
    hop = rng.choice((64, 80, 128, 160, 256, 256, 300, 320, 512, 1024))
    kernel = rng.choice((2, 3, 4, 4)) * hop
    channels = min(MOST_CHANNELS, rng.choice((kernel // 2 + 1, kernel + 2)))
    window = Window((kernel,), (hop,), (1,))
    return window, rng.choice((1, 2, 4, 8, 16)), (channels, 1)


def _equal(rng: Random, rank: int, kernel: int, stride: int) -> Window:
    """The same on every axis, sometimes dilated."""
    dilation = rng.choice((2, 2, 3, 4)) if kernel > 1 and rng.random() < 0.1 else 1
    return Window((kernel,) * rank, (stride,) * rank, (dilation,) * rank)


WINDOWS: dict[str, Callable[[Random, int], Window]] = {
    "upsampling": _upsampling,
    "kernel = stride": _blocks,
    "stride 1": _stride_1,
    "anisotropic": _anisotropic,
    "wide kernel": _wide,
}
"""Kind -> kernels, for a number of spatial axes."""


def _padding(rng: Random, window: Window) -> tuple[Ints, Ints]:
    """None, or what makes the output `stride` times as large as the input.

    The latter crops the kernel's extent less the stride; where that is odd, the padding
    is one more at both ends and `output_padding` gives the last element back.
    """
    rank = len(window.kernel)
    if rng.random() < 0.25:
        return (0,) * rank, (0,) * rank
    axes = [_same(*axis) for axis in zip(*window, strict=True)]
    padding, output_padding = zip(*axes, strict=True)
    if rng.random() < 0.3:  # as networks do that forget it
        output_padding = (0,) * rank
    return padding, output_padding


def _same(kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    overlap = max(0, dilation * (kernel - 1) + 1 - stride)
    padding = -(-overlap // 2)
    # PyTorch takes no output_padding at stride 1 and dilation 1.
    return padding, overlap % 2 if max(stride, dilation) > 1 else 0


# Groups, batch and channels -----------------------------------------------------------

GROUPS = {
    "no groups": 55,
    "few groups": 12,
    "32 groups": 5,
    "a group for each sample": 10,
    "depthwise": 18,
}
"""Kind -> how often it is drawn."""

Sizes = tuple[int, int, tuple[int, int]]
"""Groups, batch, and the channels of input and output."""


def _no_groups(rng: Random) -> Sizes:
    return 1, _batch(rng), _pair(rng, MOST_CHANNELS)


def _few_groups(rng: Random) -> Sizes:
    return _times(rng, rng.choice((2, 4, 8)), _batch(rng))


def _32_groups(rng: Random) -> Sizes:
    return _times(rng, 32, _batch(rng))


def _samples(rng: Random) -> Sizes:
    """A hypernetwork's kernels differ by sample: the batch becomes the groups."""
    return _times(rng, rng.choice((2, 4, 8, 8, 16, 32)), 1)


def _times(rng: Random, groups: int, batch: int) -> Sizes:
    inside = _pair(rng, MOST_CHANNELS // groups)
    return groups, batch, (groups * inside[0], groups * inside[1])


def _depthwise(rng: Random) -> Sizes:
    channels = _channels(rng, MOST_CHANNELS // 2)
    multiplier = 2 if rng.random() < 0.15 else 1
    return channels, _batch(rng), (channels, multiplier * channels)


CHANNELS: dict[str, Callable[[Random], Sizes]] = {
    "no groups": _no_groups,
    "few groups": _few_groups,
    "32 groups": _32_groups,
    "a group for each sample": _samples,
    "depthwise": _depthwise,
}
"""Kind of groups -> groups, batch and channels."""


def _batch(rng: Random) -> int:
    return rng.choice((1, 1, 1, 2, 3, 4, 6, 8, 12, 16, 32))


def _pair(rng: Random, most: int) -> tuple[int, int]:
    """Channels of input and output: often half as many, sometimes as many."""
    inputs, kind = _channels(rng, most), rng.random()
    if kind < 0.5:
        return inputs, max(1, inputs // 2)
    return inputs, inputs if kind < 0.65 else _channels(rng, most)


def _channels(rng: Random, most: int) -> int:
    """Log-uniform, often a power of two."""
    found = _log(rng, 1, most)
    return 2 ** round(math.log2(found)) if rng.random() < 0.6 else round(found)


# Sizes --------------------------------------------------------------------------------


def _size(rng: Random, rank: int, products: int) -> Ints | None:
    """A size at which `products` for each input element make a wanted number in all.

    None where no size does.
    """
    elements = _log(rng, *USEFUL) / products
    each = elements ** (1 / rank)
    if not 1 <= each <= MOST_SIZE[rank - 1]:
        return None
    if rng.random() < 0.5:
        each = 2 ** round(math.log2(each))
    size = [max(1, round(each))] * rank
    if rank > 1 and rng.random() < 0.3:  # wide images, short videos
        size[0] = max(1, size[0] // 2)
        size[-1] *= 2
    return tuple(size)


def _log(rng: Random, least: float, most: float) -> float:
    return math.exp(rng.uniform(math.log(least), math.log(most)))


def _pick(rng: Random, kinds: dict[str, int]) -> str:
    return rng.choices(list(kinds), list(kinds.values()))[0]
