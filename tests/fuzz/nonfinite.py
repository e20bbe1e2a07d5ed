"""Where a NaN or an infinity goes: to the sums that contain it, and to no other.

Which sums those are the definition says: of arrays of ones, those that change where the
element becomes 0. Outputs and input gradients take nothing else from an input or from a
cotangent; a weight, and what reaches a weight gradient, is promised to go no less far.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st

from fuzz.check import Wrong, from_layout, prepare, results_of, to_layout, volume
from fuzz.config import Config
from fuzz.definition import Definition
from fuzz.strategies import configs
from fuzz.ways import WAYS

DTYPES = ["float32"] * 5 + ["float64", "bfloat16", "float16"]
VALUES = (np.nan, np.inf, -np.inf)
SOME_WAYS = (
    "output", "vjp", "vjp", "input gradient", "jvp", "vmap", "vmap of vjp",
    "vjp of vmap", "scan", "vjp of scan", "remat", "linear_transpose",
    "reverse over reverse",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Poisoned:
    """A config, and where its bad element stands, counted modulo the array's size."""

    config: Config
    source: str
    value: float
    place: int

    def line(self) -> str:
        """The poisoned config as Python."""
        config = self.config.line().rstrip(",")
        value = f"float({str(self.value)!r})"
        return f"Poisoned({config}, {self.source!r}, {value}, {self.place}),"


@st.composite
def poisoned(
    draw: st.DrawFn,
    lowering: str = "auto",
    way: str | None = None,
    source: str | None = None,
) -> Poisoned:
    """Any call in floats, small or with channels enough for every formulation."""
    fixed = {
        "dtype": draw(st.sampled_from(DTYPES)),
        "weight_dtype": None,
        "preferred": None,
        "lowering": lowering,
        "way": way or draw(st.sampled_from(SOME_WAYS)),
        "bias": False,
        "whole": False,
    }
    config = draw(configs(**fixed))
    if draw(st.integers(0, 2)) == 2:
        channels = draw(st.sampled_from([(1, 32), (32, 1), (24, 24), (64, 16)]))
        config = dataclasses.replace(config, channels=channels)
    source = source or draw(st.sampled_from(["x", "x", "g", "g", "w"]))
    value = draw(st.sampled_from(VALUES))
    return Poisoned(config, source, value, draw(st.integers(0, 10**6)))


def check(some: list[Poisoned]) -> None:
    """A `Wrong` for the first whose bad element goes too far, or not far enough."""
    for one, reaches in zip(some, spread(some), strict=True):
        for i, (name, missed, more) in enumerate(reaches):
            exact = one.source != "w" and name != "w"
            if missed or (exact and more):
                raise Wrong(
                    one,
                    f"result {i}, {name}: {one.value} in {one.source} misses {missed} "
                    f"and reaches {more} elements too many",
                )


def spread(some: list[Poisoned]) -> list[list[tuple[str, int, int]]]:
    """Of each result of each: its name, elements missed, and elements too many."""
    prepared = [prepare(one.config) for one in some]
    names: list[list[str]] = []

    def program(arrays: list[dict[str, Any]]) -> list[list[Any]]:
        names.clear()
        made = []
        for one, given in zip(some, arrays, strict=True):
            results = results_of(one.config, given)
            names.append([name for name, _ in results])
            made.append([a for _, a in results])
        return made

    bad = [
        p.given | {one.source: to_layout(one.config, one.source, _spoil(one, p.plain))}
        for one, p in zip(some, prepared, strict=True)
    ]
    found = jax.jit(program, compiler_options=volume())(bad)
    return [
        [_miscounts(one, *r) for r in zip(its_names, arrays, reached(one), strict=True)]
        for one, its_names, arrays in zip(some, names, found, strict=True)
    ]


def _spoil(one: Poisoned, plain: dict[str, Any]) -> np.ndarray:
    a = np.array(plain[one.source])
    if a.size:
        a.reshape(-1)[one.place % a.size] = one.value
    return a


def reached(one: Poisoned) -> list[np.ndarray]:
    """Of each result, which elements have the bad one among their terms."""
    config = one.config
    ones = {
        name: np.ones(config.shapes[name[0]])
        for name in ("x", "w", "g", "x2", "w2", "g2")
    } | {"b": None, "b2": None}
    without = dict(ones)
    a = np.ones(config.shapes[one.source])
    if a.size:
        a.reshape(-1)[one.place % a.size] = 0
    without[one.source] = a
    definition, way = Definition(config), WAYS[config.way]
    pair = (way.expected(definition, each, config.mapped) for each in (ones, without))
    return [full.value != less.value for full, less in zip(*pair, strict=True)]


def _miscounts(
    one: Poisoned, name: str, a: Any, wanted: np.ndarray
) -> tuple[str, int, int]:
    actual = from_layout(one.config, name, np.asarray(a))
    found = ~np.isfinite(actual.astype(np.float64))
    return name, int((wanted & ~found).sum()), int((found & ~wanted).sum())
