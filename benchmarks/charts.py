"""The charts, as SVG files; without matplotlib there are none."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.progress import say
from benchmarks.report import Cells, columns

Points = tuple[Sequence[float], Sequence[float]]


def dots(path: Path, ratios: Cells, title: str, label: str) -> None:
    """A line for each row, with the ratios of all columns on it."""
    rows = list(ratios)
    figure = _figure(figsize=(8, 0.3 * len(rows) + 1.5))
    if figure is None:
        return
    axes = figure.subplots()
    for name in columns(ratios):
        found = [
            (ratios[row][name], i) for i, row in enumerate(rows) if name in ratios[row]
        ]
        axes.plot(*zip(*found, strict=True), "o", ms=5, alpha=0.8, label=name)
    axes.axvline(1, color="black", lw=1)
    axes.set(xscale="log", xlabel=label, title=title)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def lines(
    path: Path, panels: Mapping[str, Mapping[str, Points]], title: str, label: str
) -> None:
    """A log-log panel for each name, with a line for each of its series."""
    figure = _figure(figsize=(5 * len(panels), 4))
    if figure is None:
        return
    figure.suptitle(title)
    for axes, (name, series) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for legend, (x, y) in series.items():
            axes.loglog(x, y, "o-", ms=4, label=legend)
        axes.set(xlabel=name, ylabel=label)
        axes.xaxis.set_minor_formatter("")  # within a decade their labels overlap
        axes.grid(which="both", alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def _figure(figsize: tuple[float, float]) -> Any:
    """A figure that no window shows, or None without matplotlib."""
    if find_spec("matplotlib") is None:
        say("not installed: matplotlib, so there is no chart")
        return None
    from matplotlib.figure import Figure

    return Figure(figsize=figsize, layout="constrained")
