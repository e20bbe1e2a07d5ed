"""``python -m benchmarks.gpu``: race on the GPU that is here, and write the tables."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from benchmarks.__main__ import CHOICES, RESULTS, Parser, names
from benchmarks.cliffs.child import Child
from benchmarks.environment import ROOT, environment
from benchmarks.gpu import tuning
from benchmarks.gpu.contenders import PRECISIONS, set_precision
from benchmarks.gpu.layers import LARGER, layers
from benchmarks.gpu.race import Outcome, Settings, Table, Task, tables
from benchmarks.gpu.report import as_result, slug
from benchmarks.layers import Layer
from benchmarks.progress import say

WORKER = (sys.executable, "-m", "benchmarks.gpu.worker")
DTYPES = ("float32", "bfloat16", "float16")


def main(arguments: Sequence[str] | None = None) -> None:
    """Race and print the tables; then tune, if that is asked for."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    # JAX would take most of the memory at once, here and in the worker.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    device = environment()["device"]
    here = jax.default_backend() != "cpu"
    out: Path = parsed.out or (RESULTS if here else ROOT / "build" / "bench-gpu")
    settings = Settings(
        layers=_layers(parser, parsed.rows, parsed.larger or (LARGER if here else 1)),
        modes=CHOICES[parsed.mode],
        dtypes=parsed.dtypes,
        precision=parsed.precision,
        seconds=parsed.seconds,
    )
    say(f"on {device}, for {settings.seconds:.0f} s; the tables grow in {out}")
    child = Child(WORKER, insists=False)
    try:
        found = write(settings, _race(child), out, device)
    finally:
        child.end()
    for table in found:
        print(as_result(table, settings, device).text())
    if parsed.tune:
        set_precision("float32", settings.precision)
        for name, report in tuning.reports(tuning.NETWORKS, parsed.tune):
            print(f"{name}\n{report}\n")
            report.save(out / f"gpu-{slug(device)}-tune-{name}.json")


def write(
    settings: Settings, race: Callable[[Task], Outcome], out: Path, device: str
) -> Sequence[Table]:
    """Write the tables after each layer, and return the last ones."""
    found: Sequence[Table] = ()
    for found in tables(settings, race):
        for table in found:
            as_result(table, settings, device).write(out)
    return found


def _race(child: Child) -> Callable[[Task], Outcome]:
    """Races in `child`, and ends it where hardly any contender has a time.

    An error of one contender can leave a GPU's context of no use to the following ones.
    """

    def race(task: Task) -> Outcome:
        outcome = child.race(task)
        if len(outcome["seconds"]) < 2:
            child.end()
        return outcome

    return race


def _layers(parser: Parser, rows: Sequence[str], larger: int) -> dict[str, Layer]:
    found = layers(larger)
    for unknown in set(rows) - set(found):
        parser.error(f"--rows: {unknown!r} is none of {', '.join(found)}")
    return {name: found[name] for name in rows or found}


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "--seconds",
        type=float,
        default=540.0,
        help="in all, about; then the tables are partial; default 540",
    )
    parser.add_argument("--rows", type=names, default=(), help="by comma; default all")
    parser.add_argument("--mode", choices=CHOICES, default="both")
    parser.add_argument(
        "--dtypes",
        type=_dtypes,
        default=DTYPES[:2],
        help=f"of {', '.join(DTYPES)}, by comma; default {','.join(DTYPES[:2])}",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="highest",
        help="of products in float32, in JAX and PyTorch alike; default highest",
    )
    parser.add_argument(
        "--larger",
        type=int,
        help=f"times the zoo's batches; default {LARGER} on a GPU, 1 on a CPU",
    )
    parser.add_argument(
        "--tune",
        type=float,
        metavar="SECONDS",
        help="then let jconvt.tune measure each of four networks for so long",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder; default benchmarks/results, on a CPU build/bench-gpu",
    )
    return parser


def _dtypes(text: str) -> tuple[str, ...]:
    for unknown in set(names(text)) - set(DTYPES):
        listed = ", ".join(DTYPES)
        raise argparse.ArgumentTypeError(f"{unknown!r} is none of {listed}")
    return names(text)


if __name__ == "__main__":
    main()
