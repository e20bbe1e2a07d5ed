"""Times of a step of a stream over its share of one call for the whole signal."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jconvt
import jconvt.streaming
from benchmarks import charts
from benchmarks.options import Options
from benchmarks.progress import track
from benchmarks.report import Result, grid, milliseconds
from jconvt._shell.timing import Run, race

PROMISED, PROMISED_FROM = 1.3, 32
"""The most that a step may take of its share, and from how many elements on."""

EARLY, LATE = 16, 4096
"""Chunks that an early step has heard at most, and a late one at least."""


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """A layer, and a signal whose first spatial axis is streamed.

    Attributes:
      space: input sizes of the other spatial axes.
      elements: the length of the whole signal.
      source: the model that has this layer.
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int | str, ...]
    groups: int = 1
    space: tuple[int, ...] = ()
    elements: int = 4096
    source: str

    @property
    def chunks(self) -> list[int]:
        """The lengths of chunks: powers of two, up to a quarter of the signal."""
        return [2**n for n in range((self.elements // 4).bit_length())]

    @property
    def usual(self) -> int:
        """The length of a chunk in a long stream: of sound 32 elements, or a frame."""
        return self.elements // 128

    @property
    def options(self) -> dict[str, Any]:
        """The options of `jconvt.conv_transpose` and of `jconvt.streaming`."""
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}

    def arrays(self) -> list[jax.Array]:
        """Input, weight and bias: normal float32, the same every time."""
        rng = np.random.default_rng(0)
        shapes = [
            (1, self.in_channels, self.elements, *self.space),
            (self.in_channels, self.out_channels // self.groups, *self.kernel_size),
            (self.out_channels,),
        ]
        return [jnp.asarray(rng.standard_normal(s, np.float32)) for s in shapes]


LAYERS = {
    "encodec-1": Streamed(
        in_channels=512,
        out_channels=256,
        kernel_size=(16,),
        stride=(8,),
        padding=("CAUSAL",),
        source="facebookresearch/encodec modules/seanet.py",
    ),
    "hifigan-3": Streamed(
        in_channels=128,
        out_channels=64,
        kernel_size=(4,),
        stride=(2,),
        padding=(1,),
        source="jik876/hifi-gan models.py",
    ),
    "mimi-up": Streamed(
        in_channels=512,
        out_channels=512,
        kernel_size=(4,),
        stride=(2,),
        padding=("CAUSAL",),
        groups=512,
        source="kyutai-labs/moshi modules/resample.py",
    ),
    "videogpt-up": Streamed(
        in_channels=240,
        out_channels=240,
        kernel_size=(4, 4, 4),
        stride=(2, 2, 2),
        padding=("CAUSAL", "SAME", "SAME"),
        space=(8, 8),
        elements=128,
        source="wilson1yan/VideoGPT vqvae.py, made causal in time",
    ),
}

Times = Mapping[str, Mapping[str, float]]
"""Layer -> "whole", a chunk's length, or another run of `_runs` -> seconds."""


def results(options: Options) -> Iterator[Result]:
    """One table and its chart."""
    layers = {name: layer for name, layer in LAYERS.items() if options.wants(name)}
    seconds = 10.0 if options.seconds is None else options.seconds
    times = {
        name: race(_runs(layer), seconds=seconds, rounds=options.rounds)
        for name, layer in track("streaming", layers)
    }
    yield as_result(times, layers)


def _runs(layer: Streamed) -> dict[str, Run]:
    x, w, b = layer.arrays()
    whole = jax.jit(partial(jconvt.conv_transpose, **layer.options))
    step = jax.jit(partial(jconvt.streaming.step, **layer.options))
    begin = jconvt.streaming.init(w.shape, batch=1, space=layer.space, **layer.options)

    def steps(length: int, most: int | None = None) -> Run:
        return stepping(step, begin, (x[:, :, :length], w, b), most)

    alone = x[:, :, : layer.usual]
    runs: dict[str, Run] = {
        "whole": lambda: jax.block_until_ready(whole(x, w, b)),
        **{str(length): steps(length) for length in layer.chunks},
        "alone": lambda: jax.block_until_ready(whole(alone, w, b)),
        "early": steps(layer.usual, EARLY),
        "late": steps(layer.usual),
        "scanned": scanning(step, begin, (x, w, b), layer.usual),
    }
    for run in runs.values():
        run()
    for _ in range(LATE):
        runs["late"]()
    return runs


def stepping(
    step: Callable[..., tuple[Any, Any]],
    begin: Any,
    operands: tuple[Any, ...],
    most: int | None = None,
) -> Run:
    """Takes a step from the state of the last run; after `most` steps from the first.

    None: the signal never ends.
    """
    state, heard = begin, 0

    def run() -> object:
        nonlocal state, heard
        if heard == most:
            state, heard = begin, 0
        state, y = step(state, *operands)
        heard += 1
        return jax.block_until_ready((state, y))

    return run


def scanning(
    step: Callable[..., tuple[Any, Any]],
    begin: Any,
    operands: tuple[jax.Array, ...],
    length: int,
) -> Run:
    """The whole signal in steps of one program: no step is a call of its own."""
    x, *others = operands
    number = x.shape[2] // length
    chunks = jnp.moveaxis(x.reshape(*x.shape[:2], number, length, *x.shape[3:]), 2, 0)
    scan = jax.jit(
        lambda chunks, *others: lax.scan(
            lambda state, chunk: step(state, chunk, *others), begin, chunks
        )
    )
    return lambda: jax.block_until_ready(scan(chunks, *others))


def shares(found: Mapping[str, float], layer: Streamed) -> dict[int, float]:
    """Length of a chunk -> the time of a step over its share of the whole call."""
    an_element = found["whole"] / layer.elements
    return {
        length: found[str(length)] / (length * an_element) for length in layer.chunks
    }


def as_result(times: Times, layers: Mapping[str, Streamed]) -> Result:
    """The ratios by length of a chunk, and those of late steps over early ones."""
    over = {name: shares(found, layers[name]) for name, found in times.items()}
    worst = max(
        ratio
        for ratios in over.values()
        for length, ratio in ratios.items()
        if length >= PROMISED_FROM
    )
    title = "Steps of a stream over their share of the whole call"
    tables = [
        grid(
            "layer, and elements of a chunk",
            {
                name: {str(length): ratio for length, ratio in ratios.items()}
                for name, ratios in over.items()
            },
            {"whole (ms)": _column(times, "whole")},
        ),
        grid(
            "layer",
            {
                name: {
                    "late over early": found["late"] / found["early"],
                    "in a scan, over the whole": found["scanned"] / found["whole"],
                }
                for name, found in times.items()
            },
            {
                "elements of a chunk": {n: str(layers[n].usual) for n in times},
                "alone (ms)": _column(times, "alone"),
                "early (ms)": _column(times, "early"),
                "late (ms)": _column(times, "late"),
            },
            summaries=False,
        ),
    ]
    return Result(
        name="streaming",
        title=title,
        note="A step is `jconvt.streaming.step` under `jax.jit`, from the state that "
        "the step before has left. Its time is divided by that of one call for the "
        "whole signal times the chunk's part of it; what a short chunk takes beyond 1 "
        "is mostly the call, and reading the weight again. From "
        f"{PROMISED_FROM} elements on a step should take at most {PROMISED} times its "
        f"share, unless a call takes longer than its work; here it takes at most "
        f"{worst:.2f} times. The second table compares "
        f"steps that have heard at most {EARLY} chunks with steps that have heard "
        f"{LATE} or more; alone is a call for one chunk without a state, the least "
        "that a step can take. In a scan all steps are one program, and no step is a "
        "call. float32, batch 1, with a bias; signals of "
        + ", ".join(
            f"{layer.elements} elements ({name})" for name, layer in layers.items()
        )
        + ".",
        table="\n\n".join(tables),
        data={
            "worst": worst,
            "seconds": times,
            "sources": {name: layer.source for name, layer in layers.items()},
        },
        chart=lambda path: charts.lines(
            path,
            {
                "elements of a chunk": {
                    name: ([*ratios], [*ratios.values()])
                    for name, ratios in over.items()
                }
            },
            title,
            "time over the share",
        ),
    )


def _column(times: Times, name: str) -> dict[str, str]:
    return {layer: milliseconds(found[name]) for layer, found in times.items()}


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["--streaming", *sys.argv[1:]])
