"""Progress as a line for each step: a live bar would use the cores being timed."""

import sys
from collections.abc import Iterator, Mapping
from typing import TypeVar

Value = TypeVar("Value")


def track(label: str, values: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
    """The items of `values`, each announced on stderr."""
    for number, (name, value) in enumerate(values.items(), start=1):
        say(f"{label} {number}/{len(values)}: {name}")
        yield name, value


def say(message: str) -> None:
    """Print a message to stderr; stdout is for results."""
    print(message, file=sys.stderr, flush=True)
