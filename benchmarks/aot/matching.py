"""Whether a program calls what cuDNN has for it."""

from collections.abc import Mapping

from benchmarks.aot.reading import GEMM, Reading
from benchmarks.layers import Layer

WANTED: Mapping[str, Mapping[str, int]] = {
    "forward": {"convBackwardInput": 1},
    "input-gradient": {"convForward": 1},
    "weight-gradient": {"convBackwardFilter": 1},
    "training": {"convBackwardFilter": 1, "convBackwardInput": 1, "convForward": 1},
}
"""Map -> the calls for it: a transposed convolution is a convolution's gradient."""

_SHORT = {
    "convBackwardInput": "dgrad",
    "convForward": "fprop",
    "convBiasActivationForward": "fprop",
    "convBackwardFilter": "wgrad",
}
"""cuDNN's convolutions as its manual abbreviates them."""


def is_plain(layer: Layer) -> bool:
    """Whether those calls can express it: one group, no dilation."""
    return layer.groups == 1 and all(d == 1 for d in layer.dilation)


def matches(reading: Reading, map_name: str) -> bool:
    """Whether these are the wanted calls, and nothing is inflated for them."""
    return dict(reading.calls) == WANTED[map_name] and not reading.inflated_bytes


def is_gemm(reading: Reading, map_name: str) -> bool:
    """Whether there is a GEMM in place of each of them."""
    calls = {GEMM: sum(WANTED[map_name].values())}
    return dict(reading.calls) == calls and not reading.inflated_bytes


def short(calls: Mapping[str, int]) -> str:
    """Calls in a cell, like ``dgrad + 2 gemm``."""
    numbers: dict[str, int] = {}
    for kind, count in calls.items():
        name = _SHORT.get(kind, kind)
        numbers[name] = numbers.get(name, 0) + count
    texts = (n if count == 1 else f"{count} {n}" for n, count in numbers.items())
    return " + ".join(texts) or "no call"
