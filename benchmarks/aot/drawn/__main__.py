"""``python -m benchmarks.aot.drawn``: compile random layers, a line for each map."""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.aot.drawn.entries import MAP_NAMES
from benchmarks.aot.drawn.report import read, text
from benchmarks.aot.drawn.sample import sample
from benchmarks.aot.targets import TARGETS
from benchmarks.cliffs.child import Child
from benchmarks.environment import ROOT, environment
from benchmarks.progress import say

COMMAND = (sys.executable, "-m", "benchmarks.aot.drawn.worker")

PATIENCE = 30.0
"""Seconds that one program may take to compile."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Compile until the time is over, then print a report of the file."""
    parsed = _parser().parse_args(arguments)
    if missing := TARGETS["tpu"].missing():
        sys.exit(f"not installed: {', '.join(missing)}; `make aot-tpu` installs it")
    child = Child(COMMAND)
    try:
        search(parsed, child)
    finally:
        child.end()
    print(text(read([parsed.out])))


def search(parsed: argparse.Namespace, child: Child) -> None:
    """Compile the maps that the file lacks."""
    start = time.monotonic()
    have = {(row["seed"], row["number"], row["map"]) for row in read([parsed.out])}
    for number in itertools.count(parsed.first, parsed.step):
        form = sample(parsed.seed, number)
        if form is None:
            continue
        for name in MAP_NAMES:
            if time.monotonic() - start >= parsed.seconds:
                return
            if (parsed.seed, number, name) in have:
                continue
            say(f"{parsed.seed}-{number}, {name}: {form.layer.source}")
            task = {"seed": parsed.seed, "number": number, "map": name}
            how = {"patience": PATIENCE, "kept": str(parsed.kept), "budget": 3600.0}
            found = child.race(task | how)
            _append(parsed.out, {**task, **_facts(), **found})


def _facts() -> dict[str, str]:
    return {**TARGETS["tpu"].versions(), "commit": environment()["commit"]}


def _append(path: Path, line: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.aot.drawn", description=__doc__
    )
    parser.add_argument("--seed", type=int, default=0, help="of the layers; default 0")
    parser.add_argument("--first", type=int, default=0, help="number to begin with")
    parser.add_argument("--step", type=int, default=1, help="from number to number")
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="in all, about; default 600"
    )
    for flag, name, help in (
        ("--out", "aot-drawn.jsonl", "file that grows, and whose maps are skipped"),
        ("--kept", "aot.jsonl", "file of what was read of each program"),
    ):
        parser.add_argument(
            flag,
            type=Path,
            default=ROOT / "build" / name,
            help=f"{help}; default %(default)s",
        )
    return parser


if __name__ == "__main__":
    main()
