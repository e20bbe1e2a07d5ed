"""``python -m benchmarks.fit``: fit the CPU cost model to times of random layers.

Every candidate formulation of every map is timed on layers drawn at random, none of
them in the zoo; a fit of relative errors gives the rates. The regret of choosing by
them, the time of the pick over the best time, is printed for a third of the layers left
out of the fit, and with ``--zoo`` for the zoo.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from scipy.optimize import least_squares

from benchmarks.candidates import (
    collect,
    features_of,
    problem_of_layer,
    read,
)
from benchmarks.cliffs.draw import draw
from benchmarks.environment import environment
from benchmarks.layers import zoo
from benchmarks.report import geometric_mean
from jconvt._call.problem import Map, Problem
from jconvt._choice.cost import RATES

Row = dict[str, Any]

MOST_USEFUL = 2e8
"""Multiply-adds. Larger layers choose alike, and all their candidates take long."""


_START = {
    "multiply_adds": 0.012,
    "summed": 0.15,
    "convolved": 0.018,
    "packed": 0.3,
    "scattered": 0.5,
    "looped": 0.8,
    "operands": 0.1,
    "gathered": 0.3,
    "joined": 0.3,
    "added": 0.3,
    "reordered": 0.5,
    "strided": 0.2,
    "regrouped": 0.4,
    "transposed": 0.6,
    "swapped": 0.3,
    "prepared": 0.6,
    "cut": 1,
    "calls": 6000.0,
    "pressure": 1,
    "fixed": 20000.0,
}
"""Where the fit begins: a guess of the nanoseconds for each feature."""

_HELD = "looped"


def solve(rows: list[Row]) -> dict[str, float]:
    """Rates in nanoseconds, by least squares on the logarithms of the times.

    Errors are relative, candidates near the best of their layer weigh more, large
    errors weigh less than their square, and a weak pull to a plausible start decides
    what the data leave open.
    """
    counts = [[row["features"][name] for name in _START] for row in rows]
    matrix = np.array(counts, float)
    times = 1e9 * np.array([row["seconds"] for row in rows])
    weight = np.sqrt(1e9 * np.array([row["best"] for row in rows]) / times)
    start = np.log(list(_START.values()))
    width = np.array([1e-6 if name == _HELD else 4.0 for name in _START])

    def errors(logs: np.ndarray) -> np.ndarray:
        found = np.log(matrix @ np.exp(logs)) - np.log(times)
        return np.concatenate([weight * found, 0.15 * (logs - start)])

    fitted = least_squares(
        errors,
        start,
        loss="soft_l1",
        f_scale=0.3,
        bounds=(start - width, start + width),
    )
    return dict(zip(_START, map(float, np.exp(fitted.x)), strict=True))


def regrets(rows: list[Row], rates: dict[str, float]) -> dict[str, float]:
    """Layer -> time of the candidate that the rates pick, over the best time."""
    layers: dict[str, list[Row]] = {}
    for row in rows:
        layers.setdefault(str(row["layer"]), []).append(row)
    found: dict[str, float] = {}
    for name, group in layers.items():
        costs = [
            sum(rates[name] * count for name, count in row["features"].items())
            for row in group
        ]
        pick = group[int(np.argmin(costs))]
        found[name] = pick["seconds"] / pick["best"]
    return found


def _summary(found: dict[str, float]) -> str:
    values = list(found.values())
    worst = max(found, key=lambda name: found[name], default="none")
    return (
        f"regret {geometric_mean(values):.3f}, worst {found.get(worst, math.nan):.2f} "
        f"({worst}) of {len(values)}"
    )


def _held_out(row: Row) -> bool:
    return int(str(row["layer"]).split("-")[-1]) % 3 == 0


def report_zoo(console: Console, rows: list[Row]) -> None:
    """The regret of the choice as it stands, layer by layer."""
    for slot in Map:
        mine = [row for row in rows if row["slot"] == slot]
        found = regrets(mine, RATES[slot])
        console.print(f"{slot}: {_summary(found)}")
        for name, value in found.items():
            group = [row for row in mine if row["layer"] == name]
            best = min(group, key=lambda row: row["seconds"])
            if value > 1.1:
                console.print(f"  {name:28} {value:.2f}  best: {read(best)[2]}")


def report_fit(console: Console, rows: list[Row]) -> None:
    """Fitted rates, and the regret on the fitted layers and on those left out."""
    for slot in Map:
        mine = [row for row in rows if row["slot"] == slot]
        kept = [row for row in mine if not _held_out(row)]
        left_out = [row for row in mine if _held_out(row)]
        rates = solve(mine)
        console.print(f"{slot}")
        for name, rate in rates.items():
            console.print(f"  {name:14} {rate:10.4g}   (now {RATES[slot][name]:.4g})")
        console.print(f"  fitted: {_summary(regrets(mine, rates))}")
        console.print(f"  left out: {_summary(regrets(left_out, solve(kept)))}")
        console.print(f"  as is: {_summary(regrets(mine, RATES[slot]))}")


def random_problems(seed: int, count: int) -> Iterator[tuple[str, Problem]]:
    """Layers as `make cliffs` draws them, but no large ones, each with a name."""
    for number in range(count):
        drawn = draw(seed, number)
        problem = problem_of_layer(drawn.layer, not drawn.channels_last)
        if problem.useful <= MOST_USEFUL:
            yield drawn.layer.name, problem


def main() -> None:
    """Time random layers or read earlier times, fit the rates and print the regret."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit")
    parser.add_argument("--layers", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.15, help="per candidate")
    parser.add_argument(
        "--within",
        type=float,
        default=6.0,
        help="time candidates estimated at most this many times the least",
    )
    parser.add_argument(
        "--few",
        action="store_true",
        help="time one candidate of each lowering: five times as many layers",
    )
    parser.add_argument("--out", type=Path, required=True, help="times, as JSON lines")
    parser.add_argument("--read", action="store_true", help="time nothing, read --out")
    parser.add_argument("--zoo", action="store_true", help="the zoo, in both layouts")
    args = parser.parse_args()
    console = Console()
    problems = random_problems(args.seed, args.layers)
    if args.zoo:
        problems = (
            (f"{layer.name}{'' if first else ' NHWC'}", problem_of_layer(layer, first))
            for layer in zoo()
            for first in (True, False)
        )
    if not args.read:
        with args.out.open("a") as file:
            for row in collect(problems, args.seconds, args.within, few=args.few):
                file.write(json.dumps(row) + "\n")
                file.flush()
    rows = [json.loads(line) for line in args.out.read_text().splitlines()]
    for row in rows:
        row["features"] = features_of(row)
    (report_zoo if args.zoo else report_fit)(console, rows)
    console.print(environment())


if __name__ == "__main__":
    main()
