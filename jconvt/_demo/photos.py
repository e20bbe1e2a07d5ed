"""The photographs, their reduced versions, and random patches to learn from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

FACTOR = 3
"""By what factor the network enlarges height and width."""

LEARN = ("chelsea", "coffee", "rocket", "stereo_motorcycle")
HELD_OUT = "astronaut"
"""All are part of scikit-image's wheel; nothing is downloaded."""

ZOOMS = (1.0, 0.7)
"""Each photograph is used at these scales."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Photo:
    """A photograph and its small version, both (H, W, 3) uint8 in RGB."""

    small: Array
    large: Array


def load(name: str, zoom: float = 1.0) -> Photo:
    """The photograph `name` of scikit-image, `zoom` times its size."""
    import skimage.data

    image: Any = getattr(skimage.data, name)()
    large: Array = image[0] if isinstance(image, tuple) else image
    if zoom != 1.0:
        large = resize(large, zoom)
    height, width = (n - n % FACTOR for n in large.shape[:2])
    large = large[:height, :width]
    return Photo(small=resize(large, 1 / FACTOR), large=large)


def resize(image: Array, zoom: float) -> Array:
    """Pillow's bicubic resize, which smooths before it reduces.

    It makes both the small photographs and the bicubic baseline.
    """
    from PIL import Image

    height, width = (round(n * zoom) for n in image.shape[:2])
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def luma(image: Array) -> Array:
    """The brightness of an RGB image, (H, W) uint8: the Y of JPEG's YCbCr."""
    return np.rint(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def recolour(brightness: Array, image: Array) -> Array:
    """The RGB image with this `brightness` and the Cb and Cr of `image`."""
    change = brightness.astype(np.int16) - luma(image)
    return np.clip(image + change[..., None], 0, 255).astype(np.uint8)


def psnr(image: Array, truth: Array) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 images, without the border.

    The outermost `FACTOR` pixels are left out, as is usual for super-resolution.
    """
    inner = (slice(FACTOR, -FACTOR),) * 2
    error = image[inner].astype(np.float64) - truth[inner]
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def patches(
    photos: list[Photo], count: int, size: int, seed: int
) -> Iterator[tuple[Array, Array]]:
    """Endless batches of random patches, randomly rotated and mirrored.

    Yields:
        The brightness in [0, 1] of `count` patches, float32 and channels last:
        (count, size, size, 1) small and (count, FACTOR*size, FACTOR*size, 1) large.
    """
    rng = np.random.default_rng(seed)
    pairs = [(as_input(luma(p.small)), as_input(luma(p.large))) for p in photos]
    areas = np.array([small.size for small, _ in pairs])
    while True:
        chosen = rng.choice(len(pairs), count, p=areas / areas.sum())
        batch = [_patch(*pairs[int(i)], size, rng) for i in chosen]
        yield (
            np.concatenate([s for s, _ in batch]),
            np.concatenate([b for _, b in batch]),
        )


def as_input(brightness: Array) -> Array:
    """A (H, W) uint8 image as a float32 batch of one, (1, H, W, 1), in [0, 1]."""
    return (brightness.astype(np.float32) / 255)[None, :, :, None]


def as_image(output: Any) -> Array:
    """The inverse of `as_input`, rounded and clipped."""
    return np.rint(np.clip(np.asarray(output)[0, :, :, 0], 0, 1) * 255).astype(np.uint8)


def _patch(
    small: Array, large: Array, size: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """A random patch of both versions of a photograph, as batches of one."""
    y, x = (rng.integers(n - size + 1) for n in small.shape[1:3])
    turns, mirrored = int(rng.integers(4)), rng.integers(2)

    def cut(image: Array, scale: int) -> Array:
        rows, columns = (slice(scale * n, scale * (n + size)) for n in (y, x))
        turned = np.rot90(image[:, rows, columns], turns, axes=(1, 2))
        return turned[:, :, ::-1] if mirrored else turned

    return cut(small, 1), cut(large, FACTOR)
