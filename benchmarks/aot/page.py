"""``python -m benchmarks.aot.page``: the committed readings into the page on platforms.

`docs/what-runs-where.md` holds tables between ``<!-- table: NAME -->`` and
``<!-- end -->``. They are made here, of the JSON in `benchmarks/results/`.
"""

import json
import re
from collections.abc import Callable, Sequence

from benchmarks.aot.bench import Batch
from benchmarks.aot.drawn.report import Row, read, rows
from benchmarks.aot.forms import AUTO, NATIVE
from benchmarks.aot.maps import TITLES
from benchmarks.aot.matching import is_gemm, is_plain, matches, short
from benchmarks.aot.report import read_result
from benchmarks.aot.targets import TARGETS
from benchmarks.aot.tpu_tables import ALL_FORMS, best, cycles, over
from benchmarks.environment import ROOT
from benchmarks.report import geometric_mean, markdown, number

PAGE = ROOT / "docs" / "what-runs-where.md"
RESULTS = ROOT / "benchmarks" / "results"

_PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(filled(PAGE.read_text()))


def filled(text: str) -> str:
    """The page with its tables as the results have them."""
    return _PLACE.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n\n{m[3]}", text)


def batches_of(target: str) -> list[Batch]:
    """All that is committed for a target, the largest dtype first."""
    found = [read_result(file) for file in RESULTS.glob(f"aot-{target}-*.json")]
    order = ("float32", "bfloat16", "float16")
    return sorted(found, key=lambda b: (order.index(b.dtype), b.layout))


def _gpu_summary() -> str:
    """A row for each map and all dtypes and layouts that have the same counts."""
    found: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for batch in batches_of("gpu"):
        for name in batch.readings:
            counts = [n for form in (AUTO, NATIVE) for n in _counts(batch, name, form)]
            dtypes = found.setdefault((TITLES[name], *counts), {})
            dtypes.setdefault(batch.dtype, []).append(batch.layout)
    cells = [
        [title, "; ".join(f"{d} {' and '.join(of)}" for d, of in dtypes.items()), *rest]
        for (title, *rest), dtypes in found.items()
    ]
    head = ["map", "dtype and where channels stand"]
    for form in ("jconvt", "JAX's own"):
        head += [f"{form}: wanted calls", f"{form}: zeros"]
    return markdown(head, cells)


def _counts(batch: Batch, map_name: str, form: str) -> tuple[str, str]:
    """Layers with the wanted calls, of the plain ones, and with zeros, of all."""
    cells = {row: c[form] for row, c in batch.readings[map_name].items()}
    plain = [r for row, r in cells.items() if is_plain(batch.layers[row])]
    wanted = sum(matches(r, map_name) or is_gemm(r, map_name) for r in plain)
    zeros = sum(r.inflated_bytes > 0 or r.dilated > 0 for r in cells.values())
    return f"{wanted} of {len(plain)}", f"{zeros} of {len(cells)}"


def _gpu_calls() -> str:
    batch = next(iter(batches_of("gpu")))

    def cell(row: str, name: str, form: str) -> str:
        found = batch.readings[name][row][form]
        zeros = found.inflated_bytes > 0 or found.dilated > 0
        return short(found.calls) + ", zeros" * zeros

    cells = [
        [row, *(cell(row, name, form) for form in (AUTO, NATIVE) for name in _GRADED)]
        for row in batch.layers
    ]
    head = ["layer"]
    for form in ("jconvt", "JAX's own"):
        head += [f"{form}: {TITLES[name].lower()}" for name in _GRADED]
    return markdown(head, cells)


def _tpu_summary() -> str:
    cells: list[Sequence[str]] = []
    for batch in batches_of("tpu"):
        names = list(batch.readings)
        ratios = {TITLES[name]: _ratios(batch, [name]) for name in names}
        if set(_GRADED) <= set(names):
            ratios["The three maps, added up"] = _ratios(batch, _GRADED)
        for title, (native, behind) in ratios.items():
            worst = max(behind, key=lambda row: behind[row])
            cells.append(
                [
                    *(batch.dtype, batch.layout, title, str(len(behind))),
                    number(geometric_mean([*native.values()])),
                    number(geometric_mean([*behind.values()])),
                    f"{number(behind[worst])} ({worst})",
                ]
            )
    head = ["dtype", "channels", "map", "layers", "over JAX's own"]
    return markdown([*head, "over the best compiled", "highest of these"], cells)


_GRADED = ("forward", "input-gradient", "weight-gradient")


def _ratios(
    batch: Batch, names: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Row -> auto's cycles over native's, and over those of the best form of each."""
    found = [cycles(batch, name) for name in names]
    native: dict[str, float] = {}
    behind: dict[str, float] = {}
    for row in batch.layers:
        cells = [cycles_of.get(row, {}) for cycles_of in found]
        if all(AUTO in cell and NATIVE in cell for cell in cells):
            own = sum(cell[AUTO] for cell in cells)
            native[row] = own / sum(cell[NATIVE] for cell in cells)
            behind[row] = own / sum(min(cell.values()) for cell in cells)
    return native, behind


def _tpu_rows() -> str:
    batch = next(b for b in batches_of("tpu") if b.dtype == "bfloat16")
    forward, training = (cycles(batch, name) for name in ("forward", "training"))
    columns = [
        over(forward, (NATIVE,)),
        over(forward, ALL_FORMS),
        over(training, (NATIVE,)),
        _ratios(batch, _GRADED)[1],
    ]
    lines = [
        [row, *(batch.choices[row][name] for name in _GRADED)]
        + [best(forward.get(row, {}), ALL_FORMS) or ""]
        + [number(column.get(row)) for column in columns]
        for row in batch.layers
    ]
    head = ["layer", *(f"{TITLES[name].lower()} is" for name in _GRADED)]
    head += ["best forward is", "forward over JAX's own", "forward over the best"]
    head += ["training over JAX's own", "three maps over the best of each"]
    return markdown(head, lines)


DRAWN = RESULTS / "aot-tpu-drawn.jsonl"
MADE_FROM = tuple(range(31, 43))
"""The seeds of the random layers that the rules for a TPU were made from."""


def _tpu_drawn() -> str:
    """The choice as it is, on the layers that it was made from and on others."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows(read([DRAWN])):
        kind = "made from" if row.seed in MADE_FROM else "tested on"
        axes = "one" if row.form.layer.rank == 1 else "several"
        for key in ((kind, "any", row.map_name), (kind, axes, row.map_name)):
            found.setdefault(key, []).append(row)
    cells = []
    for (kind, axes, name), group in sorted(found.items()):
        best = [row.over_best for row in group]
        native = [row.over_native for row in group if row.over_native is not None]
        ratios = [f(r) for r in (best, native) for f in (geometric_mean, max)]
        layers = str(len(group))
        cells.append([kind, axes, TITLES[name], layers, *map(number, ratios)])
    head = ["rules were", "spatial axes", "map", "layers", "over the best", "highest"]
    return markdown([*head, "over JAX's own", "highest"], cells)


def _versions() -> str:
    """Which results were compiled with what, of which commit."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name, target in TARGETS.items():
        for file in sorted(RESULTS.glob(f"aot-{name}-*.json")):
            facts = json.loads(file.read_text())["environment"]
            packages = ("jax", "jaxlib", *target.compilers)
            versions = ", ".join(f"{package} {facts[package]}" for package in packages)
            key = (target.title, versions, facts["commit"], facts["date"])
            found.setdefault(key, []).append(file.stem.removeprefix("aot-"))
    lines = ([*key, ", ".join(files)] for key, files in found.items())
    return markdown(["target", "compiled with", "commit", "date", "results"], lines)


TABLES: dict[str, Callable[[], str]] = {
    "gpu-summary": _gpu_summary,
    "gpu-calls": _gpu_calls,
    "tpu-summary": _tpu_summary,
    "tpu-rows": _tpu_rows,
    "tpu-drawn": _tpu_drawn,
    "versions": _versions,
}
"""Name in the page -> the table."""


if __name__ == "__main__":
    main()
