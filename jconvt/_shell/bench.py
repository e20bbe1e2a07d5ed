"""`python -m jconvt bench`: a race of one layer's formulations on this machine."""

import argparse
import dataclasses

from jconvt._call.lowerings import Lowerings
from jconvt._shell.command import Command
from jconvt._shell.operation import (
    add_lowering,
    add_operation,
    keywords_of,
    seconds,
    shapes_of,
)
from jconvt._shell.tables import Table, show, show_json

TEXT = """
A race of one layer on this machine: jconvt's automatic choice, every lowering that can
serve, and JAX's native form (one convolution of a zero-inflated input, differentiated
by JAX: what the layers of Flax, Haiku and Keras become). There is a race for each of
the three maps (output, input gradient, weight gradient), and one for the output with
all gradients, that of the bias too. All must compute the same before any is timed.

The last line names the fastest lowering of each map, to paste into a call. A map where
auto needs at most 5 % more time than the fastest stays with auto.

Let nothing else run meanwhile. Whole networks and other libraries are raced by
`make bench` in the repository.
"""

EXAMPLES = (
    (
        "a layer of a DCGAN, in a few seconds",
        "16,128,16,16 128,64,4,4 --stride 2 --padding 1",
    ),
    (
        "two contenders alone, for longer",
        "16,128,16,16 128,64,4,4 --stride 2 --contenders auto,native --seconds 5",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares a layer, and how to race."""
    add_operation(parser)
    parser.add_argument("--dtype", default="float32", help="such as bfloat16")
    parser.add_argument(
        "--contenders",
        metavar="NAMES",
        help="auto, native, or names of lowerings, with commas; without it, all",
    )
    add_lowering(parser, "one more contender")
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=1.0,
        metavar="S",
        help="that each race lasts at least, once compiled (default: %(default)g)",
    )


def run(options: argparse.Namespace) -> int:
    """Races and prints; status 1 where two contenders do not compute the same."""
    from jconvt._shell.race import Layer, race_layer

    layer = Layer.of(*shapes_of(options), keywords_of(options), options.dtype)
    names = None if options.contenders is None else options.contenders.split(",")
    found = race_layer(layer, names, options.seconds, options.lowering)
    if options.json:
        show_json(dataclasses.asdict(found))
    else:
        show(
            f"{found.layer}\n{found.machine}\n{found.method}",
            *(_table(what, times) for what, times in found.seconds.items()),
            *found.notes,
            f"lowering={Lowerings(**found.lowering)!r}",
        )
    return 1 if found.disagree else 0


def _table(what: str, times: dict[str, float]) -> Table:
    """Fastest first, each over the first of the contenders, which is auto."""
    base = next(iter(times), "")
    names = sorted(times, key=lambda name: times[name])
    return Table(
        headings=(what, "ms", f"/ {base}"),
        rows=tuple(
            (name, f"{1e3 * times[name]:.3f}", f"{times[name] / times[base]:.2f}")
            for name in names
        ),
        words=frozenset({what}),
        picked=frozenset({names.index(base)} if names else ()),
    )


COMMAND = Command(
    name="bench",
    summary="a race of one layer here: auto, each lowering, JAX's native form",
    text=TEXT,
    examples=EXAMPLES,
    add_arguments=add_arguments,
    run=run,
)
