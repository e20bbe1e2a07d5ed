"""Paddings over several axes: from a dialect to crops, from crops to PyTorch's."""

from collections.abc import Callable
from typing import Any

from jconvt._call.arguments import is_int
from jconvt._call.options import Pairs
from jconvt._call.padding import Crop, lax_pads


def per_axis(rule: Callable[..., Crop], *options: tuple[Any, ...]) -> Pairs:
    """A dialect's rule applied axis by axis, as (low, high) pairs."""
    crops = (rule(*axis) for axis in zip(*options, strict=True))
    return tuple((crop.low, crop.high) for crop in crops)


def crop_of_pads(function: str, padding: Any, extents: tuple[int, ...]) -> Any:
    """Zeros around the stride-dilated input, pairs or ints, as (low, high) crops."""
    if not isinstance(padding, tuple | list):
        padding = (padding,) * len(extents)
    pairs = [tuple(p) if isinstance(p, tuple | list) else (p, p) for p in padding]
    if len(pairs) != len(extents) or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"{function}: `padding` must be a string, an int or {len(extents)} ints or "
            f"(low, high) pairs, one for each spatial axis; got {padding!r}."
        )
    for value in (value for pair in pairs for value in pair):
        if not is_int(value):
            raise TypeError(f"{function}: `padding` must hold ints; got {padding!r}.")
    lows, highs = zip(*pairs, strict=True) if pairs else ((), ())
    return per_axis(lax_pads, extents, lows, highs)


def symmetric(
    crop: Pairs, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """A crop as PyTorch's `padding` and `output_padding`, where it can say it."""
    padding = tuple(low for low, _ in crop)
    more = tuple(low - high for low, high in crop)
    fits = all(
        p >= 0 and 0 <= a < max(s, d)
        for p, a, s, d in zip(padding, more, stride, dilation, strict=True)
    )
    return (padding, more) if fits else None
