"""The comparison of lowerings: what `explain` says, to look at."""

import typing
from dataclasses import dataclass

from jconvt._explanation import Explanation
from jconvt.plot._axes import axes_of

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class _Mark:
    """One estimate: the row of its lowering, its value, whether it is chosen."""

    row: int
    value: float
    picked: bool


_LABELS = {
    "milliseconds": "estimated time on a CPU of two cores (ms)",
    "multiply_adds": "executed multiply-adds",
    "bytes": "bytes read and written",
}
"""Quantities, by the attributes of `Estimate`."""

_FEW_DECADES = 1.5
"""Up to so many, the axis is labelled within them."""

_APART = 0.25
"""Rows of the lowerings between the marks of neighbouring maps."""


def lowerings(
    explanation: Explanation,
    *,
    quantity: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the lowerings that `jconvt.explain` compares, and which are picked.

    A row for each lowering, on it a mark for each of the three maps (output, input
    gradient, weight gradient): filled and large where it is picked, hollow elsewhere.
    The axis is logarithmic. A dashed line shows the useful multiply-adds.

    Args:
      explanation: what `jconvt.explain` returned.
      quantity: ``"milliseconds"``, ``"multiply_adds"`` or ``"bytes"``, the attributes
        of `jconvt.Estimate`. None: the milliseconds where there are estimates of time,
        which is on a CPU, and the multiply-adds elsewhere.
      ax: matplotlib axes to draw on; None: those of a new figure.

    Returns:
      The axes. ``ax.lines`` labelled with the name of a map hold the values of all
      lowerings that can serve, those labelled ``"_picked <map>"`` of the picked one.

    Raises:
      ImportError: matplotlib is not installed.
      TypeError: `explanation` is not one, or `quantity` no string.
      ValueError: an unknown quantity, milliseconds where there are none, or an
        explanation without estimates, because a size is zero.

    Example:
      >>> import jconvt.plot
      >>> found = jconvt.explain((16, 128, 16, 16), (128, 64, 4, 4), stride=2)
      >>> ax = jconvt.plot.lowerings(found, quantity="multiply_adds")
      >>> [label.get_text() for label in ax.get_yticklabels()][:2]
      ['lhs_dilation', 'phases']
    """
    function = "plot.lowerings"
    quantity = _check(function, explanation, quantity)
    marks = _marks(explanation, quantity)
    rows = len(explanation.candidates)
    ax = axes_of(function, ax, (7.0, 0.5 * rows + 1.0))
    from matplotlib import rcParams

    text, paper = rcParams["text.color"], rcParams["axes.facecolor"]
    for i, (slot, found) in enumerate(marks.items()):
        places = [mark.row + (i - 1) * _APART for mark in found]
        (all_of_it,) = ax.plot(
            [m.value for m in found], places, "o", ms=6, mfc=paper, label=slot, zorder=3
        )
        picked = [j for j, mark in enumerate(found) if mark.picked]
        ax.plot(
            [found[j].value for j in picked],
            [places[j] for j in picked],
            "D",
            ms=8,
            color=all_of_it.get_color(),
            label=f"_picked {slot}",
            zorder=4,
        )
    useful = explanation.useful_multiply_adds
    if quantity == "multiply_adds" and useful:
        ax.axvline(useful, color=text, lw=1, ls="--", label="useful")
    ax.plot([], [], "D", ms=8, color=text, label="picked")
    _label_rows(ax, explanation)
    _label_values(ax, quantity, [m.value for found in marks.values() for m in found])
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _check(function: str, explanation: object, quantity: object) -> str:
    """The quantity to draw, or the error."""
    if not isinstance(explanation, Explanation):
        raise TypeError(
            f"{function}: `explanation` must be what jconvt.explain returns; got "
            f"{type(explanation).__name__}."
        )
    if quantity is not None and not isinstance(quantity, str):
        raise TypeError(
            f"{function}: `quantity` must be a string or None; got {quantity!r}."
        )
    estimates = [e for c in explanation.candidates for e in c.estimates]
    if not estimates:
        raise ValueError(
            f"{function}: `explanation` must hold estimates; got one of a call that "
            f"computes nothing, {explanation.input_shape} -> "
            f"{explanation.output_shape}."
        )
    timed = estimates[0].milliseconds is not None
    if quantity is None:
        return "milliseconds" if timed else "multiply_adds"
    if quantity not in _LABELS:
        raise ValueError(
            f"{function}: `quantity` must be one of {', '.join(_LABELS)}; got "
            f"{quantity!r}."
        )
    if quantity == "milliseconds" and not timed:
        raise ValueError(
            f"{function}: `quantity` must not be 'milliseconds' here: times are "
            f"estimated for a CPU alone; got an explanation for "
            f"{explanation.platform!r}."
        )
    return quantity


def _marks(explanation: Explanation, quantity: str) -> dict[str, list[_Mark]]:
    """Map -> its marks, by row."""
    marks: dict[str, list[_Mark]] = {}
    for row, candidate in enumerate(explanation.candidates):
        for e in candidate.estimates:
            mark = _Mark(row, getattr(e, quantity), e.picked)
            marks.setdefault(e.slot, []).append(mark)
    return marks


def _label_rows(ax: "Axes", explanation: Explanation) -> None:
    """Names of the lowerings, the first on top; faint where one cannot serve."""
    candidates = explanation.candidates
    ax.set_yticks(range(len(candidates)), [c.lowering for c in candidates])
    ax.set_ylim(len(candidates) - 0.5, -0.5)
    refused = {"alpha": 0.5, "va": "center", "transform": ax.get_yaxis_transform()}
    for row, candidate in enumerate(candidates):
        if candidate.refusal is not None:
            ax.get_yticklabels()[row].set_alpha(refused["alpha"])
            ax.text(0.02, row, "cannot serve", **refused)


def _label_values(ax: "Axes", quantity: str, values: list[float]) -> None:
    """A logarithmic axis with plain numbers, of units that the eye counts in."""
    from matplotlib.ticker import EngFormatter, LogLocator, StrMethodFormatter

    ax.set(xscale="log", xlabel=_LABELS[quantity])
    few = max(values) < min(values) * 10**_FEW_DECADES
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    ax.xaxis.set_major_formatter(
        StrMethodFormatter("{x:g}")
        if quantity == "milliseconds"
        else EngFormatter("B" if quantity == "bytes" else "")
    )
    ax.xaxis.set_minor_formatter("")
    ax.grid(axis="x", alpha=0.4)
