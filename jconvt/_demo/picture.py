"""The comparison picture: a column for each version, with a magnified detail below."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jconvt._demo.photos import Array

INK, QUIET, ACCENT = "#1c1c1c", "#707070", "#c2410c"

DETAIL = (162, 51, 126, 126)
"""Left, top, width and height of the detail, in pixels of the true image."""


@dataclass(frozen=True)
class Panel:
    """One column: an RGB image of any resolution, its name and a note."""

    image: Array
    name: str
    note: str
    is_ours: bool = False


def draw(panels: list[Panel], title: str, path: Path) -> None:
    """Write `panels` side by side to `path`; the last one is the true image."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.patches import Rectangle

    height, width = panels[-1].image.shape[:2]
    left, top, *size = DETAIL
    layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.08, wspace=0, hspace=0)
    figure = Figure(figsize=(4 * len(panels), 9), dpi=100, layout=layout)
    figure.suptitle(title, color=INK, fontsize=18)
    rows = figure.subplots(2, len(panels), squeeze=False)
    for panel, whole, detail in zip(panels, *rows, strict=True):
        # In the magnified detail each pixel is a square of one colour.
        for axes, interpolation in ((whole, "antialiased"), (detail, "nearest")):
            axes.imshow(
                panel.image, extent=(0, width, height, 0), interpolation=interpolation
            )
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        whole.add_patch(Rectangle((left, top), *size, fill=False, color="w", lw=1.5))
        detail.set(xlim=(left, left + size[0]), ylim=(top + size[1], top))
        _caption(whole, panel)
    figure.savefig(path, facecolor="white")


def _caption(axes: Any, panel: Panel) -> None:
    """Write name and note of a panel above it."""
    colour, weight = (ACCENT, "bold") if panel.is_ours else (INK, "normal")
    axes.set_title(f"{panel.name}\n", color=colour, weight=weight, fontsize=15)
    axes.text(
        0.5,
        1.02,
        panel.note,
        transform=axes.transAxes,
        ha="center",
        color=colour if panel.is_ours else QUIET,
        fontsize=12.5,
    )
