"""A layer on the command line: its two shapes and its options, as the functions'."""

import argparse
import re
from collections.abc import Callable
from typing import Any

from jconvt._call.arguments import did_you_mean
from jconvt._call.layout import spatial_letters
from jconvt._call.lowerings import Lowerings, field_of
from jconvt._call.problem import Map

OPTIONS = (
    *("stride", "padding", "output_padding", "output_size", "groups", "dilation"),
    *("dimension_numbers", "data_format"),
)
"""The options of a layer, by the names of the functions."""

Shape = tuple[int, ...]
Pads = str | int | tuple[int | str | tuple[int, ...], ...]


def add_operation(parser: argparse.ArgumentParser) -> None:
    """Declares shapes, options and ``--json``."""
    parser.add_argument(
        "input_shape",
        type=_shape,
        metavar="INPUT",
        help="shape of the input, N,C_in,*space, such as 1,64,16,16",
    )
    parser.add_argument(
        "weight_shape",
        type=_shape,
        metavar="WEIGHT",
        help="shape of the weight, C_in,C_out/groups,*kernel, such as 64,32,4,4",
    )
    for name, default, help in (
        ("stride", 1, "output elements between input elements, such as 2 or 2,1"),
        ("dilation", 1, "output elements between taps, such as 2 or 2,1"),
        ("output-padding", 0, "output elements appended, such as 1 or 1,0"),
        ("output-size", None, "the output's spatial size, such as 32,32"),
    ):
        parser.add_argument(
            f"--{name}", type=ints, default=default, metavar="INTS", help=help
        )
    parser.add_argument(
        "--padding",
        type=_padding,
        default=0,
        metavar="PADDING",
        help="output elements cropped: 1 or 1,0, pairs such as 1:2,0:1, or SAME, VALID,"
        " SAME_LOWER, CAUSAL, CIRCULAR, CIRCULAR_LOWER; names of axes too: CAUSAL,SAME",
    )
    parser.add_argument(
        "--groups", type=int, default=1, metavar="INT", help="groups of channels"
    )
    layout = parser.add_mutually_exclusive_group()
    layout.add_argument(
        "--data-format", metavar="LETTERS", help="of input and output, such as NHWC"
    )
    layout.add_argument(
        "--dimension-numbers",
        type=_names,
        metavar="LETTERS",
        help="of input, weight and output, such as NHWC,HWIO,NHWC",
    )
    add_json(parser)


def add_lowering(parser: argparse.ArgumentParser, help: str, **more: Any) -> None:
    """Declares ``--lowering``; `help` begins with what it does."""
    parser.add_argument(
        "--lowering",
        type=lowering,
        metavar="NAMES",
        help=f"{help}: phases, or forward=gather,weight_gradient=role_swapped",
        **more,
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declares ``--json``."""
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def shapes_of(options: argparse.Namespace) -> tuple[Shape, Shape]:
    """Of input and weight."""
    return options.input_shape, options.weight_shape


def keywords_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options of a layer as keyword arguments."""
    return {name: getattr(options, name) for name in OPTIONS}


def axis_names(options: argparse.Namespace) -> tuple[str, ...]:
    """A name for each spatial axis: its letter, or its number."""
    rank = len(options.weight_shape) - 2
    if options.dimension_numbers is not None:
        return tuple(a for a in options.dimension_numbers[1] if a not in "IO")
    return tuple(spatial_letters(rank) if rank <= 3 else map(str, range(rank)))


# What is written -> the value.

_BETWEEN = re.compile(r"\s*[,x]\s*|\s+", re.IGNORECASE)
"""What may stand between two numbers: a comma, an x or a space."""


def _reader(kind: str, example: str) -> Callable[[Callable[[str], Any]], Any]:
    """A reader whose error says what it wants and what came.

    It reads what is left without the brackets around it.
    """

    def decorate(read: Callable[[str], Any]) -> Callable[[str], Any]:
        def reader(text: str) -> Any:
            try:
                return read(text.strip().strip("()[]").strip())
            except ValueError:
                raise argparse.ArgumentTypeError(
                    f"must be {kind}, such as {example}; got {text!r}"
                ) from None

        return reader

    return decorate


def _numbers(text: str) -> Shape:
    """``1,64,16``, ``1 64 16`` and ``1x64x16`` -> (1, 64, 16)."""
    return tuple(map(int, _BETWEEN.split(text.rstrip(", "))))


_shape = _reader("ints with commas between", "1,64,16,16")(_numbers)


@_reader("an int, or ints with commas between", "2 or 2,1")
def ints(text: str) -> int | Shape:
    """``2`` -> 2 and ``2,1`` -> (2, 1)."""
    return _numbers(text) if _BETWEEN.search(text) else int(text)


@_reader("ints, (low, high) pairs or a name", "1 or 1:2,0:1 or SAME")
def _padding(text: str) -> Pads:
    """``SAME``, or a name, an int or a pair of each axis: ``1:2,SAME``."""
    if text.replace("_", "").isalpha():
        return text
    items = tuple(map(_axis_padding, _BETWEEN.split(text)))
    return items[0] if len(items) == 1 and isinstance(items[0], int) else items


def _axis_padding(text: str) -> int | str | tuple[int, ...]:
    if text.replace("_", "").isalpha():
        return text
    numbers = tuple(map(int, text.split(":")))
    return numbers[0] if len(numbers) == 1 else numbers


def lowering(text: str) -> str | Lowerings:
    """``phases`` as it is, and ``forward=gather,weight_gradient=phases`` by maps."""
    if "=" not in text:
        return text
    known = [field_of(which) for which in Map]
    entries: dict[str, str] = {}
    # A comma in the name of a variant ends no entry.
    for part in re.split(r",(?=[^,]*=)", text):
        written, _, entry = part.partition("=")
        name = written.strip().replace("-", "_")
        if name not in known or name in entries:
            raise argparse.ArgumentTypeError(
                f"must be a name, or a name for each of {', '.join(known)}, such as "
                f"forward=gather,weight_gradient=role_swapped; got {text!r}."
                f"{did_you_mean(name, known) if name not in known else ''}"
            )
        entries[name] = entry.strip()
    return Lowerings(**entries)


def seconds(text: str) -> float:
    """A time of less than an hour."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 3600:
        raise argparse.ArgumentTypeError(
            f"must be seconds, more than 0 and less than an hour; got {text!r}"
        )
    return value


def _names(text: str) -> tuple[str, ...]:
    """``NHWC,HWIO,NHWC`` -> ("NHWC", "HWIO", "NHWC")."""
    return tuple(text.replace(",", " ").split())
