"""``python -m benchmarks.cliffs.ablation FILES``: what each part of the choice brings.

A part is a count of the cost model, a lowering, a variant, or a way to compute in
pieces. For each layer of a search (`make cliffs`, with candidates) the choice is made
again without that part, and the time of what is then chosen is read from the search.
Nothing is timed here, and no rate is fitted again. The page goes to
``benchmarks/results/ablation.md``.
"""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from benchmarks.candidates import problem_of_layer
from benchmarks.cliffs.contenders import MODES, Formulations, label, picks
from benchmarks.cliffs.lines import Line, layer_of, read
from benchmarks.cliffs.report import RESULTS, candidates, newest
from benchmarks.report import geometric_mean, markdown, number
from jconvt._call.problem import Map, Problem
from jconvt._choice import choose, cost
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import Variant

Without = Callable[[], contextlib.AbstractContextManager[object]]


class Cost(NamedTuple):
    """What the choice loses without a part, over the layers of one mode.

    Attributes:
      changed: the layers of which something else is chosen.
      unknown: those of them of which that was not timed.
      ratios: of each other layer, the time without the part over the time with it.
    """

    changed: int
    unknown: int
    ratios: list[float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the page, and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cliffs.ablation")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    parsed = parser.parse_args(arguments)
    page = text(newest(read(parsed.files)))
    print(page)
    (parsed.out / "ablation.md").write_text(page)


# Parts --------------------------------------------------------------------------------


def parts() -> Iterator[tuple[str, Without]]:
    """The name of each part, and how to choose without it."""
    for name in cost.RATES[Map.OUTPUT]:
        yield f"count `{name}`", lambda name=name: _without_count(name)
    for name in LOWERINGS:
        if name != "lhs_dilation":  # what is left where nothing else can serve
            yield f"lowering `{name}`", lambda name=name: _without_lowering(name)
    for field in ("first", "early", "as_given"):
        yield f"variant `{field}`", lambda field=field: _without_variant(field)
    yield "pieces", lambda: mock.patch.object(choose, "_pieces", return_value=())
    yield "turned kernels", _without_turning
    yield "both gradients together", lambda: mock.patch.object(choose, "_SHARED", ())


@contextlib.contextmanager
def _without_count(name: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for rates in cost.RATES.values():
            stack.enter_context(mock.patch.dict(rates, {name: 0.0}))
        yield


def _without_lowering(name: str) -> contextlib.AbstractContextManager[object]:
    row = replace(LOWERINGS[name], not_on_cpu=lambda *_: "left out")
    return mock.patch.dict(LOWERINGS, {name: row})


def _without_variant(field: str) -> contextlib.AbstractContextManager[object]:
    def some(variants: Callable[[Problem], tuple[Variant, ...]], problem: Problem):
        found = variants(problem)
        return tuple(v for v in found if not getattr(v, field)) or found

    rows = {
        name: replace(row, variants=lambda problem, of=row.variants: some(of, problem))
        for name, row in LOWERINGS.items()
    }
    return mock.patch.dict(LOWERINGS, rows)


def _without_turning() -> contextlib.AbstractContextManager[object]:
    return mock.patch.object(
        choose, "as_output", lambda which, problem: (which, problem)
    )


# What is lost -------------------------------------------------------------------------


def lost(lines: Sequence[Line], without: Without) -> Cost:
    """The times of what is chosen without a part, over those of what is chosen."""
    changed = unknown = 0
    ratios = []
    for line in lines:
        layer = layer_of(line)
        problem = problem_of_layer(layer, features_first=not line["channels_last"])
        times = candidates(line)
        whole = _choose(problem, line["mode"])
        if label(whole) not in times:
            continue
        with without():
            rest = _choose(problem, line["mode"])
        # A search varies the output's formulation in the forward mode alone.
        rest = rest if line["mode"] == "forward" else rest | _output(whole)
        changed += rest != whole
        if label(rest) in times:
            ratios.append(times[label(rest)] / times[label(whole)])
        else:
            unknown += 1
    return Cost(changed, unknown, ratios)


def _choose(problem: Problem, mode: str) -> Formulations:
    """The choice, and nothing remembered of one that is made otherwise."""
    _forget()
    try:
        return picks(problem, mode)
    finally:
        _forget()


def _forget() -> None:
    for remembered in (choose._works, choose._cheapest):
        remembered.cache_clear()


def _output(formulations: Formulations) -> Formulations:
    return {Map.OUTPUT: formulations[Map.OUTPUT]}


# The page -----------------------------------------------------------------------------


def text(lines: Sequence[Line]) -> str:
    """A table with a row for each part."""
    by_mode = {mode: [li for li in lines if li["mode"] == mode] for mode in MODES}
    rows = []
    for name, without in parts():
        found = [lost(by_mode[mode], without) for mode in MODES]
        rows.append([name, *(cell for cost in found for cell in _cells(cost))])
    head = ["without"]
    for mode in MODES:
        head += [f"{mode}: changed", "not timed", "mean", "worst"]
    counts = " and ".join(f"{len(by_mode[mode])} in {mode}" for mode in MODES)
    processors = ", ".join(sorted({f"{li['processor']} ({li['isa']})" for li in lines}))
    about = f"""# What each part of the choice brings

The choice for random layers ({counts}; {processors}) was made again without one part at
a time: a count of the cost model, a lowering, a variant. `changed` is of how many
layers something else is then chosen, and `not timed` of how many of them no time is
known. `mean` and `worst` are the times without the part over those with it: the
geometric mean over all layers, and the layer that loses most.
"""
    return f"{about}\n{markdown(head, rows)}\n"


def _cells(cost: Cost) -> list[Any]:
    if not cost.ratios:
        return [str(cost.changed), str(cost.unknown), "", ""]
    return [
        str(cost.changed),
        str(cost.unknown),
        f"{geometric_mean(cost.ratios):.3f}",
        number(max(cost.ratios)),
    ]


if __name__ == "__main__":
    main()
