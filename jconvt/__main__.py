"""`python -m jconvt shape|explain|demo`: the library at a shell."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import jconvt
from jconvt import _demo

EPILOG = """\
Write one number for all spatial axes or one for each, with commas; (low, high) pairs
with a colon; and what begins with a minus sign after an equals sign:

  python -m jconvt shape 1,64,16,16 64,32,4,4 --stride 2 --padding 1
  python -m jconvt shape 1,16,16,64 64,32,3,3 --padding=-1:2,0:1 --data-format NHWC
  python -m jconvt explain 8,256,32 256,128,16 --stride 8 --padding SAME --json
"""

KEYWORDS = (
    *("stride", "padding", "output_padding", "output_size", "groups", "dilation"),
    *("dimension_numbers", "data_format"),
)
"""The options that `shape` and `explain` share, by the names of the functions."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Prints `message` and leaves with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status, 2 for what a user can put right."""
    options = make_parser().parse_args(arguments)
    try:
        return options.run(options)
    except (TypeError, ValueError) as error:
        print(f"jconvt: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def make_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="python -m jconvt",
        description="Transposed convolution for JAX.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=jconvt.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    shape_parser = commands.add_parser("shape", help="the shape of the output")
    _add_operation(shape_parser)
    shape_parser.set_defaults(run=_shape)

    explain_parser = commands.add_parser("explain", help="what will run, and why")
    _add_operation(explain_parser)
    explain_parser.add_argument("--dtype", help="such as bfloat16")
    explain_parser.add_argument("--platform", help="such as cpu, cuda or tpu")
    explain_parser.add_argument("--lowering", help="such as phases, in place of auto")
    explain_parser.set_defaults(run=_explain)

    demo_parser = commands.add_parser("demo", help="train a network on photographs")
    _demo.add_arguments(demo_parser)
    demo_parser.set_defaults(run=_demo.main)
    return parser


def _add_operation(parser: argparse.ArgumentParser) -> None:
    """The arguments that `shape` and `explain` share."""
    parser.add_argument("input_shape", type=shape, help="such as 1,64,16,16")
    parser.add_argument("weight_shape", type=shape, help="such as 64,32,4,4")
    for name, example in (
        ("stride", "2 or 2,1"),
        ("output-padding", "1 or 1,0"),
        ("output-size", "32,32"),
        ("dilation", "2 or 2,1"),
    ):
        parser.add_argument(
            f"--{name}", type=ints, metavar="INTS", help=f"such as {example}"
        )
    parser.add_argument("--padding", type=padding, help="such as 1 or 1:2,0:1 or SAME")
    parser.add_argument("--groups", type=int, metavar="INT", help="such as 4")
    layout = parser.add_mutually_exclusive_group()
    layout.add_argument("--data-format", metavar="LETTERS", help="such as NHWC")
    layout.add_argument(
        "--dimension-numbers",
        type=names,
        metavar="LETTERS,LETTERS,LETTERS",
        help="of input, weight and output, such as NHWC,HWIO,NHWC",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")


# What is written on the command line -> the value. argparse names these in its errors:
# "argument --stride: invalid ints value: 'two'".


def shape(text: str) -> tuple[int, ...]:
    """``1,64,16`` -> (1, 64, 16)."""
    return tuple(int(number) for number in text.split(","))


def ints(text: str) -> int | tuple[int, ...]:
    """``2`` -> 2 and ``2,1`` -> (2, 1)."""
    return shape(text) if "," in text else int(text)


def names(text: str) -> tuple[str, ...]:
    """``NHWC,HWIO,NHWC`` -> ("NHWC", "HWIO", "NHWC")."""
    return tuple(text.split(","))


def padding(text: str) -> str | int | tuple[int | tuple[int, ...], ...]:
    """``SAME``, or ints of which each may be a pair: ``1:2,3`` -> ((1, 2), 3)."""
    if text.replace("_", "").isalpha():
        return text
    if ":" not in text:
        return ints(text)
    return tuple(ints(item.replace(":", ",")) for item in text.split(","))


def _shape(options: argparse.Namespace) -> int:
    result = jconvt.output_shape(*_shapes(options), **_keywords(options))
    if options.json:
        print(json.dumps({"output_shape": result}))
    else:
        print(",".join(map(str, result)))
    return 0


def _explain(options: argparse.Namespace) -> int:
    keywords = _keywords(options, "dtype", "platform", "lowering")
    explanation = jconvt.explain(*_shapes(options), **keywords)
    if options.json:
        print(json.dumps(dataclasses.asdict(explanation), indent=2))
    else:
        print(explanation)
    return 0


def _shapes(options: argparse.Namespace) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return options.input_shape, options.weight_shape


def _keywords(options: argparse.Namespace, *more: str) -> dict[str, Any]:
    """The options that were given, as keyword arguments."""
    values = {name: getattr(options, name) for name in (*KEYWORDS, *more)}
    return {name: value for name, value in values.items() if value is not None}


if __name__ == "__main__":
    sys.exit(main())
