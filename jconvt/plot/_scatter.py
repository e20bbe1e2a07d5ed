"""`scatter`: every tap of every input element, and the output to which it adds."""

import typing
from typing import Any

from jconvt._call.arguments import IntOrInts, Padding
from jconvt.plot._axes import axes_of
from jconvt.plot._line import Line, lines_of

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jconvt.plot._cells import Cells

_CROPPED: dict[str, Any] = {"facecolor": "gray", "alpha": 0.25, "linewidth": 0}
"""Grey is visible on light and on dark backgrounds."""

_EDGE, _THICK_EDGE = 0.6, 2.2
"""Outline of a cell, and of an output that `output_padding` appends, in points."""

_INPUT, _DILATED, _FOOTPRINTS = 0.0, 1.6, 3.0
"""Rows of the input, the dilated input and the first copy of the kernel."""


def scatter(
    input_size: IntOrInts,
    kernel_size: IntOrInts,
    *,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    output_size: IntOrInts | None = None,
    dilation: IntOrInts = 1,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw one spatial axis of a transposed convolution, tap by tap.

    The rows are, from the top: the input; the input with ``stride - 1`` zeros between
    elements; for each input element, the kernel that it multiplies; the output. The
    columns are positions in the full output.

    - Cropped positions are faint, on grey.
    - Outputs that `output_padding` or `output_size` appends have a thick outline.
    - An output that no tap reaches has no colour; it holds the bias.
    - The colour of output o is that of its phase, ``o % stride``. The taps of one
      colour are one stride-1 convolution.

    Args:
      input_size: the number of input elements: an int, or a tuple of one.
      kernel_size: the number of taps, likewise.
      stride: as in `jconvt.conv_transpose`, in output elements.
      padding: output elements cropped, in every form that `conv_transpose` accepts.
      output_padding: output elements appended.
      output_size: the output's size.
      dilation: output elements between neighbouring taps.
      ax: matplotlib axes to draw on; None: a new figure, as large as the diagram needs.

    Returns:
      The axes. Each cell is one of ``ax.patches``, and its `get_gid()` is ``"input
      i"``, ``"dilated p"``, ``"tap i t"`` or ``"output o"``, where i is the number of
      an input element and p a position in the full output. The grey areas are ``"crop
      low"`` and ``"crop high"``.

    Raises:
      ImportError: matplotlib is not installed.
      TypeError: an argument of the wrong kind.
      ValueError: an argument out of range, or more than 1 spatial axis.

    Example:
      >>> import jconvt.plot
      >>> ax = jconvt.plot.scatter(3, 4, stride=2, padding=1)
      >>> sum(cell.get_gid().startswith("output") for cell in ax.patches)
      6
    """
    function = "plot.scatter"
    (line,) = lines_of(
        function,
        1,
        input_size,
        kernel_size,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        output_size=output_size,
        dilation=dilation,
    )
    begin, end = min(0, line.axis.low), line.full - min(0, line.axis.high)
    last = _FOOTPRINTS + len(line.elements) + 0.6
    size = (min(0.36 * (end - begin) + 1.8, 14.0), min(0.34 * last + 1.6, 12.0))
    ax = axes_of(function, ax, size)
    from jconvt.plot._cells import Cells, font_size

    ax.set(xlim=(begin - 0.6, end - 0.4), ylim=(last + 0.6, -0.6))
    cells = Cells(ax, line.axis.stride, font_size(ax, end - begin, last + 1.2))
    _draw_inputs(cells, line)
    _draw_footprints(cells, line)
    _draw_outputs(cells, line, last)
    _shade_crops(ax, line, last)
    _name_rows(ax, line, last)
    _explain_colours(cells, line)
    return ax


def _draw_inputs(cells: "Cells", line: Line) -> None:
    """Draw the input, and below it the input with zeros between the elements."""
    from jconvt.plot._cells import NEUTRAL

    stride, count = line.axis.stride, len(line.elements)
    indent = (count - 1) * (stride - 1) / 2
    for number, i in enumerate(line.elements):
        name = f"$x_{{{i}}}$"
        cells.draw(f"input {number}", (indent + number, _INPUT), name, NEUTRAL)
        cells.draw(
            f"dilated {number * stride}", (number * stride, _DILATED), name, NEUTRAL
        )
        cells.ax.plot(
            (indent + number, number * stride),
            (_INPUT + 0.45, _DILATED - 0.45),
            color=NEUTRAL,
            lw=0.8,
        )
    for p in set(range((count - 1) * stride + 1)) - set(
        range(0, count * stride, stride)
    ):
        cells.draw(f"dilated {p}", (p, _DILATED), "0", None)


def _draw_footprints(cells: "Cells", line: Line) -> None:
    """Draw a row for each input element: the taps by which it is multiplied."""
    for number, positions in enumerate(line.positions):
        for t, p in enumerate(positions):
            o = int(p) - line.axis.low
            cells.draw(
                f"tap {number} {t}",
                (float(p), _FOOTPRINTS + number),
                f"$w_{{{t}}}$",
                cells.colour(o),
                faint=not 0 <= o < line.outputs,
            )


def _draw_outputs(cells: "Cells", line: Line, row: float) -> None:
    """Draw the row of outputs."""
    for o, reached in enumerate(line.overlap):
        cells.draw(
            f"output {o}",
            (o + line.axis.low, row),
            f"$y_{{{o}}}$",
            cells.colour(o) if reached else None,
            edge=_THICK_EDGE if o >= line.outputs - line.extra else _EDGE,
        )


def _shade_crops(ax: "Axes", line: Line, last: float) -> None:
    """Draw grey behind the cropped columns, below the dilated input."""
    from matplotlib.patches import Rectangle

    axis, top = line.axis, _FOOTPRINTS - 0.6
    for gid, begin, width in (
        ("crop low", 0, axis.low),
        ("crop high", line.full - axis.high, axis.high),
    ):
        if width > 0:
            corner = (begin - 0.5, top)
            shade = Rectangle(corner, width, last + 0.6 - top, gid=gid, **_CROPPED)
            ax.add_patch(shade).set_zorder(0)


def _name_rows(ax: "Axes", line: Line, last: float) -> None:
    """Label the rows and the axis of positions."""
    from matplotlib.ticker import MaxNLocator

    names = {_INPUT: "input", _DILATED: "dilated input", last: "output"}
    for number, i in enumerate(line.elements):
        names[_FOOTPRINTS + number] = f"$x_{{{i}}}\\cdot w$"
    ax.set_yticks(list(names), list(names.values()))
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("position in the full output")
    ax.spines[["top", "left", "right"]].set_visible(False)


def _explain_colours(cells: "Cells", line: Line) -> None:
    """A legend below the diagram: the phases, and cropped and appended if any are."""
    from matplotlib.patches import Patch

    phases = range(min(line.axis.stride, line.outputs))
    entries = [Patch(facecolor=cells.colour(r), label=f"phase {r}") for r in phases]
    if max(line.axis.low, line.axis.high) > 0:
        entries.append(Patch(label="cropped", **_CROPPED))
    if line.extra:
        entries.append(Patch(fill=False, label="appended", linewidth=_THICK_EDGE))
    cells.ax.legend(
        handles=entries,
        ncols=5,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        borderaxespad=4.5,  # in font sizes, to stay below the axis label
        fontsize="small",
        frameon=False,
    )
