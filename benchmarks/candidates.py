"""Times of every formulation that a CPU can choose, for each of the three maps."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import track

from benchmarks.layers import Layer
from jconvt._call.call import Call
from jconvt._call.geometry import Geometry
from jconvt._call.layout import Layout
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Map, Problem
from jconvt._choice.choose import (
    candidates,
    estimate,
    work_of,
)
from jconvt._choice.cost import features
from jconvt._choice.formulation import Formulation
from jconvt._choice.pieces import Pieces
from jconvt._choice.turned import is_turned
from jconvt._lowerings.work import Variant
from jconvt._maps.make import perform
from jconvt._maps.target import Target
from jconvt._shell.timing import race


def measure(
    problem: Problem, slot: Map, seconds: float, within: float, *, few: bool = False
) -> dict[Formulation, float]:
    """Median seconds of the candidates estimated `within` so many times the least.

    `few`: of each lowering only the candidate with the least estimate.
    """
    geometry, layout = problem.geometry, layout_of(problem)
    arrays = arrays_of(problem)
    estimates = {f: estimate(slot, problem, f) for f in candidates(slot, problem)}
    least = min(estimates.values())
    found = [f for f, guess in estimates.items() if guess <= within * least]
    if few:
        dearest_first = sorted(found, key=lambda f: -estimates[f])
        found = list({f.lowering: f for f in dearest_first}.values())

    def compiled(formulation: Formulation) -> Callable[[], object]:
        program = jax.jit(map_of(formulation, slot, geometry, layout))
        run = program.lower(arrays).compile()
        return lambda: jax.block_until_ready(run(arrays))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = dict(zip(map(str, found), pool.map(compiled, found), strict=True))
    once = race(runs, seconds=0, rounds=1)
    # What is far behind (a plain loop) is not timed again.
    close = {f: r for f, r in runs.items() if once[f] < 8 * min(once.values())}
    times = once | race(close, seconds=seconds * len(close), rounds=3)
    return {formulation: times[str(formulation)] for formulation in found}


def layout_of(problem: Problem) -> Layout:
    """The caller's layout, with the weight in PyTorch's."""
    make = Layout.channels_first if problem.features_first else Layout.channels_last
    return make(problem.geometry.rank)


def arrays_of(problem: Problem) -> dict[Map, jax.Array]:
    """Input, weight and cotangent in `layout_of`: normal float32, always the same."""
    rng = np.random.default_rng(0)
    geometry = problem.geometry
    channels = (problem.in_channels, problem.out_channels // geometry.groups)
    w = jnp.asarray(rng.standard_normal((*channels, *geometry.kernel_size), np.float32))
    shapes = [
        (problem.batch, channels, *size)
        if problem.features_first
        else (problem.batch, *size, channels)
        for channels, size in (
            (problem.in_channels, problem.size),
            (problem.out_channels, geometry.output_size(problem.size)),
        )
    ]
    x, y = (jnp.asarray(rng.standard_normal(s, np.float32)) for s in shapes)
    return {Map.INPUT: x, Map.WEIGHT: w, Map.OUTPUT: y}


Run = Callable[[dict[Map, jax.Array]], jax.Array]
"""From all three arrays to the one that the map makes, of which it reads the others."""


def map_of(
    formulation: Formulation, slot: Map, geometry: Geometry, layout: Layout
) -> Run:
    """One of the three maps in a given formulation, on a CPU."""
    call = Call(
        geometry=geometry,
        wrap=((0, 0),) * geometry.rank,
        layout=layout,
        operand=np.dtype(np.float32),
        numerics=Numerics(None, np.dtype(np.float32)),
        lowering="auto",
    )

    def run(arrays: dict[Map, jax.Array]) -> jax.Array:
        operands = {which: a for which, a in arrays.items() if which != slot}
        return perform(
            slot, operands, call, arrays[slot].shape, formulation, Target("cpu")
        )

    return run


def collect(
    problems: Iterable[tuple[str, Problem]],
    seconds: float,
    within: float,
    *,
    few: bool = False,
) -> Iterator[dict[str, Any]]:
    """For each problem, map and candidate of `measure`: its time, and the best time.

    Maps that are made as others are left to these.
    """
    for name, problem in track(list(problems), "timing"):
        for slot in Map:
            if is_turned(slot, problem):
                continue
            times = measure(problem, slot, seconds, within, few=few)
            yield from rows_of(name, problem, slot, times)


def rows_of(
    name: str, problem: Problem, slot: Map, times: dict[Formulation, float]
) -> Iterator[dict[str, Any]]:
    """A row for JSON for each candidate of a map of a layer.

    A layer that is computed group by group gives none: its groups are layers without
    groups, and drawn layers of that kind have rows of their own.
    """
    for formulation, spent in times.items():
        if formulation.by_group:
            continue
        yield {
            "layer": name,
            "problem": asdict(problem) | {"dtype": problem.dtype.name},
            "slot": str(slot),
            "lowering": formulation.lowering,
            "variant": asdict(formulation.variant),
            "pieces": asdict(formulation.pieces),
            "seconds": spent,
            "best": min(times.values()),
        }


def read(row: dict[str, Any]) -> tuple[Map, Problem, Formulation]:
    """The map, the problem and the formulation of a row of `collect`."""
    problem, geometry = dict(row["problem"]), dict(row["problem"]["geometry"])
    crop = tuple((low, high) for low, high in geometry.pop("crop"))
    groups = geometry.pop("groups")
    axes = {name: tuple(values) for name, values in geometry.items()}
    problem["geometry"] = Geometry(**axes, crop=crop, groups=groups)
    problem["size"] = tuple(problem["size"])
    problem["dtype"] = np.dtype(problem["dtype"])
    formulation = Formulation(
        row["lowering"], Variant(**row["variant"]), Pieces(**row["pieces"])
    )
    return Map(row["slot"]), Problem(**problem), formulation


def features_of(row: dict[str, Any]) -> dict[str, int]:
    """The counts of `jconvt._choice.cost` for a row of `collect`."""
    slot, problem, formulation = read(row)
    return features(slot, problem, work_of(slot, problem, formulation))


def problem_of_layer(layer: Layer, features_first: bool) -> Problem:
    """A layer of the zoo as the choice sees it."""
    crop = tuple(
        (p, p - a) for p, a in zip(layer.padding, layer.output_padding, strict=True)
    )
    geometry = Geometry(
        kernel_size=layer.kernel_size,
        stride=layer.stride,
        dilation=layer.dilation,
        crop=crop,
        groups=layer.groups,
    )
    return Problem(
        geometry=geometry.trim()[0],
        batch=layer.batch,
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        size=layer.spatial,
        dtype=np.dtype(np.float32),
        features_first=features_first,
    )
