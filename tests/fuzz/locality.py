"""How local non-finite values are in each pinned lowering, as a table.

``python -m fuzz.locality --examples 300`` draws as many calls for each lowering, with a
NaN or infinity in the input, the cotangent or the weight, and counts those where it
reaches more than the sums that contain it. (It reaches all of those always: `check`.)
"""

import argparse

import jax
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzz.check import Wrong
from fuzz.nonfinite import Poisoned, poisoned, spread
from fuzz.strategies import serving
from jconvt._lowerings.table import LOWERINGS

PATHS = {
    ("x", "g"): "input to output",
    ("g", "x"): "cotangent to input gradient",
    ("x", "w"): "input to weight gradient",
    ("g", "w"): "cotangent to weight gradient",
    ("w", "g"): "weight to output",
    ("w", "x"): "weight to input gradient",
}
TOGETHER = 16
"""Calls in one program."""

WAYS = {"g": "output", "x": "input gradient", "w": "weight gradient"}


def drawn(lowering: str, source: str, made: str) -> st.SearchStrategy[Poisoned]:
    """Calls that a lowering serves, with the bad element in one place."""
    return (
        poisoned(lowering, WAYS[made], source)
        .filter(lambda one: lowering in ("auto", *serving(one.config)))
        .filter(lambda one: 0 not in one.config.space)
    )


def count(lowering: str, source: str, made: str, examples: int) -> tuple[int, int]:
    """Calls tried, and those where the bad element went too far."""
    calls: list[Poisoned] = []

    # One at a time: of a list, most would be thrown away for one that does not serve.
    @seed(1)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn(lowering, source, made))
    def draw(one: Poisoned) -> None:
        calls.append(one)

    draw()
    further = 0
    for first in range(0, len(calls), TOGETHER):
        some = calls[first : first + TOGETHER]
        for one, [(_, missed, more)] in zip(some, spread(some), strict=True):
            if missed:
                raise Wrong(one, f"misses {missed} elements")
            further += more > 0
    return len(calls), further


def main() -> None:
    """The table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.locality")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--lowerings", nargs="*", default=["auto", *LOWERINGS])
    parsed = parser.parse_args()
    print("| lowering |", " | ".join(PATHS.values()), "|")
    print("|---" * (len(PATHS) + 1) + "|")
    for lowering in parsed.lowerings:
        row = []
        for source, made in PATHS:
            tried, further = count(lowering, source, made, parsed.examples)
            row.append("exact" if not further else f"further in {further} of {tried}")
        print(f"| `{lowering}` |", " | ".join(row), "|", flush=True)
        jax.clear_caches()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
