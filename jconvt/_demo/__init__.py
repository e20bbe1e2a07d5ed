"""`python -m jconvt demo`: learn, in a minute, to enlarge a photograph threefold.

A small super-resolution network whose last layer is `jconvt.nnx.ConvTranspose2d` trains
on photographs of scikit-image and is tested on another one. `run.py` is the whole
program; `photos.py` has the photographs, `network.py` the network and `picture.py` the
picture.

This file imports none of the packages that the demo needs, so that one clear line can
name those that are missing.
"""

import argparse
import math
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from jconvt._shell.command import Command

PACKAGES = {
    "flax": "flax",
    "matplotlib": "matplotlib",
    "optax": "optax",
    "PIL": "pillow",
    "rich": "rich",
    "skimage": "scikit-image",
}
"""Module that the demo imports -> package to install."""

FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the demo's options on `parser`."""
    parser.add_argument(
        "--output",
        type=_picture_path,
        default=Path("jconvt-demo.png"),
        metavar="PATH",
        help="where the comparison picture goes (default: %(default)s)",
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--seconds",
        type=_positive(float),
        default=60.0,
        metavar="S",
        help="train this long (default: %(default)g)",
    )
    budget.add_argument(
        "--steps",
        type=_positive(int),
        metavar="N",
        help="train this many steps instead, which a second run repeats",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the first weights and the patches (default: %(default)s)",
    )


def main(options: argparse.Namespace) -> int:
    """Run the demo with the options of `add_arguments`; returns the exit status."""
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if missing:
        needed = ", ".join(missing)
        print(
            f"jconvt demo: needs {needed}; run: pip install 'jconvt[demo]'",
            file=sys.stderr,
        )
        return 2

    from jconvt._demo.run import run

    run(options.output, options.seconds, options.steps, options.seed)
    return 0


def _positive(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    """A parser of positive, finite numbers, for argparse."""

    def parse(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not (value > 0 and math.isfinite(value)):
            raise argparse.ArgumentTypeError(
                f"must be a positive {kind.__name__}; got {text!r}"
            )
        return value

    return parse


def _picture_path(text: str) -> Path:
    """A path with an image suffix in a directory that exists, for argparse."""
    path = Path(text)
    if path.suffix.lower() not in FORMATS:
        raise argparse.ArgumentTypeError(
            f"must end in one of {', '.join(FORMATS)}; got {text!r}"
        )
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path.parent} is not a directory")
    return path


COMMAND = Command(
    name="demo",
    summary="train a network on photographs, a minute, and see a picture",
    text="""
Learn, in a minute, to enlarge a photograph threefold: a small network whose last layer
is jconvt.nnx.ConvTranspose2d trains on photographs inside scikit-image, is judged on
one that it has never seen, and is timed beside Flax's own layer.
""",
    examples=(
        ("a minute of training, and jconvt-demo.png", ""),
        ("a quick look, elsewhere", "--seconds 10 --output quick.png"),
    ),
    add_arguments=add_arguments,
    run=main,
)
