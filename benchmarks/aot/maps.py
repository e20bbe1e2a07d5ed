"""What is compiled of a layer: one map, or all of them as a step of training."""

from collections.abc import Callable
from typing import Any

import jax

Forward = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(input, weight, bias) -> output."""

Task = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], Any]
"""(cotangent, input, weight, bias) -> what is wanted; JAX drops what is not read."""


def _forward(f: Forward) -> Task:
    return lambda _, x, w, b: f(x, w, b)


def _input_gradient(f: Forward) -> Task:
    return lambda g, x, w, b: jax.vjp(lambda x: f(x, w, b), x)[1](g)[0]


def _weight_gradient(f: Forward) -> Task:
    return lambda g, x, w, b: jax.vjp(lambda w: f(x, w, b), w)[1](g)[0]


def _training(f: Forward) -> Task:
    def step(g: jax.Array, *operands: jax.Array) -> Any:
        y, vjp = jax.vjp(f, *operands)
        return y, vjp(g)

    return step


MAPS: dict[str, Callable[[Forward], Task]] = {
    "forward": _forward,
    "input-gradient": _input_gradient,
    "weight-gradient": _weight_gradient,
    "training": _training,
}
"""Name -> from the layer's function to that of the map."""

TITLES = {
    "forward": "Forward",
    "input-gradient": "Input gradient",
    "weight-gradient": "Weight gradient",
    "training": "Training step: output and all gradients",
}
