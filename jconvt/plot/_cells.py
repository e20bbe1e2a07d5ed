"""The cells of a scatter diagram: boxes with a text, and their colours."""

import typing
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps, rcParams
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes

Colour = tuple[float, float, float]

NEUTRAL: Colour = (0.6, 0.6, 0.6)
"""Colour of cells without a phase, visible on light and on dark backgrounds."""

_HEIGHT = 0.76
"""Height of a cell, in rows; its width is one position."""

_FAINT = 0.25
"""Opacity of a faint cell."""

_LEAST = 4.0
"""Smallest legible font size, in points."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Draws cells on `ax`, in the colours of the style and of `stride` phases.

    Attributes:
      font_size: size of the texts in points; 0: no texts, because they do not fit.
    """

    ax: "Axes"
    stride: int
    font_size: float

    def colour(self, output: int) -> Colour:
        """The colour of the phase of an output element, given by its number.

        From the style's colour cycle, or, with more phases than that has, from its
        colour map.
        """
        cycle = rcParams["axes.prop_cycle"].by_key().get("color", [])
        phase = output % self.stride
        if self.stride <= len(cycle):
            return to_rgb(cycle[phase])
        shades = colormaps[rcParams["image.cmap"]]
        return to_rgb(shades(phase / max(self.stride - 1, 1)))

    def draw(
        self,
        gid: str,
        centre: tuple[float, float],
        text: str,
        face: Colour | None,
        *,
        faint: bool = False,
        edge: float = 0.6,
    ) -> None:
        """Draw a cell at `centre`, (position, row); without a `face`, a dotted outline.

        `edge` is the width of its outline in points.
        """
        x, y = centre
        self.ax.add_patch(
            Rectangle(
                (x - 0.5, y - _HEIGHT / 2),
                1,
                _HEIGHT,
                gid=gid,
                facecolor="none" if face is None else (*face, _FAINT if faint else 1.0),
                edgecolor=rcParams["text.color"],
                linewidth=edge,
                linestyle=":" if face is None else "-",
            )
        )
        if self.font_size:
            self.ax.text(
                x,
                y,
                text,
                color=rcParams["text.color"] if face is None or faint else ink(face),
                alpha=0.5 if faint else 1.0,
                ha="center",
                va="center_baseline",
                fontsize=self.font_size,
            )


def ink(colour: Colour) -> str:
    """Black or white, whichever is more legible on `colour`, by Rec. 601 luma."""
    return "black" if np.dot(colour, (0.299, 0.587, 0.114)) > 0.5 else "white"


def font_size(ax: "Axes", positions: float, rows: float) -> float:
    """The font size in points that fits a cell, at most the style's; 0: too small."""
    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    cell = 72 * min(box.width / positions, box.height / rows)
    size = min(0.5 * cell, rcParams["font.size"])
    return size if size >= _LEAST else 0.0
