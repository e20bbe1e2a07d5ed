"""``python -m benchmarks.aot.drawn.report FILE``: the choice over the best form.

The choice is that of the code as it is: its estimate is looked up among the forms that
were compiled, so a rule can be judged without compiling anything again.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.aot.drawn.entries import MAP_NAMES
from benchmarks.aot.drawn.sample import problem_of_form, sample
from benchmarks.aot.forms import AUTO, NATIVE, Form
from benchmarks.aot.maps import TITLES
from benchmarks.aot.reading import cycles_of
from benchmarks.report import geometric_mean, markdown, number
from jconvt._choice.choose import choose, entry_for

Line = dict[str, Any]

LISTED = 20
"""Rows in the table of the worst."""


class Row(NamedTuple):
    """One map of one layer.

    Attributes:
      seed: of the layer.
      form: layer, dtype and layout.
      map_name: which map.
      choice: the entry that jconvt chooses.
      best: the entry with the lowest estimate.
      over_best: the choice's estimate over the best.
      over_native: over that of JAX's own form; None where that has none.
    """

    seed: int
    form: Form
    map_name: str
    choice: str
    best: str
    over_best: float
    over_native: float | None


def read(paths: Iterable[Path]) -> list[Line]:
    """The lines of several files; one that does not exist has none."""
    found: list[Line] = []
    for path in paths:
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:  # the process ended while it was written
                continue
    return found


def rows(lines: Iterable[Line]) -> Iterator[Row]:
    """What can be compared: maps whose choice was compiled, beside other forms.

    A line whose process was lost has no readings.
    """
    for line in lines:
        form = sample(line["seed"], line["number"])
        estimates = {
            entry: cycles_of(found["cycles"], found["moved"])
            for entry, found in line.get("readings", {}).items()
            if entry != AUTO
        }
        if form is None or len(estimates) < 2:
            continue
        which, problem = MAP_NAMES[line["map"]], problem_of_form(form)
        choice = entry_for(which, problem, choose(which, "tpu", problem))
        if choice not in estimates:
            continue
        best = min(estimates, key=lambda entry: estimates[entry])
        native = estimates.get(NATIVE)
        yield Row(
            seed=line["seed"],
            form=form,
            map_name=line["map"],
            choice=choice,
            best=best,
            over_best=estimates[choice] / estimates[best],
            over_native=estimates[choice] / native if native else None,
        )


def text(lines: Sequence[Line]) -> str:
    """The summary, and the rows that are furthest behind."""
    found = list(rows(lines))
    return "\n\n".join((_summary(found), _worst(found)))


def _summary(found: Sequence[Row]) -> str:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in found:
        groups[row.map_name, row.form.dtype].append(row)
    head = [
        "map",
        "dtype",
        "rows",
        "over the best",
        "highest",
        "over native",
        "highest",
    ]
    cells = []
    for (name, dtype), group in sorted(groups.items()):
        best = [row.over_best for row in group]
        native = [row.over_native for row in group if row.over_native is not None]
        ratios = [*_mean(best), *_mean(native)]
        cells.append([TITLES[name], dtype, str(len(group)), *ratios])
    return markdown(head, cells)


def _mean(ratios: Sequence[float]) -> list[str]:
    return [number(geometric_mean(ratios)), number(max(ratios))] if ratios else ["", ""]


def _worst(found: Sequence[Row]) -> str:
    worst = sorted(found, key=lambda row: -row.over_best)[:LISTED]
    head = [
        "layer",
        "dtype",
        "channels",
        "map",
        "choice",
        "best",
        "over best",
        "native",
    ]
    return markdown(
        head,
        [
            [
                describe(row.form),
                row.form.dtype,
                row.form.layout,
                TITLES[row.map_name],
                row.choice,
                row.best,
                number(row.over_best),
                "" if row.over_native is None else number(row.over_native),
            ]
            for row in worst
        ],
    )


def describe(form: Form) -> str:
    """The sizes of a layer in a line."""
    layer = form.layer
    sizes, kernel, stride = (
        "x".join(map(str, v)) for v in (layer.spatial, layer.kernel_size, layer.stride)
    )
    more = [f"groups {layer.groups}"] if layer.groups > 1 else []
    more += [f"dilation {max(layer.dilation)}"] if max(layer.dilation) > 1 else []
    channels = f"{layer.in_channels} to {layer.out_channels}"
    return ", ".join(
        [f"{layer.batch} of {sizes}, {channels}, k {kernel}, s {stride}", *more]
    )


if __name__ == "__main__":
    print(text(read(map(Path, sys.argv[1:]))))
