"""Every padding dialect as a crop: (low, high) output elements removed, per axis.

Letters as in `_geometry`: e the extent of the kernel, s the stride, t = e - s the
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
``VALID`` gives (n - 1)*s + max(e, s).

``CIRCULAR`` sums the full output modulo n*s. The same is had without that sum from an
input continued periodically by as many elements as reach the kept outputs: position
p = 0..n*s-1 of the output is full position p + low, which elements
ceil((p + low - e + 1)/s) to floor((p + low)/s) reach: floor((e - 1 - low)/s) of them
before the first element and floor((low + s - 1)/s) after the last. Flax aligns its
``transpose_kernel=True`` layers at ceil(t+ / 2) instead: ``CIRCULAR_LOWER``.
"""

from collections.abc import Callable
from typing import NamedTuple


class Crop(NamedTuple):
    """What a dialect means on one axis."""

    low: int
    high: int
    wrap: tuple[int, int] = (0, 0)
    """Input elements to continue periodically before the first and after the last."""


def _valid(e: int, s: int) -> Crop:
    return Crop(0, min(e - s, 0))


def _split(e: int, s: int, low: int) -> Crop:
    return Crop(low, e - s - low)


def _same(e: int, s: int) -> Crop:
    return _split(e, s, max(e - s, 0) // 2)


def _same_lower(e: int, s: int) -> Crop:
    return _split(e, s, (max(e - s, 0) + 1) // 2)


def _causal(e: int, s: int) -> Crop:
    return _split(e, s, 0)


def _periodic(crop: Crop, e: int, s: int) -> Crop:
    before = (e - 1 - crop.low) // s
    after = (crop.low + s - 1) // s
    # `before` more elements move every position up by before*s, and the output keeps
    # n*s of the full size (n + before + after - 1)*s + e.
    low = crop.low + before * s
    return Crop(low, (before + after - 1) * s + e - low, (before, after))


def _circular(e: int, s: int) -> Crop:
    return _periodic(_same(e, s), e, s)


def _circular_lower(e: int, s: int) -> Crop:
    return _periodic(_same_lower(e, s), e, s)


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
