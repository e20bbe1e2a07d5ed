"""``python -m benchmarks``: measure one of the tables, print and store it."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from benchmarks import (
    accuracy,
    linearity,
    networks,
    overhead,
    racing,
    streaming,
    transforms,
    tuning,
)
from benchmarks.accuracy import measuring
from benchmarks.contenders import CONTENDERS, DTYPES, LOWERING_CONTENDERS
from benchmarks.environment import environment
from benchmarks.layers import zoo
from benchmarks.networks.descriptions import networks as described
from benchmarks.options import MODES, Options
from benchmarks.report import Result

RESULTS = Path(__file__).parent / "results"

CHOICES = {name: (train,) for train, name in MODES.items()} | {"both": tuple(MODES)}
"""What ``--mode`` can be."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A result that the command line can ask for.

    Attributes:
      help: one line.
      results: does it.
      takes: the options that have a meaning for it, beside ``--out``.
      rows: the names of its rows, to choose from.
      contenders: the names of its contenders, to choose from.
    """

    help: str
    results: Callable[[Options], Iterator[Result]]
    takes: frozenset[str]
    rows: Callable[[], Sequence[str]] = lambda: [layer.name for layer in zoo()]
    contenders: Sequence[str] = ()


_RACE = frozenset(
    {"rows", "contenders", "lowerings", "mode", "dtype", "base", "seconds"}
)
_EVERYONE = (*CONTENDERS, *LOWERING_CONTENDERS)

TABLES = {
    "race": Table(
        help="all contenders over all layers (the default)",
        results=racing.results,
        takes=_RACE,
        contenders=_EVERYONE,
    ),
    "quick": Table(
        help="the race over a few layers, in about two minutes",
        results=racing.quick,
        takes=_RACE,
        contenders=_EVERYONE,
    ),
    "networks": Table(
        help="whole networks: jconvt in Flax, Flax alone and PyTorch",
        results=networks.results,
        takes=frozenset({"rows", "mode", "seconds"}),
        rows=lambda: list(described()),
    ),
    "overhead": Table(
        help="what a tiny call costs, and the import",
        results=overhead.results,
        takes=frozenset({"seconds"}),
    ),
    "transforms": Table(
        help="scan, vmap, grad of vmap and checkpoint over the same work",
        results=transforms.results,
        takes=frozenset({"rows", "seconds"}),
    ),
    "linearity": Table(
        help="time per element as batch and image grow",
        results=linearity.results,
        takes=frozenset({"seconds"}),
    ),
    "streaming": Table(
        help="steps of a stream over their share of one call for the whole signal",
        results=streaming.results,
        takes=frozenset({"rows", "seconds"}),
        rows=lambda: list(streaming.LAYERS),
    ),
    "tuning": Table(
        help="what tune gains, on networks and on the slowest random layers",
        results=tuning.results,
        takes=frozenset({"rows", "seconds"}),
        rows=lambda: list(tuning.rows()),
    ),
    "accuracy": Table(
        help="rounding errors of every lowering, map and dtype",
        results=accuracy.results,
        takes=frozenset({"rows", "contenders"}),
        rows=lambda: list(measuring.TYPES),
        contenders=measuring.contenders(),
    ),
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print `message` and leave with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a table and print it; store it if it is complete or `--out` is given."""
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    options = _options(parser, parsed)
    folder = parsed.out or (RESULTS if options.whole else None)
    environment()  # now, for the commit may change during a long race
    for result in TABLES[parsed.table].results(options):
        print(result.text())
        if folder is not None:
            files = result.write(folder)
            print(f"written: {', '.join(map(str, files))}\n")


def make_parser() -> Parser:
    """The command line."""
    parser = Parser(prog="python -m benchmarks", description=__doc__)
    tables = parser.add_mutually_exclusive_group()
    for name, table in TABLES.items():
        tables.add_argument(
            f"--{name}",
            dest="table",
            action="store_const",
            const=name,
            help=table.help,
        )
    parser.set_defaults(table="race")
    defaults = Options()
    parser.add_argument("--rows", type=names, default=(), help="by comma; default all")
    parser.add_argument(
        "--contenders", type=names, default=(), help="by comma; default all"
    )
    parser.add_argument(
        "--lowerings", action="store_true", help="race jconvt's lowerings too"
    )
    parser.add_argument("--mode", choices=CHOICES, default="both")
    parser.add_argument("--dtype", choices=DTYPES, default=defaults.dtype)
    parser.add_argument(
        "--base", default=defaults.base, help="whose time is 1; default torch"
    )
    parser.add_argument("--seconds", type=float, help="for each row, at least")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder to write to; default benchmarks/results, if no rows or contenders "
        "are chosen",
    )
    return parser


def names(text: str) -> tuple[str, ...]:
    """The names in a list by comma."""
    return tuple(name.strip() for name in text.split(","))


def _options(parser: Parser, parsed: argparse.Namespace) -> Options:
    """The parsed options; an error if the table does not take one of them."""
    table = TABLES[parsed.table]
    for name in sorted(_RACE - table.takes):
        if getattr(parsed, name) != parser.get_default(name):
            parser.error(f"--{name} has no meaning for --{parsed.table}")
    checks = [
        ("rows", parsed.rows, table.rows()),
        ("contenders", parsed.contenders, table.contenders),
    ]
    if "base" in table.takes:
        checks.append(("base", (parsed.base,), table.contenders))
    for name, given, choices in checks:
        for unknown in set(given) - set(choices):
            listed = ", ".join(choices)
            parser.error(f"--{name}: {unknown!r} is none of {listed}")
    return Options(
        rows=parsed.rows,
        contenders=parsed.contenders,
        lowerings=parsed.lowerings,
        modes=CHOICES[parsed.mode],
        dtype=parsed.dtype,
        base=parsed.base,
        seconds=parsed.seconds,
    )


if __name__ == "__main__":
    main()
