"""What a TPU's compiler estimates of its programs, as tables."""

from collections.abc import Collection, Iterator, Mapping

from benchmarks.aot.bench import Batch
from benchmarks.aot.forms import AUTO, NATIVE
from benchmarks.aot.maps import TITLES
from benchmarks.aot.reading import MEBIBYTE
from benchmarks.report import (
    Cells,
    Texts,
    geometric_mean,
    grid,
    markdown,
    number,
    ratios,
)
from jconvt._lowerings.table import LOWERINGS

NOTE = (
    "Estimates of the compiler, not times: the cycles that it notes at each "
    "instruction of a program's entry computation, summed. The tables of the maps have "
    "them over those of JAX's own form (native; its own in thousands). What changes "
    "the layout of arguments and results is in the sum; reshapes and the like that the "
    "compiler gives no estimate are not: *unestimated* is how many MiB they write. "
    "Empty where a lowering cannot serve, or its program has loops, whose turns no sum "
    "counts."
)

ALL_FORMS = (*LOWERINGS, NATIVE)
_RIVALS = {"best lowering": LOWERINGS, "native": (NATIVE,), "best of all": ALL_FORMS}

_NOTABLE = 1.05
"""From where on auto's estimate over the best one is listed."""


def tables(batch: Batch) -> Iterator[str]:
    """The summary, then a table for each map."""
    cells = {name: cycles(batch, name) for name in batch.readings}
    yield "## Summary"
    yield (
        "Estimated cycles of auto over those of the best lowering (of all maps, in "
        "training), over native's, and over the better of the two."
    )
    yield _summary(cells)
    yield f"Where auto's are more than {_NOTABLE} of the best."
    yield _behind(batch, cells)
    for name, rows in cells.items():
        yield f"## {TITLES[name]}"
        yield grid("layer", ratios(rows, NATIVE), _lead(batch, name, rows))


def cycles(batch: Batch, map_name: str) -> dict[str, dict[str, float]]:
    """Row -> form -> estimated cycles, without programs that have loops."""
    return {
        row: {
            form: float(reading.cycles)
            for form, reading in readings.items()
            if reading.cycles and not reading.loops
        }
        for row, readings in batch.readings[map_name].items()
    }


def best(found: Mapping[str, float], of: Collection[str]) -> str | None:
    """The form with the lowest estimate, if there is one."""
    names = [name for name in of if name in found]
    return min(names, key=lambda name: found[name], default=None)


def over(cells: Cells, of: Collection[str]) -> dict[str, float]:
    """Row -> auto's estimate over that of the best form."""
    return {
        row: found[AUTO] / found[name]
        for row, found in cells.items()
        if AUTO in found and (name := best(found, of)) is not None
    }


def _summary(cells: Mapping[str, Cells]) -> str:
    rows: list[list[str]] = []
    for name, found in cells.items():
        for label, of in _RIVALS.items():
            ratio = over(found, of)
            if not ratio:
                continue
            worst = max(ratio, key=lambda row: ratio[row])
            mean = geometric_mean([*ratio.values()])
            numbers = [str(len(ratio)), number(mean), number(ratio[worst])]
            rows.append([TITLES[name], label, *numbers, worst])
    head = ["map", "auto over", "rows", "**geometric mean**", "highest", "its layer"]
    return markdown(head, rows)


def _lead(batch: Batch, map_name: str, cells: Cells) -> Texts:
    rivals = {row: best(found, ALL_FORMS) or "" for row, found in cells.items()}
    return {
        "auto is": {row: batch.choices[row].get(map_name, "") for row in cells},
        "best is": rivals,
        "unestimated: auto": {
            row: _unestimated(batch, map_name, row, AUTO) for row in cells
        },
        "unestimated: best": {
            row: _unestimated(batch, map_name, row, name)
            for row, name in rivals.items()
        },
        "native (kcycles)": {
            row: f"{c[NATIVE] / 1e3:.1f}" for row, c in cells.items() if NATIVE in c
        },
    }


def _unestimated(batch: Batch, map_name: str, row: str, form: str) -> str:
    reading = batch.readings[map_name][row].get(form)
    return "" if reading is None else f"{reading.unestimated_bytes / MEBIBYTE:.1f}"


def _behind(batch: Batch, cells: Mapping[str, Cells]) -> str:
    rows: list[list[str]] = []
    for name, found in cells.items():
        for row, ratio in over(found, ALL_FORMS).items():
            if ratio > _NOTABLE:
                choice = batch.choices[row].get(name, "")
                rival = best(found[row], ALL_FORMS) or ""
                rest = [_unestimated(batch, name, row, f) for f in (AUTO, rival)]
                rows.append([TITLES[name], row, choice, rival, number(ratio), *rest])
    head = ["map", "layer", "auto is", "best is", "auto over best"]
    head += ["unestimated: auto", "unestimated: best"]
    return markdown(head, rows) if rows else "Nowhere."
