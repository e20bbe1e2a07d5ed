"""Paddings of several axes: from a rule to crops, and from crops to PyTorch's."""

from collections.abc import Callable
from typing import Any

from jconvt._call.options import Pairs
from jconvt._call.padding import Crop


def per_axis(rule: Callable[..., Crop], *options: tuple[Any, ...]) -> Pairs:
    """A dialect's rule applied axis by axis, as (low, high) pairs."""
    crops = (rule(*axis) for axis in zip(*options, strict=True))
    return tuple((crop.low, crop.high) for crop in crops)


def symmetric(
    crop: Pairs, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """A crop as PyTorch's `padding` and `output_padding`, or None where it is none."""
    padding = tuple(low for low, _ in crop)
    more = tuple(low - high for low, high in crop)
    fits = all(
        p >= 0 and 0 <= a < max(s, d)
        for p, a, s, d in zip(padding, more, stride, dilation, strict=True)
    )
    return (padding, more) if fits else None
