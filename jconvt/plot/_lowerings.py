"""`lowerings`: the estimates of `jconvt.explain` as a picture."""

import typing
from dataclasses import dataclass

from jconvt._explanation import Explanation
from jconvt.plot._axes import axes_of

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class _Mark:
    """One estimate: the row of its lowering, its value, and whether it is chosen."""

    row: int
    value: float
    picked: bool


_LABELS = {
    "milliseconds": "estimated time on a CPU of two cores (ms)",
    "multiply_adds": "executed multiply-adds",
    "bytes": "bytes read and written",
}
"""Attribute of `Estimate` -> label of the axis."""

_FEW_DECADES = 1.5
"""If the values span fewer decades, the axis has labels at 1, 2 and 5."""

_OFFSET = 0.25
"""Distance between the marks of neighbouring maps, in rows."""


def lowerings(
    explanation: Explanation,
    *,
    quantity: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the estimates for each lowering, and which lowering is chosen.

    There is a row for each lowering, and on it a mark for each of the three maps
    (output, input gradient, weight gradient): large and filled if the lowering is
    chosen, hollow otherwise. The axis is logarithmic. A dashed line shows the useful
    multiply-adds.

    Args:
      explanation: what `jconvt.explain` returned.
      quantity: ``"milliseconds"``, ``"multiply_adds"`` or ``"bytes"``, which are
        attributes of `jconvt.Estimate`. None: milliseconds on a CPU, for which times
        are estimated, and multiply-adds elsewhere.
      ax: matplotlib axes to draw on; None: those of a new figure.

    Returns:
      The axes. A line labelled with the name of a map holds the values of all
      lowerings that can be used, one labelled ``"_picked <map>"`` that of the chosen
      one.

    Raises:
      ImportError: matplotlib is not installed.
      TypeError: an argument of the wrong kind.
      ValueError: an unknown quantity, milliseconds for a GPU or TPU, or an explanation
        without estimates, because a size is zero.

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
        y = [mark.row + (i - 1) * _OFFSET for mark in found]
        (all_of_it,) = ax.plot(
            [m.value for m in found], y, "o", ms=6, mfc=paper, label=slot, zorder=3
        )
        picked = [j for j, mark in enumerate(found) if mark.picked]
        ax.plot(
            [found[j].value for j in picked],
            [y[j] for j in picked],
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
    """The quantity to draw, or an error."""
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
    """Name of a map -> its marks."""
    marks: dict[str, list[_Mark]] = {}
    for row, candidate in enumerate(explanation.candidates):
        for e in candidate.estimates:
            mark = _Mark(row, getattr(e, quantity), e.picked)
            marks.setdefault(e.slot, []).append(mark)
    return marks


def _label_rows(ax: "Axes", explanation: Explanation) -> None:
    """Name the rows, the first one on top; faint if the lowering cannot be used."""
    candidates = explanation.candidates
    ax.set_yticks(range(len(candidates)), [c.lowering for c in candidates])
    ax.set_ylim(len(candidates) - 0.5, -0.5)
    refused = {"alpha": 0.5, "va": "center", "transform": ax.get_yaxis_transform()}
    for row, candidate in enumerate(candidates):
        if candidate.refusal is not None:
            ax.get_yticklabels()[row].set_alpha(refused["alpha"])
            ax.text(0.02, row, "cannot serve", **refused)


def _label_values(ax: "Axes", quantity: str, values: list[float]) -> None:
    """A logarithmic axis with labels such as 0.5, 20 k and 3 MB."""
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
