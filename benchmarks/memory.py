"""Peak memory: what a run adds to its process, a new one for each row and contender.

A process's peak only grows, so each number has a process of its own, which this module
is when it is run: it compiles and warms up, then forgets the peak so far, as Linux
allows, and reads how far three more runs lift it.
"""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.contenders import CONTENDERS, Unsupported, allow
from benchmarks.environment import ROOT
from benchmarks.layers import Layer, zoo
from benchmarks.options import MODES, TITLES, Options
from benchmarks.progress import track
from benchmarks.racing import entrants
from benchmarks.report import Result, Texts, grid, ratios
from jconvt._shell.timing import Run

MEASURED = ("jconvt", "native", "flax", "torch")
MEBIBYTE = 2**20

_STATUS = Path("/proc/self/status")
FORGET_PEAK = Path("/proc/self/clear_refs")

# glibc keeps freed blocks below a threshold that it raises as it goes; fixed, all large
# blocks return to the system at once and count again when they are asked for again.
_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": str(128 * 1024)}


def results(options: Options) -> Iterator[Result]:
    """A table for each mode."""
    if not FORGET_PEAK.exists():
        sys.exit("memory is read from Linux's /proc, which is not here")
    names = options.contenders or MEASURED
    contenders = list(entrants(replace(options, contenders=names)))
    layers = {layer.name: layer for layer in zoo() if options.wants(layer.name)}
    for train in options.modes:
        grown = {
            row: _grown(row, contenders, train, options.dtype)
            for row, _ in track(f"memory, {MODES[train]}", layers)
        }
        yield _result(grown, layers, contenders, train, options.dtype)


def _grown(
    row: str, contenders: list[str], train: bool, dtype: str
) -> dict[str, float]:
    """Contender -> MiB, without those that cannot express the row."""
    found = {name: _in_new_process(row, name, train, dtype) for name in contenders}
    return {name: int(text) / MEBIBYTE for name, text in found.items() if text}


def _in_new_process(row: str, contender: str, train: bool, dtype: str) -> str:
    arguments = [row, contender, MODES[train], dtype]
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *arguments],
        cwd=ROOT,
        env=os.environ | _SETTINGS,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()


def _result(
    grown: dict[str, dict[str, float]],
    layers: dict[str, Layer],
    contenders: list[str],
    train: bool,
    dtype: str,
) -> Result:
    lead: Texts = {
        "results (MiB)": {
            row: f"{_results(layers[row], train, dtype):.1f}" for row in grown
        },
        **{
            f"{name} (MiB)": {
                row: f"{cells[name]:.1f}"
                for row, cells in grown.items()
                if name in cells
            }
            for name in contenders
        },
    }
    # Below one MiB it is the allocator that is measured.
    large = {
        row: {name: size for name, size in cells.items() if size >= 1}
        for row, cells in grown.items()
    }
    over = {
        row: {f"{contenders[0]}/{name}": 1 / ratio for name, ratio in cells.items()}
        for row, cells in ratios(large, contenders[0]).items()
    }
    return Result(
        name=f"memory-{MODES[train]}-{dtype}",
        title=f"Peak memory: {TITLES[train].lower()}, {dtype}",
        note="How far three runs lift the process's peak, beyond the operands: the "
        "results themselves, and what is needed beside them. Ratios where both are at "
        "least 1 MiB.",
        table=grid("layer", over, lead),
        data={"mebibytes": grown},
    )


def _results(layer: Layer, train: bool, dtype: str) -> float:
    """MiB of the output and, in training, of the gradients."""
    shapes = [layer.output_shape]
    if train:
        shapes += [layer.input_shape, layer.weight_shape, (layer.out_channels,)]
    widths = {"float64": 8, "float32": 4, "int8": 4}  # int8 gives int32
    elements = sum(int(np.prod(shape)) for shape in shapes)
    return elements * widths.get(dtype, 2) / MEBIBYTE


def growth(run: Run) -> int:
    """Bytes by which three runs lift the peak above what is held now."""
    gc.collect()
    held = _status("VmRSS")
    FORGET_PEAK.write_text("5")
    for _ in range(3):
        run()
    return max(0, _status("VmHWM") - held)


def _status(name: str) -> int:
    """A size in bytes from the process's status."""
    lines = _STATUS.read_text().splitlines()
    value = next(line for line in lines if line.startswith(f"{name}:"))
    return int(value.split()[1]) * 1024


def _measure(row: str, contender: str, mode: str, dtype: str) -> None:
    """The new process: prints bytes, or nothing where the contender cannot serve."""
    allow(dtype)
    layer = next(layer for layer in zoo() if layer.name == row)
    try:
        prepared = CONTENDERS[contender].prepare(layer, dtype, mode == MODES[True])
    except Unsupported:
        return
    prepared.run()
    print(growth(prepared.run))


if __name__ == "__main__":
    _measure(*sys.argv[1:])
