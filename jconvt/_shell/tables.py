"""Text and tables on a terminal, in a pipe and as JSON.

Rich is used where a person looks: it wraps cells to the width of the terminal and makes
what was picked stand out. A pipe, a dumb terminal or a machine without Rich gets the
same cells as aligned text, which `grep` and `awk` can read.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under headings.

    Attributes:
      headings: one for each column.
      rows: cells, as many as headings.
      words: headings of the columns that hold words, left-aligned; the others hold
        numbers. The last column, if of words, wraps where a terminal is narrow.
      wraps: headings of other columns of words that wrap.
      picked: numbers of the rows that stand out.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[str] = frozenset()
    wraps: frozenset[str] = frozenset()
    picked: frozenset[int] = frozenset()


def show(*blocks: str | Table) -> None:
    """Prints paragraphs and tables with an empty line between them."""
    if _is_for_a_person():
        _show_rich(blocks)
    else:
        print("\n\n".join(b if isinstance(b, str) else plain(b) for b in blocks))


def show_json(value: Mapping[str, Any]) -> None:
    """Prints one JSON object."""
    print(json.dumps(value, indent=2))


def plain(table: Table) -> str:
    """The table as aligned text."""
    lines = [table.headings, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:{'<' if heading in table.words else '>'}{width}}"
            for heading, cell, width in zip(table.headings, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _is_for_a_person() -> bool:
    if not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    return find_spec("rich") is not None


def rich_table(table: Table) -> Any:
    """The table for Rich, with the picked rows in colour."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(
        box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0)
    )
    last = table.headings[-1]
    for heading in table.headings:
        justify = "left" if heading in table.words else "right"
        wraps = heading in (last, *table.wraps) and heading in table.words
        made.add_column(
            Text(heading), justify=justify, no_wrap=not wraps, overflow="fold"
        )
    for place, row in enumerate(table.rows):
        style = "bold green" if place in table.picked else None
        made.add_row(*map(Text, row), style=style)
    return made


def _show_rich(blocks: Iterable[str | Table]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for number, block in enumerate(blocks):
        if number:
            console.print()
        console.print(Text(block) if isinstance(block, str) else rich_table(block))
