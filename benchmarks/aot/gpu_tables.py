"""What a GPU's programs call, as tables."""

from collections.abc import Callable, Iterator

from benchmarks.aot.bench import Batch
from benchmarks.aot.forms import AUTO
from benchmarks.aot.maps import TITLES
from benchmarks.aot.matching import is_gemm, is_plain, matches, short
from benchmarks.aot.reading import MEBIBYTE, Reading
from benchmarks.report import markdown

NOTE = (
    "Compiler output, not times. What XLA calls in the compiled program: cuDNN's dgrad "
    "(backward-data), fprop (forward) and wgrad (backward-filter), or GEMMs; a call in "
    "a loop counts once. In parentheses MiB of temporaries, without cuDNN's "
    "workspaces. *zeros*: MiB written by pads that put zeros between elements. "
    "*dilated*: convolutions whose input is still to be dilated. Without a device XLA "
    "tunes nothing."
)


def tables(batch: Batch) -> Iterator[str]:
    """The summary, then a table for each map."""
    yield "## Summary"
    yield (
        "Rows with one group and no dilation: in how many the program makes the wanted "
        "calls (dgrad forward, fprop for the input gradient, wgrad for the weight "
        "gradient) and no others, and in how many a GEMM in place of each."
    )
    yield _counts(batch)
    yield "Rows with a pad that puts zeros between elements, of all rows."
    yield _inflating(batch)
    yield "Where auto's program has neither the wanted calls nor GEMMs, or has zeros."
    yield _exceptions(batch)
    for map_name in batch.readings:
        yield f"## {TITLES[map_name]}"
        yield _cells(batch, map_name)


def _counts(batch: Batch) -> str:
    plain = [name for name, layer in batch.layers.items() if is_plain(layer)]

    def count(map_name: str, form: str) -> str:
        cells = batch.readings[map_name]
        found = [cells[row][form] for row in plain if form in cells.get(row, {})]
        wanted = sum(matches(reading, map_name) for reading in found)
        gemms = sum(is_gemm(reading, map_name) for reading in found)
        return f"{wanted} + {gemms} of {len(found)}"

    return _by_map(batch, count)


def _inflating(batch: Batch) -> str:
    def count(map_name: str, form: str) -> str:
        cells = batch.readings[map_name].values()
        found = [readings[form] for readings in cells if form in readings]
        return f"{sum(r.inflated_bytes > 0 for r in found)} of {len(found)}"

    return _by_map(batch, count)


def _by_map(batch: Batch, cell: Callable[[str, str], str]) -> str:
    rows = (
        [TITLES[name], *(cell(name, form) for form in batch.forms)]
        for name in batch.readings
    )
    return markdown(["map", *batch.forms], rows)


def _exceptions(batch: Batch) -> str:
    rows = [
        [TITLES[map_name], row, batch.choices[row].get(map_name, ""), _cell(reading)]
        for map_name, cells in batch.readings.items()
        for row, readings in cells.items()
        if (reading := readings.get(AUTO)) is not None
        and _is_exception(reading, map_name, is_plain(batch.layers[row]))
    ]
    head = ["map", "layer", "auto is", "program"]
    return markdown(head, rows) if rows else "Nowhere."


def _is_exception(reading: Reading, map_name: str, plain: bool) -> bool:
    if not plain:
        return reading.inflated_bytes > 0 or reading.dilated > 0
    return not matches(reading, map_name) and not is_gemm(reading, map_name)


def _cells(batch: Batch, map_name: str) -> str:
    rows = (
        [row, batch.choices[row].get(map_name, "")]
        + [_cell(readings.get(form)) for form in batch.forms]
        for row, readings in batch.readings[map_name].items()
    )
    return markdown(["layer", "auto is", *batch.forms], rows)


def _cell(reading: Reading | None) -> str:
    if reading is None:
        return ""
    text = f"{short(reading.calls)} ({_mebibytes(reading.temporary_bytes)})"
    if reading.inflated_bytes:
        text += f", zeros {_mebibytes(reading.inflated_bytes)}"
    if reading.dilated:
        text += f", {reading.dilated} dilated"
    return text


def _mebibytes(size: int) -> str:
    return f"{size / MEBIBYTE:.1f}"
