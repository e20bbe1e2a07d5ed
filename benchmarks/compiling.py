"""How long JAX takes to trace, lower and compile: jconvt against JAX's own form."""

import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.contenders import Form, allow
from benchmarks.contenders.jax_functions import jconvt_first, native
from benchmarks.layers import Layer, zoo
from benchmarks.options import MODES, TITLES, Options
from benchmarks.progress import track
from benchmarks.report import Result, Texts, grid, milliseconds

Stages = dict[str, float]
"""Stage -> seconds."""

FORMS = {"jconvt": jconvt_first, "native": native}
REPEATS = 3


def results(options: Options) -> Iterator[Result]:
    """A table for each mode."""
    allow(options.dtype)
    layers = {layer.name: layer for layer in zoo() if options.wants(layer.name)}
    for train in options.modes:
        times = {
            name: _compare(layer, train, options.dtype)
            for name, layer in track(f"compile, {MODES[train]}", layers)
        }
        yield _result(times, train, options.dtype)


def _compare(layer: Layer, train: bool, dtype: str) -> dict[str, Stages]:
    """Contender -> its median times, taken in turn."""
    forms = {name: form(layer, dtype) for name, form in FORMS.items()}
    times: dict[str, list[Stages]] = {name: [] for name in forms}
    for _ in range(REPEATS):
        for name, form in forms.items():
            times[name].append(_stages(form, train))
    return {
        name: {stage: float(np.median([t[stage] for t in found])) for stage in found[0]}
        for name, found in times.items()
    }


def _stages(form: Form, train: bool) -> Stages:
    function, arguments = form.task(train)

    def fresh(*arrays: jax.Array) -> Any:
        return function(*arrays)

    jax.clear_caches()
    clock = [time.perf_counter()]
    traced = jax.jit(fresh).trace(*arguments)
    clock.append(time.perf_counter())
    lowered = traced.lower()
    clock.append(time.perf_counter())
    lowered.compile()
    clock.append(time.perf_counter())
    trace, lower, compile = (float(seconds) for seconds in np.diff(clock))
    return {
        "trace": trace,
        "lower": lower,
        "compile": compile,
        "all": trace + lower + compile,
    }


def _result(times: dict[str, dict[str, Stages]], train: bool, dtype: str) -> Result:
    lead: Texts = {
        f"{name}, all (ms)": {
            row: milliseconds(cells[name]["all"]) for row, cells in times.items()
        }
        for name in FORMS
    }
    over = {
        row: {stage: ours / cells["native"][stage] for stage, ours in found.items()}
        for row, cells in times.items()
        for found in [cells["jconvt"]]
    }
    return Result(
        name=f"compile-{MODES[train]}-{dtype}",
        title=f"Time to compile: {TITLES[train].lower()}, {dtype}",
        note="jconvt's time over that of `lax.conv_general_dilated` (native), for each "
        f"stage of JAX and for all three; medians of {REPEATS}, caches cleared.",
        table=grid("layer", over, lead),
        data={"seconds": times},
    )
