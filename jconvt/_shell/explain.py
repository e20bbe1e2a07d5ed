"""`python -m jconvt explain`: what will run for each of the three maps, and why."""

import argparse
import dataclasses
from collections.abc import Iterator

import jconvt
from jconvt._shell.command import Command
from jconvt._shell.operation import (
    add_lowering,
    add_operation,
    keywords_of,
    shapes_of,
)
from jconvt._shell.tables import Table, show, show_json

TEXT = """
What jconvt runs for a layer, and why: the output, the input gradient and the weight
gradient are three maps, and each has its own lowering. Nothing is computed or compiled.

A table for each map has the chosen lowering first (->) and then the others:

  work    multiply-adds, divided by the useful ones: at 4, three of four are wasted
  moved   MiB read and written; an array counts each time that it is read or written
  ms      on a CPU, the estimate behind the choice, for two cores: good to compare
          lowerings; `bench` measures times
"""

EXAMPLES = (
    (
        "on a CPU",
        "1,64,16,16 64,32,4,4 --stride 2 --padding 1 --platform cpu",
    ),
    (
        "on a TPU in bfloat16, without having one",
        "16,128,16,16 128,64,4,4 --stride 2 --platform tpu --dtype bfloat16",
    ),
    (
        "for a program",
        "8,256,32 256,128,16 --stride 8 --padding SAME --platform cuda --json",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares a layer, and what the choice depends on besides."""
    add_operation(parser)
    parser.add_argument("--dtype", default="float32", help="such as bfloat16")
    parser.add_argument(
        "--platform", help="cpu, cuda, rocm or tpu; without it, JAX's default here"
    )
    add_lowering(parser, "in place of auto", default="auto")


def run(options: argparse.Namespace) -> int:
    """Prints the explanation."""
    explanation = jconvt.explain(
        *shapes_of(options),
        **keywords_of(options),
        dtype=options.dtype,
        platform=options.platform,
        lowering=options.lowering,
    )
    if options.json:
        show_json(dataclasses.asdict(explanation))
        return 0
    work = explanation.useful_multiply_adds
    show(
        f"{explanation.input_shape} with weight {explanation.weight_shape} -> "
        f"{explanation.output_shape}, {explanation.dtype} on {explanation.platform}\n"
        f"useful multiply-adds of each map: {work:,}\n"
        f"chosen by: {explanation.reason}",
        *_maps(explanation),
        *_refusals(explanation),
    )
    return 0


def _maps(explanation: jconvt.Explanation) -> Iterator[Table]:
    useful = max(explanation.useful_multiply_adds or 0, 1)
    timed = explanation.platform == "cpu"
    slots = dict.fromkeys(
        e.slot for candidate in explanation.candidates for e in candidate.estimates
    )
    for slot in slots:
        found = [
            (candidate.lowering, estimate)
            for candidate in explanation.candidates
            for estimate in candidate.estimates
            if estimate.slot == slot
        ]
        found.sort(key=lambda pair: (not pair[1].picked, pair[1].milliseconds or 0))
        yield Table(
            headings=(
                *("", slot, "work", "moved"),
                *(("ms",) if timed else ()),
                "how",
            ),
            rows=tuple(
                (
                    "->" if e.picked else "",
                    name,
                    f"{e.multiply_adds / useful:.2f}",
                    f"{e.bytes / 2**20:.2f}",
                    *((f"{e.milliseconds:.3f}",) if e.milliseconds is not None else ()),
                    "; ".join(filter(None, (e.variant, e.pieces))),
                )
                for name, e in found
            ),
            words=frozenset({"", slot, "how"}),
            picked=frozenset(i for i, (_, e) in enumerate(found) if e.picked),
        )


def _refusals(explanation: jconvt.Explanation) -> Iterator[Table]:
    refused = tuple(
        (c.lowering, c.refusal) for c in explanation.candidates if c.refusal is not None
    )
    if refused:
        headings = ("cannot serve", "because")
        yield Table(headings, refused, frozenset(headings))


COMMAND = Command(
    name="explain",
    summary="which lowering runs for the output and each gradient, and why",
    text=TEXT,
    examples=EXAMPLES,
    add_arguments=add_arguments,
    run=run,
)
