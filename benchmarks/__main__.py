"""``python -m benchmarks``: race the contenders over the zoo and write the results."""

import argparse
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks import report
from benchmarks.contenders import Contender, Unsupported, available
from benchmarks.layers import Layer, zoo
from benchmarks.timing import Run, race

RESULTS = Path(__file__).parent / "results"


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, race, print and write."""
    args = _parser().parse_args(argv)
    layers = [row for row in zoo() if not args.rows or row.name in args.rows]
    contenders = available(args.contenders or None)
    missing = set(args.contenders or []) - set(contenders)
    if missing:
        sys.exit(f"not installed: {', '.join(sorted(missing))}")
    console = Console()
    for train in (False, True) if args.mode == "both" else (args.mode == "train",):
        name = f"{'train' if train else 'forward'}-{args.dtype}"
        times = {
            layer.name: _race(layer, contenders, args.dtype, train, args.seconds)
            for layer in track(layers, name, console=console)
        }
        title = f"{'Forward and all gradients' if train else 'Forward'}, {args.dtype}"
        console.print(report.markdown(times, args.base), soft_wrap=True)
        if not args.rows:
            report.write(args.out, name, times, args.base, title)
            console.print(f"written: {args.out / name}.md, .json, .svg")
    listed = ", ".join(f"{k} {v}" for k, v in report.environment().items())
    console.print(listed, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=_names, default=[], help="layers, by comma")
    parser.add_argument(
        "--contenders", type=_names, default=[], help="names, by comma; default all"
    )
    parser.add_argument("--mode", choices=("forward", "train", "both"), default="both")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--base", default="torch", help="the contender to compare with")
    parser.add_argument("--seconds", type=float, default=2.0, help="per row")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _race(
    layer: Layer,
    contenders: dict[str, Contender],
    dtype: str,
    train: bool,
    seconds: float,
) -> dict[str, float]:
    runs: dict[str, Run] = {}
    reference: np.ndarray | None = None
    for name, contender in contenders.items():
        try:
            run, output = contender(layer, jnp.dtype(dtype), train)
        except Unsupported:
            continue
        y = output()
        reference = y if reference is None else reference
        _check(layer, name, y, reference)
        run()
        runs[name] = run
    return race(runs, seconds=seconds)


def _check(layer: Layer, name: str, y: np.ndarray, reference: np.ndarray) -> None:
    """Refuse to time a contender that computes something else."""
    scale = float(np.abs(reference).max()) or 1.0
    if y.shape != reference.shape or np.abs(y - reference).max() > 0.05 * scale:
        raise AssertionError(f"{name} computes another {layer.name}")


if __name__ == "__main__":
    main()
