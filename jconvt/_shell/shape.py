"""`python -m jconvt shape`: the output's shape, and the numbers of the geometry."""

import argparse
from typing import Any

from jconvt._call.call import Call
from jconvt._shapes import call_of_shapes
from jconvt._shell.command import Command
from jconvt._shell.operation import (
    add_operation,
    axis_names,
    ints,
    keywords_of,
    shapes_of,
)
from jconvt._shell.tables import Table, show, show_json
from jconvt._shell.wanted import Way, ways_to

TEXT = """
The shape of the output, and the numbers behind it, axis by axis. Input element i adds
weight[t]*input[i] at position i*stride + t*dilation of the full output; from that the
crop is removed.

With --want it answers the inverse question: which options give an output of that size.
"""

EXAMPLES = (
    (
        "twice the size, as in a DCGAN",
        "1,64,16,16 64,32,4,4 --stride 2 --padding 1",
    ),
    (
        "which options take 7x7 to 14x14 with a kernel of 3?",
        "1,64,7,7 64,32,3,3 --stride 2 --want 14",
    ),
    (
        "channels last, a pair for each axis; after an = where it begins with a minus",
        "1,16,16,64 64,32,3,3 --padding=-1:2,0:1 --data-format NHWC",
    ),
    (
        "for a program",
        "1,512,50 512,256,16 --stride 8 --padding SAME --json",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares a layer, and the wanted size."""
    add_operation(parser)
    parser.add_argument(
        "--want",
        type=ints,
        metavar="INTS",
        help="say which options give an output of this size, such as 32 or 32,64",
    )


def run(options: argparse.Namespace) -> int:
    """Answers one of the two questions."""
    if options.want is not None:
        return _show_ways(options)
    shapes, keywords = shapes_of(options), keywords_of(options)
    call, given, weight = call_of_shapes("output_shape", *shapes, **keywords)
    output = call.output_shape(given, weight)
    axes = _axes(axis_names(options), call, given)
    if options.json:
        show_json({"output_shape": output, "axes": axes})
        return 0
    tables = [_table(axes)] if axes else []
    show(",".join(map(str, output)), *tables, *_notes(axes))
    return 0


def _axes(
    names: tuple[str, ...], call: Call, input_shape: tuple[int, ...]
) -> list[dict[str, Any]]:
    sizes = call.layout.spatial(input_shape, call.batched)
    return [
        {
            "axis": name,
            "input": n,
            "kernel_size": axis.kernel_size,
            "stride": axis.stride,
            "dilation": axis.dilation,
            "extent": axis.extent,
            "wrap": wrap,
            "full": axis.output_size(n + sum(wrap)) + axis.low + axis.high,
            "crop": (axis.low, axis.high),
            "output": axis.output_size(n + sum(wrap)),
            "lax_padding": (axis.extent - 1 - axis.low, axis.extent - 1 - axis.high),
            "taps": [phase.taps for phase in axis.phases()],
        }
        for name, n, axis, wrap in zip(
            names, sizes, call.geometry.axes, call.wrap, strict=True
        )
    ]


_ROWS = (
    ("input", "input", "elements of the input"),
    ("wrap", "wrap", "elements continued periodically before:after it"),
    ("kernel", "kernel_size", "taps"),
    ("stride", "stride", "output elements between input elements"),
    ("dilation", "dilation", "output elements between taps"),
    ("extent", "extent", "from the first tap to the last: dilation*(kernel - 1) + 1"),
    ("full", "full", "before the crop: (input - 1)*stride + extent"),
    ("crop", "crop", "elements removed at low:high, appended where negative"),
    ("output", "output", "full - low - high"),
    ("lax", "lax_padding", "the same crop as lax and Flax write it: extent - 1 - crop"),
    ("taps", "taps", "input elements that reach an output, away from the border"),
)
"""The number, its name in the JSON, and what it is."""


def _table(axes: list[dict[str, Any]]) -> Table:
    rows = tuple(
        (number, *(_cell(axis[name]) for axis in axes), meaning)
        for number, name, meaning in _ROWS
        if name != "wrap" or any(map(any, (axis[name] for axis in axes)))
    )
    names = (axis["axis"] for axis in axes)
    return Table(("axis", *names, "meaning"), rows, frozenset({"axis", "meaning"}))


def _cell(value: str | int | list[int] | tuple[int, int]) -> str:
    if isinstance(value, tuple):
        return f"{value[0]}:{value[1]}"
    if isinstance(value, list):
        low, high = min(value), max(value)
        return str(low) if low == high else f"{low}-{high}"
    return str(value)


def _notes(axes: list[dict[str, Any]]) -> list[str]:
    uneven = [axis["axis"] for axis in axes if len(set(axis["taps"])) > 1]
    empty = [axis["axis"] for axis in axes if 0 in axis["taps"]]
    notes = []
    if uneven:
        notes.append(
            f"Along {', '.join(uneven)} some outputs have more taps than others: a "
            "checkerboard, unless the weights learn against it. A kernel that is a "
            "multiple of the stride has none."
        )
    if empty:
        notes.append(f"Along {', '.join(empty)} some outputs have no tap: bias alone.")
    return notes


def _show_ways(options: argparse.Namespace) -> int:
    shapes, keywords = shapes_of(options), keywords_of(options)
    wanted, ways = ways_to(options.want, *shapes, keywords)
    if options.json:
        show_json({"output_size": wanted, "ways": [way.options for way in ways]})
        return 0
    headings = ("options", "for")
    show(
        f"an output of {','.join(map(str, wanted))} is given by",
        Table(headings, tuple(map(_told, ways)), frozenset(headings)),
        *(() if ways[0].is_symmetric else (UNREACHABLE,)),
    )
    return 0


UNREACHABLE = (
    "PyTorch's options cannot: they give full - 2*padding + output_padding, with an "
    "output_padding smaller than stride or dilation."
)


def _told(way: Way) -> tuple[str, str]:
    return ", ".join(f"{n}={v!r}" for n, v in way.options.items()), way.where


COMMAND = Command(
    name="shape",
    summary="the shape of the output and its geometry, or which options give a shape",
    text=TEXT,
    examples=EXAMPLES,
    add_arguments=add_arguments,
    run=run,
)
