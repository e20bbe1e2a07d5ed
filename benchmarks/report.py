"""Results as a Markdown table, JSON and a chart."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.environment import environment

Cells = Mapping[str, Mapping[str, float]]
"""Row -> column -> number."""

Texts = Mapping[str, Mapping[str, str]]
"""Column -> row -> text."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One table, ready to be printed and written.

    Attributes:
      name: of the files, without an ending.
      title: the heading.
      note: what the numbers say.
      table: the Markdown.
      data: the numbers themselves, for JSON.
      chart: draws them into a file.
    """

    name: str
    title: str
    note: str
    table: str
    data: Mapping[str, Any]
    chart: Callable[[Path], None] | None = None

    def text(self) -> str:
        """The Markdown file, which ends with versions, device and commit."""
        listed = ", ".join(f"{name} {value}" for name, value in environment().items())
        foot = f"Measured with: {listed}."
        return f"# {self.title}\n\n{self.note}\n\n{self.table}\n\n{foot}\n"

    def write(self, folder: Path) -> list[Path]:
        """Write ``name.md``, ``name.json`` and, with a chart, ``name.svg``."""
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{self.name}{ending}" for ending in (".md", ".json", ".svg")]
        files[0].write_text(self.text())
        data = {"title": self.title, "environment": environment(), **self.data}
        files[1].write_text(json.dumps(data, indent=1) + "\n")
        if self.chart is None:
            return files[:2]
        self.chart(files[2])
        return files


def ratios(times: Cells, base: str) -> dict[str, dict[str, float]]:
    """Row -> contender -> time over `base`'s in the same row, where `base` has one."""
    return {
        row: {
            name: seconds / cells[base]
            for name, seconds in cells.items()
            if name != base and base in cells
        }
        for row, cells in times.items()
    }


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean; NaN of none."""
    if not values:
        return math.nan
    return math.exp(sum(map(math.log, values)) / len(values))


SUMMARIES: dict[str, Callable[[Sequence[float]], float]] = {
    "**geometric mean**": geometric_mean,
    "lowest": min,
    "highest": max,
}
"""The last rows of a table of ratios."""


def race_table(times: Cells, base: str) -> str:
    """Ratios over `base`, whose own column is in milliseconds."""
    own = {row: milliseconds(cells.get(base)) for row, cells in times.items()}
    return grid("layer", ratios(times, base), {f"{base} (ms)": own})


def versus(times: Cells, name: str) -> str:
    """The time of `name` over that of each other contender, in rows that both have."""
    pairs: dict[str, list[float]] = {}
    for cells in times.values():
        for other in cells:
            if name in cells and other != name:
                pairs.setdefault(other, []).append(cells[name] / cells[other])
    rows = [
        [other, str(len(found)), *(number(f(found)) for f in SUMMARIES.values())]
        for other, found in pairs.items()
    ]
    return markdown([f"{name} over", "rows", *SUMMARIES], rows)


def grid(
    corner: str,
    cells: Cells,
    lead: Texts = MappingProxyType({}),
    *,
    summaries: bool = True,
) -> str:
    """A table of ratios, behind the columns of `lead` and above their summaries."""
    names = columns(cells)
    rows = [
        [row, *(texts.get(row, "") for texts in lead.values())]
        + [number(found.get(name)) for name in names]
        for row, found in cells.items()
    ]
    for label, summary in SUMMARIES.items() if summaries else ():
        found = ([c[name] for c in cells.values() if name in c] for name in names)
        rows.append([label, *[""] * len(lead), *(number(summary(v)) for v in found)])
    return markdown([corner, *lead, *names], rows)


def columns(cells: Cells) -> list[str]:
    """The names of all columns, in the order of their first use."""
    return list(dict.fromkeys(name for found in cells.values() for name in found))


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns of numbers are aligned at the right."""
    rows = [list(row) for row in rows]
    others = list(zip(*rows, strict=True))[1:] or [()] * (len(head) - 1)
    rules = ["---" if any(map(is_text, column)) else "---:" for column in others]
    lines = [head, ["---", *rules], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def is_text(cell: str) -> bool:
    """Whether it begins with a word, a name or a link rather than with a number."""
    return cell[:1].isalpha() or cell[:1] in ("`", "[")


def number(value: float | None) -> str:
    """A ratio; an empty cell for none."""
    if value is None:
        return ""
    return f"{value:.2f}" if value > 0.095 else f"{value:.3f}"


def milliseconds(seconds: float | None) -> str:
    """A time; an empty cell for none."""
    return "" if seconds is None else f"{seconds * 1e3:.2f}"
