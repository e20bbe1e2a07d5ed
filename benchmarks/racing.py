"""The race: all contenders timed on each layer of the zoo."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from benchmarks import charts
from benchmarks.contenders import (
    CONTENDERS,
    LOWERING_CONTENDERS,
    Contender,
    Unsupported,
    allow,
)
from benchmarks.layers import Layer, zoo
from benchmarks.options import MODES, TITLES, Options
from benchmarks.progress import say, track
from benchmarks.report import Cells, Result, columns, race_table, ratios, versus
from jconvt._shell.timing import Run, race

QUICK = Options(
    rows=(
        "dcgan-up", "dcgan-rgb", "unet-up", "fsrcnn",
        "centernet-depthwise", "stride-1", "hifigan-3", "nnunet-3d",
    ),
    contenders=(
        "jconvt", "jconvt NHWC", "torch", "torch NHWC", "native", "flax",
        "onnxruntime",
    ),
    seconds=0.5,
    rounds=3,
)  # fmt: skip
"""The default rows and contenders of `--quick`."""


def quick(options: Options) -> Iterator[Result]:
    """The race over a few layers of each kind, in about two minutes."""
    fewer = replace(
        options,
        rows=options.rows or QUICK.rows,
        contenders=options.contenders or QUICK.contenders,
        seconds=QUICK.seconds if options.seconds is None else options.seconds,
        rounds=QUICK.rounds,
    )
    for result in results(fewer):
        yield replace(result, name=f"quick-{result.name}")


def results(options: Options) -> Iterator[Result]:
    """A table for each mode."""
    allow(options.dtype)
    layers = {layer.name: layer for layer in zoo() if options.wants(layer.name)}
    contenders = entrants(options)
    for train in options.modes:
        times = {
            name: _race(layer, contenders, train, options)
            for name, layer in track(MODES[train], layers)
        }
        if not any(times.values()):
            say(f"nobody computes {MODES[train]} in {options.dtype}")
            continue
        yield as_result(times, train=train, options=options)


def entrants(options: Options) -> dict[str, Contender]:
    """The chosen contenders that are installed; a message names the others."""
    wanted = {
        *(options.contenders or CONTENDERS),
        *(LOWERING_CONTENDERS if options.lowerings else ()),
    }
    found = {}
    for name, contender in (CONTENDERS | LOWERING_CONTENDERS).items():
        if name not in wanted:
            continue
        if missing := contender.missing():
            say(f"not installed: {', '.join(missing)}, so {name} does not race")
            continue
        found[name] = contender
    return found


def _race(
    layer: Layer, contenders: Mapping[str, Contender], train: bool, options: Options
) -> dict[str, float]:
    runs: dict[str, Run] = {}
    reference: np.ndarray | None = None
    for name, contender in contenders.items():
        try:
            prepared = contender.prepare(layer, options.dtype, train)
        except Unsupported:
            continue
        found = prepared.result()
        if reference is None:
            reference = found
        if wrong := difference(found, reference, tolerance(layer, options.dtype)):
            say(f"{layer.name}: {name} is not timed, for {wrong}")
            continue
        runs[name] = prepared.run
    seconds = 2.0 if options.seconds is None else options.seconds
    return race(runs, seconds=seconds, rounds=options.rounds)


def tolerance(layer: Layer, dtype: str) -> float:
    """The difference allowed between two results, in units of the largest value.

    A sum's rounding error grows with its terms, at most, in units of the dtype it is
    accumulated in; the result and the bias round a few times more, in their own dtype.
    """
    if not jnp.issubdtype(dtype, jnp.inexact):
        return 0.0
    own = float(jnp.finfo(dtype).eps)
    accumulated = min(own, float(jnp.finfo("float32").eps))
    return 4 * own + layer.terms * accumulated


def difference(found: np.ndarray, reference: np.ndarray, tolerance: float) -> str:
    """What is wrong with `found`; empty if it equals `reference` up to rounding."""
    if found.shape != reference.shape:
        return f"shape {found.shape} in place of {reference.shape}"
    scale = float(np.abs(reference).max(initial=0.0))
    error = float(np.abs(found - reference).max(initial=0.0))
    # Written so that NaN is wrong too.
    if error <= tolerance * scale:
        return ""
    return f"values off by {error:.2g} where {tolerance * scale:.2g} is allowed"


def as_result(times: Cells, *, train: bool, options: Options) -> Result:
    """A mode's tables: each contender over the base, and jconvt over each contender."""
    base = _base(times, options.base)
    title = f"{TITLES[train]}, {options.dtype}"
    over = ratios(times, base)
    tables = [race_table(times, base)]
    if any("jconvt" in cells for cells in times.values()):
        tables.append(versus(times, "jconvt"))
    return Result(
        name=f"{'lowerings-' * options.lowerings}{MODES[train]}-{options.dtype}",
        title=title,
        note=f"Median times over {base}'s (its own in ms): below 1 is faster than "
        f"{base}. Empty where a contender cannot express a layer.",
        table="\n\n".join(tables),
        data={"base": base, "seconds": times},
        chart=lambda path: charts.dots(path, over, title, f"time over {base}'s"),
    )


def _base(times: Cells, wanted: str) -> str:
    """`wanted`, or the first contender if `wanted` did not run."""
    names = columns(times)
    return wanted if wanted in names else next(iter(names), wanted)
