"""What `jconvt.tune` gains on whole networks, and on the slowest random layers."""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax

import jconvt
from benchmarks.candidates import arrays_of, layout_of, measure, problem_of_layer
from benchmarks.cliffs.lines import Line, layer_of, read
from benchmarks.cliffs.report import newest, slowness
from benchmarks.environment import ROOT
from benchmarks.networks import in_flax
from benchmarks.networks.descriptions import networks
from benchmarks.options import Options
from benchmarks.progress import track
from benchmarks.report import Result, grid, milliseconds
from jconvt._call.layout import spell
from jconvt._call.problem import Map
from jconvt._choice.choose import choose, pinned
from jconvt._shell.timing import race

CLIFFS = ROOT / "benchmarks" / "results" / "cliffs.jsonl"

SLOWEST = 30
"""Random layers that are tuned: those that were furthest behind."""

FOR_NETWORK, FOR_LAYER = 60.0, 20.0
"""Seconds that `tune` is given."""

WITHIN, EACH = 4.0, 0.3
"""After tuning, candidates estimated at so many times the least are timed again, for so
many seconds each."""

MODES = ("networks", "layers")

Numbers = Mapping[str, Mapping[str, float]]
"""Row -> what -> number."""


def results(options: Options) -> Iterator[Result]:
    """One result with a table for the networks and one for the layers."""
    wanted = {name: row for name, row in rows().items() if options.wants(name)}
    found: dict[str, dict[str, dict[str, float]]] = {mode: {} for mode in MODES}
    for name, (mode, run) in track("tuning", wanted):
        found[mode][name] = run(options.seconds)
    each = options.seconds or FOR_LAYER
    yield as_result(found["networks"], found["layers"], each)


def rows() -> dict[str, tuple[str, Callable[[float | None], dict[str, float]]]]:
    """Name -> its mode, and what measures it within so many seconds."""
    lines = sorted(newest(read([CLIFFS])), key=slowness, reverse=True)
    slow = {f"{n['seed']}-{n['number']}": n for n in reversed(lines[:SLOWEST])}
    return {
        **{name: ("networks", partial(of_network, name)) for name in networks()},
        **{name: ("layers", partial(of_layer, line)) for name, line in slow.items()},
    }


def of_network(name: str, seconds: float | None) -> dict[str, float]:
    """Times of a training step as it is and tuned, and how long tuning took."""
    built = in_flax.build(networks()[name], in_flax.jconvt_up, in_flax.jconvt_conv)
    step, arguments = built.program
    tuned = jconvt.tune(step, *arguments, seconds=seconds or FOR_NETWORK)
    runs = {
        label: partial(_run, jax.jit(function), arguments)
        for label, function in (("automatic", step), ("tuned", tuned))
    }
    for run in runs.values():
        run()
    times = race(runs, seconds=10.0, rounds=5)
    layers = {row.layer for row in tuned.report.maps}
    spent = tuned.report.spent_seconds
    return {**times, "layers": float(len(layers)), "tuning": spent}


def _run(function: Callable[..., Any], arguments: tuple[Any, ...]) -> object:
    return jax.block_until_ready(function(*arguments))


def of_layer(line: Line, seconds: float | None) -> dict[str, float]:
    """By map: the tuned and the automatic time over the best candidate's.

    All are measured again after tuning. A map is left out if what it runs is estimated
    at more than `WITHIN` times the least.
    """
    problem = problem_of_layer(layer_of(line), not line["channels_last"])
    arrays = arrays_of(problem)
    options = layer_of(line).options | {"dimension_numbers": spell(layout_of(problem))}
    tuned = jconvt.tune(
        lambda x, w: jconvt.conv_transpose(x, w, **options),
        arrays[Map.INPUT],
        arrays[Map.WEIGHT],
        seconds=seconds or FOR_LAYER,
    )
    found: dict[str, float] = {"tuning": tuned.report.spent_seconds}
    for row in tuned.report.maps:
        which = Map(row.map)
        automatic = choose(which, "cpu", problem)
        picked = automatic if row.runs == "auto" else pinned(which, row.runs, problem)
        times = measure(problem, which, EACH, WITHIN)
        best = min(times.values())
        if picked in times and automatic in times:
            found[row.map] = times[picked] / best
            found[f"{row.map}, automatic"] = times[automatic] / best
    return found


def as_result(of_networks: Numbers, of_layers: Numbers, seconds: float) -> Result:
    """The tables; a layer was tuned for so many seconds."""
    return Result(
        name="tuning",
        title="What tuning gains",
        note="Training steps of whole networks, every convolution by jconvt, as they "
        "are and after `jconvt.tune`. Then the random layers that are furthest behind "
        f"in `cliffs.jsonl`: after tuning for {seconds:g} s, all candidates that are "
        f"estimated within {WITHIN:g} of the least are timed again, and what runs is "
        "divided by the best of them; *automatic* is the untuned choice.",
        table="\n\n".join(_tables(of_networks, of_layers)),
        data={"networks": of_networks, "layers": of_layers},
    )


def _tables(of_networks: Numbers, of_layers: Numbers) -> Iterator[str]:
    """One for the networks and one for the layers, if there are any."""
    if of_networks:
        ratio = "tuned over automatic"
        yield grid(
            "network",
            {
                name: {ratio: n["tuned"] / n["automatic"]}
                for name, n in of_networks.items()
            },
            {
                "layers": {row: f"{n['layers']:.0f}" for row, n in of_networks.items()},
                "tuning (s)": {
                    row: f"{n['tuning']:.0f}" for row, n in of_networks.items()
                },
                "automatic (ms)": {
                    row: milliseconds(n["automatic"]) for row, n in of_networks.items()
                },
            },
        )
    if of_layers:
        columns = [name for which in Map for name in (which, f"{which}, automatic")]
        yield grid(
            "layer, over the best candidate",
            {
                row: {str(name): n[name] for name in columns if name in n}
                for row, n in of_layers.items()
            },
        )


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["--tuning", *sys.argv[1:]])
