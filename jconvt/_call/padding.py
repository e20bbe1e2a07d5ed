"""Every named padding (dialect) as a crop: output elements removed at each end.

Letters as in `geometry`: e the extent of the kernel, s the stride, t = e - s the
overlap of neighbouring input elements. No crop depends on the input size.

=============== ===================================== ===============================
dialect         crop (low, high)                      source
=============== ===================================== ===============================
``VALID``       (0, min(t, 0))                        lax, TensorFlow, Keras
``SAME``        (t+ // 2, t - t+ // 2)                lax, TensorFlow, Keras
``SAME_LOWER``  (ceil(t+ / 2), t - ceil(t+ / 2))      ONNX
``CAUSAL``      (0, t)                                no output sees a later input
``CIRCULAR``    that of ``SAME``, input wrapped       Flax
=============== ===================================== ===============================

with t+ = max(t, 0). All but ``VALID`` give n*s output elements for n input elements;
``VALID`` gives (n - 1)*s + max(e, s). The other rules of the frameworks are functions
below, for `jconvt.interop`: each computes the number of elements to crop and halves it,
with the odd element at the high end (`halve`) or at the low end (`halve_lower`).

``CIRCULAR`` sums the full output modulo n*s. An input that is extended periodically, by
as many elements as reach the kept outputs, gives the same without that sum: position
p = 0..n*s-1 of the output is full position p + low, which elements
ceil((p + low - e + 1)/s) to floor((p + low)/s) reach: floor((e - 1 - low)/s) of them
before the first element and floor((low + s - 1)/s) after the last. Flax aligns its
``transpose_kernel=True`` layers at ceil(t+ / 2) instead: ``CIRCULAR_LOWER``.
"""

from collections.abc import Callable
from typing import NamedTuple


class Crop(NamedTuple):
    """The crop of a dialect on one axis."""

    low: int
    high: int
    wrap: tuple[int, int] = (0, 0)
    """Input elements of a periodic extension, before the first and after the last."""


def halve(total: int) -> Crop:
    """`total` elements cropped, the odd one high; negative: all appended high."""
    low = max(total, 0) // 2
    return Crop(low, total - low)


def halve_lower(total: int) -> Crop:
    """`total` elements cropped, the odd one low; negative: all appended high."""
    low = (max(total, 0) + 1) // 2
    return Crop(low, total - low)


def _valid(e: int, s: int) -> Crop:
    return Crop(0, min(e - s, 0))


def _same(e: int, s: int) -> Crop:
    return halve(e - s)


def _same_lower(e: int, s: int) -> Crop:
    return halve_lower(e - s)


def _causal(e: int, s: int) -> Crop:
    return Crop(0, e - s)


def periodic(low: int, e: int, s: int) -> Crop:
    """The input wrapped so that output p is full position p + `low` modulo n*s."""
    before = max((e - 1 - low) // s, 0)
    after = (low + s - 1) // s
    # `before` more elements move every position up by before*s, and the output keeps
    # n*s of the full size (n + before + after - 1)*s + e.
    low += before * s
    return Crop(low, (before + after - 1) * s + e - low, (before, after))


def within_period(crop: Crop, k: int, s: int, d: int, n: int) -> tuple[Crop, int]:
    """A periodic crop, and a dilation of at most n*s, that give the same output.

    Positions count modulo n*s, so a dilation does too. A larger one would wrap the
    input around as often as it exceeds the period.
    """
    period = n * s
    if not 0 < period < d:
        return crop, d
    d = (d - 1) % period + 1
    low = (crop.low - crop.wrap[0] * s) % period
    return periodic(low, d * (k - 1) + 1, s), d


def _circular(e: int, s: int) -> Crop:
    return periodic(_same(e, s).low, e, s)


def _circular_lower(e: int, s: int) -> Crop:
    return periodic(_same_lower(e, s).low, e, s)


DIALECTS: dict[str, Callable[[int, int], Crop]] = {
    "VALID": _valid,
    "SAME": _same,
    "SAME_LOWER": _same_lower,
    "CAUSAL": _causal,
    "CIRCULAR": _circular,
    "CIRCULAR_LOWER": _circular_lower,
}
"""Name of the dialect -> (extent, stride) -> crop."""

PERIODIC = frozenset({"CIRCULAR", "CIRCULAR_LOWER"})
"""Dialects whose output size is n*stride and nothing else."""


def lax_pads(e: int, low: int, high: int) -> Crop:
    """Zeros around the stride-dilated input, as in lax; negative removes elements.

    With e - 1 zeros at an end, every output that some tap reaches is kept.
    """
    return Crop(e - 1 - low, e - 1 - high)


def keras_same(e: int, output_padding: int) -> Crop:
    """Keras's ``same`` with an `output_padding`, which the crop includes.

    It leaves (n - 1)*s + e % 2 + output_padding elements, whatever the stride.
    """
    return halve(e - e % 2 - output_padding)


def equinox_same(e: int, s: int, output_padding: int, *, lower: bool) -> Crop:
    """Equinox's ``SAME`` and ``SAME_LOWER``, where `output_padding` *reduces* the size.

    They transpose a convolution from n*s - output_padding elements to n.
    """
    return (halve_lower if lower else halve)(e - s + output_padding)


def haiku_output_shape(e: int, s: int, size: int, *, same: bool) -> Crop:
    """Haiku's `output_shape`, which fits exactly one input size.

    A convolution takes `size` elements to ceil(size/s) of them under ``SAME`` and to
    floor((size - e)/s) + 1 under ``VALID``.
    """
    n = -(-size // s) if same else (size - e) // s + 1
    # Under ``VALID`` the full output is no larger than `size`: all is appended high.
    return halve((n - 1) * s + e - size)


def onnx_same(e: int, s: int, output_padding: int, *, lower: bool) -> Crop:
    """ONNX's ``SAME_UPPER`` and ``SAME_LOWER``, before `output_padding`.

    The size is n*s. Where that is more than there is to crop, ONNX Runtime and ONNX's
    shape inference crop nothing and leave a smaller output; this is their reading.
    """
    return (halve_lower if lower else halve)(max(e - s + output_padding, 0))


def onnx_output_shape(
    n: int, e: int, s: int, output_padding: int, size: int, *, lower: bool
) -> Crop:
    """ONNX's `output_shape` for n input elements, before `output_padding`.

    The only rule whose crop depends on n. What is missing is appended at the high end,
    as in ONNX's node test of `output_shape` and in ONNX Runtime.
    """
    total = (n - 1) * s + e + output_padding - size
    return (halve_lower if lower else halve)(total)
