"""``python -m benchmarks.cliffs``: time random layers, a line of JSON for each."""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cliffs import lines, report
from benchmarks.cliffs.child import Child
from benchmarks.cliffs.contenders import MODES
from benchmarks.cliffs.draw import draw
from benchmarks.environment import ROOT
from benchmarks.progress import say

Task = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, then print a report of the file."""
    parsed = _parser().parse_args(arguments)
    child = Child()
    try:
        search(tasks(parsed), child.race, parsed.out, seconds=parsed.seconds)
    finally:
        child.end()
    print(report.text(report.newest(lines.read([parsed.out]))))


def search(
    tasks: Iterator[Task],
    race: Callable[[Task], lines.Line],
    out: Path,
    *,
    seconds: float,
) -> int:
    """Race the tasks that `out` lacks, until `seconds` have passed; how many it was."""
    start, done = time.monotonic(), 0
    have = {lines.key(line) for line in lines.read([out])}
    for task in tasks:
        if lines.key({**task, **lines.where()}) in have:
            continue
        if time.monotonic() - start >= seconds:
            break
        drawn = draw(task["seed"], task["number"])
        say(f"{drawn.layer.name}, {task['mode']}: {drawn.layer.source}")
        lines.append(out, lines.line(task, drawn, race(task)))
        done += 1
    return done


def tasks(parsed: argparse.Namespace) -> Iterator[Task]:
    """A task for each layer and mode, layer by layer."""
    numbers = itertools.count() if parsed.layers is None else range(parsed.layers)
    modes = MODES if parsed.mode == "both" else (parsed.mode,)
    for number in numbers:
        for mode in modes:
            yield {
                "seed": parsed.seed,
                "number": number,
                "mode": mode,
                "candidates": parsed.candidates,
                "budget": parsed.budget,
            }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cliffs", description=__doc__
    )
    parser.add_argument("--layers", type=int, help="how many; default: until --seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the layers; default 0")
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="in all, about; default 600"
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=20.0,
        help="seconds for a layer in one mode, about; default 20",
    )
    parser.add_argument("--mode", choices=(*MODES, "both"), default="both")
    parser.add_argument(
        "--candidates",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="time each formulation that could have been chosen; default yes",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "build" / "cliffs.jsonl",
        help="file that grows, and whose layers are skipped; default %(default)s",
    )
    return parser


if __name__ == "__main__":
    main()
