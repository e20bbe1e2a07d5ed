"""``python -m benchmarks.aot.page``: the committed readings into the page on platforms.

`docs/what-runs-where.md` holds tables between ``<!-- table: NAME -->`` and
``<!-- end -->``. They are made here, of the JSON in `benchmarks/results/`.
"""

import re
from collections.abc import Callable, Sequence

from benchmarks.aot.bench import Batch
from benchmarks.aot.forms import AUTO, NATIVE
from benchmarks.aot.maps import TITLES
from benchmarks.aot.matching import is_gemm, is_plain, matches, short
from benchmarks.aot.report import read_result
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
    rows: list[Sequence[str]] = []
    for batch in batches_of("gpu"):
        for name, cells in batch.readings.items():
            counts: list[str] = []
            for form in (AUTO, NATIVE):
                plain = [c[form] for r, c in cells.items() if is_plain(batch.layers[r])]
                zeros = sum(
                    c[form].inflated_bytes > 0 or c[form].dilated > 0
                    for c in cells.values()
                )
                wanted = sum(matches(r, name) or is_gemm(r, name) for r in plain)
                counts += [f"{wanted} of {len(plain)}", f"{zeros} of {len(cells)}"]
            rows.append([batch.dtype, batch.layout, TITLES[name], *counts])
    head = ["dtype", "channels", "map"]
    for form in ("jconvt", "JAX's own"):
        head += [f"{form}: wanted calls", f"{form}: zeros"]
    return markdown(head, rows)


def _gpu_calls() -> str:
    batch = next(iter(batches_of("gpu")))
    shown = ("forward", "input-gradient", "weight-gradient")

    def cell(row: str, name: str, form: str) -> str:
        found = batch.readings[name][row][form]
        zeros = found.inflated_bytes > 0 or found.dilated > 0
        return short(found.calls) + ", zeros" * zeros

    rows = [
        [row, *(cell(row, name, form) for form in (AUTO, NATIVE) for name in shown)]
        for row in batch.layers
    ]
    head = ["layer"]
    for form in ("jconvt", "JAX's own"):
        head += [f"{form}: {TITLES[name].lower()}" for name in shown]
    return markdown(head, rows)


def _tpu_summary() -> str:
    rows: list[Sequence[str]] = []
    for batch in batches_of("tpu"):
        for name in batch.readings:
            found = cycles(batch, name)
            behind, native = over(found, ALL_FORMS), over(found, (NATIVE,))
            worst = max(behind, key=lambda row: behind[row])
            rows.append(
                [
                    *(batch.dtype, batch.layout, TITLES[name]),
                    number(geometric_mean([*native.values()])),
                    number(geometric_mean([*behind.values()])),
                    f"{number(behind[worst])} ({worst})",
                ]
            )
    head = ["dtype", "channels", "map", "over JAX's own", "over the best known"]
    return markdown([*head, "highest of these (layer)"], rows)


def _tpu_rows() -> str:
    batch = next(b for b in batches_of("tpu") if b.dtype == "bfloat16")
    columns: dict[str, dict[str, str]] = {}
    for name in ("forward", "training"):
        found = cycles(batch, name)
        title = TITLES[name].split(":")[0].lower()
        columns[f"{title}: over JAX's own"] = {
            row: number(value) for row, value in over(found, (NATIVE,)).items()
        }
        columns[f"{title}: best known"] = {
            row: best(cells, ALL_FORMS) or "" for row, cells in found.items()
        }
        columns[f"{title}: over it"] = {
            row: number(value) for row, value in over(found, ALL_FORMS).items()
        }
    chosen = ["forward", "input-gradient", "weight-gradient"]
    rows = [
        [row, *(batch.choices[row][name] for name in chosen)]
        + [texts.get(row, "") for texts in columns.values()]
        for row in batch.layers
    ]
    head = ["layer", *(TITLES[name].lower() for name in chosen), *columns]
    return markdown(head, rows)


TABLES: dict[str, Callable[[], str]] = {
    "gpu-summary": _gpu_summary,
    "gpu-calls": _gpu_calls,
    "tpu-summary": _tpu_summary,
    "tpu-rows": _tpu_rows,
}
"""Name in the page -> the table."""


if __name__ == "__main__":
    main()
