"""``python -m benchmarks.ablation FILES``: what each part of the CPU's choice brings.

A part is a count of the cost model, a lowering, a variant, or computing in pieces. The
files are those of `python -m benchmarks.fit`: times of every candidate of every map of
random layers. The choice is made again without one part at a time. Without a count the
other rates are fitted again, and compared with a fit that has all counts; without a
lowering, a variant or pieces, the candidates that have it are left out. Nothing is
timed here. The page is ``benchmarks/results/ablation.md``.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.candidates import features_of
from benchmarks.environment import ROOT
from benchmarks.fit import regrets, solve
from benchmarks.report import Result, geometric_mean, markdown, number
from jconvt._call.problem import Map
from jconvt._choice.cost import RATES
from jconvt._lowerings.table import LOWERINGS

Row = dict[str, Any]
RESULTS = ROOT / "benchmarks" / "results"


class Part(NamedTuple):
    """A part of the choice.

    Attributes:
      name: in the table.
      count: the count of the cost model that is left out, or None.
      has: whether a row of a candidate has the part, where it is not a count.
    """

    name: str
    count: str | None
    has: Callable[[Row], bool] = lambda row: False


class Cost(NamedTuple):
    """What the choice loses without a part, over the layers of one map.

    Attributes:
      changed: the layers for which something else is chosen.
      ratios: of each layer, the time without the part over the time with it.
    """

    changed: int
    ratios: list[float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    parsed = parser.parse_args(arguments)
    found = result(read(parsed.files))
    print(found.text())
    found.write(parsed.out)


def read(files: Sequence[Path]) -> list[Row]:
    """The rows of several files, with their counts."""
    rows = [json.loads(li) for file in files for li in file.read_text().splitlines()]
    for row in rows:
        row["features"] = features_of(row)
    return rows


def parts() -> Iterator[Part]:
    """All parts that can be left out."""
    for name in RATES[Map.OUTPUT]:
        yield Part(f"count `{name}`", name)
    for name in LOWERINGS:
        if name != "lhs_dilation":  # what is left where nothing else can serve
            yield Part(
                f"lowering `{name}`",
                None,
                lambda row, name=name: row["lowering"] == name,
            )
    for field in ("first", "early", "as_given"):
        yield Part(
            f"variant `{field}`", None, lambda row, field=field: row["variant"][field]
        )
    yield Part("pieces", None, _in_pieces)


def _in_pieces(row: Row) -> bool:
    pieces = row["pieces"]
    return pieces["batch"] > 1 or pieces["blocks"] > 0


def lost(rows: Sequence[Row], which: Map, part: Part, fitted: dict[str, float]) -> Cost:
    """The times without a part over those with it; `fitted`: rates of all counts."""
    if part.count is None:
        some = [row for row in rows if not part.has(row)]
        return _compare(regrets(rows, RATES[which]), regrets(some, RATES[which]))
    rest = [row | {"features": row["features"] | {part.count: 0}} for row in rows]
    return _compare(regrets(rows, fitted), regrets(rest, solve(rest)))


def _compare(before: dict[str, float], after: dict[str, float]) -> Cost:
    """A layer that has no other candidate is left out."""
    found = [after[layer] / before[layer] for layer in after]
    return Cost(sum(ratio != 1 for ratio in found), found)


def result(rows: Sequence[Row]) -> Result:
    """A table with a row for each part."""
    maps = {which: [row for row in rows if row["slot"] == which] for which in Map}
    maps = {which: mine for which, mine in maps.items() if mine}
    fitted = {which: solve(mine) for which, mine in maps.items()}
    costs = {
        part.name: {w: lost(mine, w, part, fitted[w]) for w, mine in maps.items()}
        for part in parts()
    }
    head = ["without"]
    for which in maps:
        head += [f"{which}: changed", "mean", "worst"]
    cells = [
        [name, *(cell for cost in found.values() for cell in _cells(cost))]
        for name, found in costs.items()
    ]
    layers = {str(w): len({row["layer"] for row in m}) for w, m in maps.items()}
    return Result(
        name="ablation",
        title="What each part of the choice brings",
        note=_NOTE.format(", ".join(f"{n} for the {w}" for w, n in layers.items())),
        table=markdown(head, cells),
        data={
            "layers": layers,
            "parts": {n: {str(w): c._asdict() for w, c in found.items()}
                      for n, found in costs.items()},
        },
    )  # fmt: skip


_NOTE = """\
The choice on a CPU was made again without one part at a time, for random layers ({})
whose candidates were timed: all of them, or the most promising one of each lowering.
Without a count of the cost model the rates of the others are fitted again, and compared
with a fit of all; without a lowering or a variant, its candidates are left out.
`changed` is for how many layers something else is then chosen. `mean` and `worst` are
the times without the part over those with it: the geometric mean over all layers, and
the layer that loses most. An input gradient at stride 1 is an output with turned
kernels and is not counted again. What the maps of a training step share is not in
these figures."""


def _cells(cost: Cost) -> list[str]:
    mean = f"{geometric_mean(cost.ratios):.3f}"
    return [str(cost.changed), mean, number(max(cost.ratios))]


if __name__ == "__main__":
    main()
