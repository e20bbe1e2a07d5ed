"""`python -m jconvt tune`: the fastest formulation of each map of one layer."""

import argparse
from functools import partial
from pathlib import Path

from jconvt._shell.command import Command
from jconvt._shell.operation import add_operation, keywords_of, seconds, shapes_of
from jconvt._shell.tables import show, show_json

TEXT = """
Measures one layer on the default device: of each of the three maps (output, input
gradient, weight gradient) the automatic formulation and the others that keep the
promise about memory, with their variants and pieces. This is what `jconvt.tune` does
with each layer of a function; `bench` races the lowerings by name, also against JAX's
native form.

The last line names what is at least 3 % faster than automatic, to paste into a call.

Let nothing else run meanwhile.
"""

EXAMPLES = (
    (
        "a layer of a DCGAN, in ten seconds",
        "16,128,16,16 128,64,4,4 --stride 2 --padding 1 --seconds 10",
    ),
    (
        "kept in a file, for jconvt.TuneReport.load",
        "16,128,16,16 128,64,4,4 --stride 2 --padding 1 --out layer.json",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares a layer, how long to measure, and a file."""
    add_operation(parser)
    parser.add_argument("--dtype", default="float32", help="such as bfloat16")
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=60.0,
        metavar="S",
        help="to measure, about (default: %(default)g)",
    )
    parser.add_argument("--out", metavar="FILE", help="where to save the report")


def run(options: argparse.Namespace) -> int:
    """Measures and prints."""
    import jconvt
    from jconvt._shell.race import Layer
    from jconvt._tune.report import blocks_of

    layer = Layer.of(*shapes_of(options), keywords_of(options), options.dtype)
    if options.out is not None and not Path(options.out).resolve().parent.is_dir():
        raise ValueError(
            f"tune: `out` must be a file in a folder that exists; got {options.out!r}."
        )
    up = partial(jconvt.conv_transpose, **layer.options)
    x, w, *_ = layer.arrays()
    report = jconvt.tune(up, x, w, seconds=options.seconds).report
    if options.out is not None:
        report.save(options.out)
    if options.json:
        show_json(report.to_json())
    else:
        picked = [f"lowering={found!r}" for found in report.lowerings().values()]
        show(*blocks_of(report), *picked)
    return 0


COMMAND = Command(
    name="tune",
    summary="the fastest formulation of each map of one layer here",
    text=TEXT,
    examples=EXAMPLES,
    add_arguments=add_arguments,
    run=run,
)
