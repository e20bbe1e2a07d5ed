"""The bilinear map for arrays whose types say over which devices they vary.

`jax.shard_map` puts that into an array's type, and the primitives of
`jconvt._maps.primitive` have no rules for it. Here is ordinary JAX code, which has
JAX's.

The map ``f(x, w)`` is linear in each operand, so its derivative in the direction
(dx, dw) is ``f(dx, w) + f(x, dw)``. `jax.custom_jvp` lets these two terms be *other
formulations of the same f*: forward mode runs them as they are, and reverse mode
transposes the first in dx, which makes the input gradient, and the second in dw, which
makes the weight gradient. Each is chosen for the sake of that transpose; none of them
runs forward in reverse mode. (`jax.custom_vjp` would give up forward mode.) The terms
are plain JAX code, so every higher derivative follows.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jconvt._call.call import Plan
from jconvt._call.problem import Slot
from jconvt._maps.make import formulate


def bilinear(x: jax.Array, w: jax.Array, plan: Plan) -> jax.Array:
    """As `jconvt._maps.bilinear.bilinear`."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return formulate(Slot.FORWARD, x, w, plan)
    return _differentiable(x, w, plan)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _differentiable(x: jax.Array, w: jax.Array, plan: Plan) -> jax.Array:
    return formulate(Slot.FORWARD, x, w, plan)


@partial(_differentiable.defjvp, symbolic_zeros=True)
def _jvp(
    plan: Plan,
    primals: tuple[jax.Array, jax.Array],
    tangents: tuple[jax.Array | SymbolicZero, jax.Array | SymbolicZero],
) -> tuple[jax.Array, jax.Array]:
    (x, w), (dx, dw) = primals, tangents
    y = _differentiable(x, w, plan)
    terms: list[jax.Array] = []
    if not isinstance(dx, SymbolicZero):
        terms.append(_term(Slot.INPUT_GRADIENT, dx, w, plan))
    if not isinstance(dw, SymbolicZero):
        terms.append(_term(Slot.WEIGHT_GRADIENT, x, dw, plan))
    return y, sum(terms[1:], start=terms[0]) if terms else jnp.zeros_like(y)


def _term(slot: Slot, x: jax.Array, w: jax.Array, plan: Plan) -> jax.Array:
    """A term of the derivative that leaves x and w alone as residuals.

    Reverse mode would otherwise prepare the known operand (flipped, transposed, padded)
    in the forward pass and keep that. `jax.checkpoint` puts the preparation into the
    backward pass; no barrier is needed, since nothing else computes the same.
    """
    x, w = x.astype(plan.numerics.result), w.astype(plan.numerics.result)
    return jax.checkpoint(partial(formulate, slot, plan=plan), prevent_cse=False)(x, w)
