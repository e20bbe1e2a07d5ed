"""JAX's transformations of jconvt, over the same work without them."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contenders.jax_functions import jconvt_first
from benchmarks.layers import Layer, zoo
from benchmarks.options import Options
from benchmarks.progress import track
from benchmarks.report import Result, grid, milliseconds
from jconvt._timing import Run, race

ROWS = ("dcgan-up", "unet-up", "centernet-depthwise", "hifigan-3", "nnunet-3d")
COPIES = 4

Function = Callable[..., Any]

SAME_WORK: dict[str, Callable[[dict[str, float]], float]] = {
    "scan": lambda t: COPIES * t["forward"],
    "vmap": lambda t: COPIES * t["forward"],
    "vmap, weights too": lambda t: COPIES * t["forward"],
    "grad of vmap": lambda t: COPIES * t["grad"],
    "checkpoint": lambda t: t["forward"] + t["grad"],
}
"""Transformation -> seconds of the same work, from those of the single calls."""


def results(options: Options) -> Iterator[Result]:
    """One table."""
    rows = options.rows or ROWS
    layers = {layer.name: layer for layer in zoo() if layer.name in rows}
    seconds = 5.0 if options.seconds is None else options.seconds
    times = {
        name: race(_runs(layer), seconds=seconds)
        for name, layer in track("transforms", layers)
    }
    over = {
        row: {name: found[name] / same(found) for name, same in SAME_WORK.items()}
        for row, found in times.items()
    }
    lead = {
        f"{name} (ms)": {row: milliseconds(t[name]) for row, t in times.items()}
        for name in ("forward", "grad")
    }
    yield Result(
        name="transforms",
        title="Transformations over the same work without them",
        note=f"`scan` and `vmap` over {COPIES} inputs, and `vmap` over {COPIES} pairs "
        f"of input and weight: each over {COPIES} calls. The gradient of a `vmap` over "
        f"{COPIES} inputs: over {COPIES} gradients. The gradient under "
        '`jax.checkpoint`: over a gradient and a call. "grad" is the value and all '
        "gradients of half the sum of squares.",
        table=grid("layer", over, lead),
        data={"seconds": times},
    )


def _runs(layer: Layer) -> dict[str, Run]:
    form = jconvt_first(layer, "float32")
    forward, (x, w, b) = form.forward, form.operands
    xs, ws = (jnp.stack([array] * COPIES) for array in (x, w))

    def scanned(xs: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        return lax.scan(lambda none, x: (none, forward(x, w, b)), None, xs)[1]

    over_inputs = jax.vmap(forward, in_axes=(0, None, None))
    over_pairs = jax.vmap(forward, in_axes=(0, 0, None))
    tasks: dict[str, tuple[Function, tuple[jax.Array, ...]]] = {
        "forward": (forward, (x, w, b)),
        "grad": (_gradients(_loss(forward)), (x, w, b)),
        "scan": (scanned, (xs, w, b)),
        "vmap": (over_inputs, (xs, w, b)),
        "vmap, weights too": (over_pairs, (xs, ws, b)),
        "grad of vmap": (_gradients(_loss(over_inputs)), (xs, w, b)),
        # With the loss, whose gradient needs the output, which is computed anew.
        "checkpoint": (_gradients(jax.checkpoint(_loss(forward))), (x, w, b)),
    }
    return {name: _run(jax.jit(task), arrays) for name, (task, arrays) in tasks.items()}


def _loss(function: Function) -> Function:
    def loss(*operands: jax.Array) -> jax.Array:
        return 0.5 * (function(*operands) ** 2).sum()

    return loss


def _gradients(loss: Function) -> Function:
    return jax.value_and_grad(loss, argnums=(0, 1, 2))


def _run(compiled: Function, arrays: tuple[jax.Array, ...]) -> Run:
    def run() -> Any:
        return jax.block_until_ready(compiled(*arrays))

    run()
    return run
