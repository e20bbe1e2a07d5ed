"""A loop that computes once what is the same in every turn.

XLA:CPU does not move code out of loops, so a layer that is computed in pieces would
prepare its kernels anew for each piece.
"""

import itertools
from collections.abc import Callable

import jax
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Var, jaxpr_as_fun


def loop(
    count: int, body: Callable[[jax.Array, jax.Array], jax.Array], start: jax.Array
) -> jax.Array:
    """`lax.fori_loop` from 0 to `count`, with its invariant equations before it.

    The body gets the number of the turn, an int32, and the result so far. Its invariant
    equations read arrays from around the loop and nothing of the turn. Equations that
    read nothing, such as zeros, stay inside: XLA makes them part of what reads them.
    """
    closed = jax.make_jaxpr(body)(np.int32(0), start)
    jaxpr = closed.jaxpr
    fixed = set(jaxpr.constvars)
    before, inside = [], []
    for equation in jaxpr.eqns:
        read = [v for v in equation.invars if isinstance(v, Var)]
        if read and fixed.issuperset(read):
            fixed.update(equation.outvars)
            before.append(equation)
        else:
            inside.append(equation)
    used = [*jaxpr.outvars, *itertools.chain(*(e.invars for e in inside))]
    needed = {v for v in used if isinstance(v, Var)}
    kept = [v for e in before for v in e.outvars if v in needed]
    prepare = jaxpr.replace(
        constvars=[], invars=jaxpr.constvars, outvars=kept, eqns=before
    )
    prepared = jaxpr_as_fun(ClosedJaxpr(prepare, []))(*closed.consts)
    rest = jaxpr.replace(constvars=[*jaxpr.constvars, *kept], eqns=inside)
    turn = jaxpr_as_fun(ClosedJaxpr(rest, [*closed.consts, *prepared]))

    def run(i: jax.Array, total: jax.Array) -> jax.Array:
        # JAX counts in 64 bits where these are enabled.
        return turn(lax.convert_element_type(i, np.int32), total)[0]

    return lax.fori_loop(0, count, run, start)
