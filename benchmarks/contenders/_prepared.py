"""What every contender makes of a layer: a run to be timed, and its result to check."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.layers import Layer
from jconvt._shell.timing import Run


class Unsupported(Exception):
    """The contender cannot express this layer, in this dtype or in training."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A layer that is ready to be timed.

    Attributes:
      run: the output, or in training the output and all gradients.
      result: the output, or in training the gradient of the input, channels first in
        float64, to be compared with other contenders'.
    """

    run: Run
    result: Callable[[], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Form:
    """A layer as a JAX function of (input, weight, bias), and arrays in its layouts."""

    forward: Callable[..., jax.Array]
    operands: tuple[jax.Array, ...]
    cotangent: jax.Array
    channels_last: bool = False

    def task(self, train: bool) -> tuple[Callable[..., Any], tuple[jax.Array, ...]]:
        """A function to compile, and its arguments."""
        if not train:
            return self.forward, self.operands

        def forward_and_gradients(cotangent: jax.Array, *operands: jax.Array) -> Any:
            y, vjp = jax.vjp(self.forward, *operands)
            return y, vjp(cotangent)

        return forward_and_gradients, (self.cotangent, *self.operands)

    def prepared(self, train: bool, calls: int = 1) -> Prepared:
        """The task, compiled on its first run; a run queues `calls` and awaits them."""
        function, arguments = self.task(train)
        compiled = jax.jit(function)

        def run() -> Any:
            for _ in range(calls - 1):
                compiled(*arguments)
            return jax.block_until_ready(compiled(*arguments))

        def result() -> np.ndarray:
            found = compiled(*arguments)
            array = np.asarray(found[1][0] if train else found, np.float64)
            return np.moveaxis(array, -1, 1) if self.channels_last else array

        return Prepared(run=run, result=result)


def jax_arrays(layer: Layer, dtype: str, *, last: bool = False) -> list[jax.Array]:
    """Input, weight, bias and cotangent; integers are the floats without a fraction."""
    arrays = layer.arrays()
    if last:
        for name in ("input", "cotangent"):
            arrays[name] = np.moveaxis(arrays[name], 1, -1)
    names = ("input", "weight", "bias", "cotangent")
    return [jnp.asarray(arrays[name], dtype) for name in names]
