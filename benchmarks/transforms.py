"""Times of jconvt under JAX's transformations, over the same work without them."""

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
from jconvt._shell.timing import Run, race

ROWS = ("dcgan-up", "unet-up", "centernet-depthwise", "hifigan-3", "nnunet-3d")
COPIES = 4

Function = Callable[..., Any]

OF: dict[str, str] = {
    "scan": "calls",
    "vmap": "calls",
    "vmap, weights too": "calls with weights",
    "grad of vmap": "gradients",
    "checkpoint": "gradient and call",
}
"""Transformation -> the program that does the same work without it."""


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
        row: {name: found[name] / found[plain] for name, plain in OF.items()}
        for row, found in times.items()
    }
    lead = {
        f"{name} (ms)": {row: milliseconds(t[name]) for row, t in times.items()}
        for name in ("calls", "gradients")
    }
    yield Result(
        name="transforms",
        title="Transformations over the same work without them",
        note=f"Each over one program of the same operands and results without the "
        f"transformation: {COPIES} calls written out and stacked, for `scan` "
        f"and `vmap` over {COPIES} inputs and for `vmap` over {COPIES} pairs of input "
        f"and weight; {COPIES} gradients written out for the gradient of a `vmap`; a "
        "gradient, then a call, for the gradient under `jax.checkpoint`. A gradient is "
        "the value and all gradients of half the sum of squares.",
        table=grid("layer", over, lead),
        data={"seconds": times},
    )


def _runs(layer: Layer) -> dict[str, Run]:
    form = jconvt_first(layer, "float32")
    forward, (x, w, b) = form.forward, form.operands
    xs, ws = (jnp.stack([array] * COPIES) for array in (x, w))

    def scanned(xs: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        return lax.scan(lambda none, x: (none, forward(x, w, b)), None, xs)[1]

    def calls(xs: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.stack([forward(x, w, b) for x in xs])

    def calls_with_weights(xs: jax.Array, ws: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.stack([forward(x, w, b) for x, w in zip(xs, ws, strict=True)])

    def gradients(xs: jax.Array, w: jax.Array, b: jax.Array) -> Any:
        made = [one(x, w, b) for x in xs]
        value, dw, db = (
            sum(parts)
            for parts in zip(*((v, g[1], g[2]) for v, g in made), strict=True)
        )
        return value, (jnp.stack([g[0] for _, g in made]), dw, db)

    def gradient_and_call(x: jax.Array, w: jax.Array, b: jax.Array) -> Any:
        # The barrier keeps XLA from using the gradient's output for the call's.
        made = one(x, w, b)
        made, x = lax.optimization_barrier((made, x))
        return made, _loss(forward)(x, w, b)

    one = _gradients(_loss(forward))
    over_inputs = jax.vmap(forward, in_axes=(0, None, None))
    over_pairs = jax.vmap(forward, in_axes=(0, 0, None))
    tasks: dict[str, tuple[Function, tuple[jax.Array, ...]]] = {
        "calls": (calls, (xs, w, b)),
        "calls with weights": (calls_with_weights, (xs, ws, b)),
        "gradients": (gradients, (xs, w, b)),
        "gradient and call": (gradient_and_call, (x, w, b)),
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
