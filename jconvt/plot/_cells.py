"""Cells, the squares that a scatter diagram is made of, and their colours."""

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
"""Of cells without a phase; it stands out on light and on dark."""

_HEIGHT = 0.76
"""Of a cell, in rows; it is one position wide."""

_FAINT = 0.25
"""How opaque a faint cell is."""

_LEAST = 4.0
"""The smallest font that is legible, in points."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Draws cells on `ax`, in the colours of the style and of `stride` phases.

    Attributes:
      font_size: of the texts in points; 0: none has room.
    """

    ax: "Axes"
    stride: int
    font_size: float

    def colour(self, output: int) -> Colour:
        """That of a phase: of the style's cycle, or its colour map where that is short.

        `output` is the number of an output element.
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
        place: tuple[float, float],
        text: str,
        face: Colour | None,
        *,
        faint: bool = False,
        edge: float = 0.6,
    ) -> None:
        """A cell about `place`, (position, row); with no `face` a dotted outline.

        `edge` is its width in points.
        """
        x, y = place
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
    """Black or white, whichever is read better on it: by the luma of Rec. 601."""
    return "black" if np.dot(colour, (0.299, 0.587, 0.114)) > 0.5 else "white"


def font_size(ax: "Axes", positions: float, rows: float) -> float:
    """Points that fit a cell and are no larger than the style's; 0: none do."""
    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    cell = 72 * min(box.width / positions, box.height / rows)
    size = min(0.5 * cell, rcParams["font.size"])
    return size if size >= _LEAST else 0.0
