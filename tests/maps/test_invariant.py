"""A loop over pieces computes before it what is the same for all of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconvt._maps.invariant import loop


def plain_loop(count, body, start):
    return lax.fori_loop(0, count, body, start)


def inside_and_outside(made, *operands):
    """The primitives in the loop of a program, and those around it."""
    jaxpr = jax.make_jaxpr(made)(*operands).jaxpr
    (turns,) = (e for e in jaxpr.eqns if e.primitive.name in ("while", "scan"))
    key = "body_jaxpr" if "body_jaxpr" in turns.params else "jaxpr"
    inside = {e.primitive.name for e in turns.params[key].jaxpr.eqns}
    return inside, {e.primitive.name for e in jaxpr.eqns}


def turns(loop, w, x):
    def body(i, total):
        kernel = jnp.sin(w).T
        return total + lax.dynamic_index_in_dim(x, i, keepdims=False) @ kernel

    return loop(3, body, jnp.zeros((4, 5)))


def arrays():
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(5, 2))), jnp.asarray(rng.normal(size=(3, 4, 2)))


def test_what_the_turn_does_not_change_is_before_the_loop():
    w, x = arrays()
    inside, outside = inside_and_outside(lambda w, x: turns(loop, w, x), w, x)
    assert not {"sin", "transpose"} & inside
    assert {"sin", "transpose"} <= outside
    assert "dot_general" in inside


def test_it_is_inside_by_default():
    """Canary of the test before."""
    w, x = arrays()
    inside, _ = inside_and_outside(lambda w, x: turns(plain_loop, w, x), w, x)
    assert {"sin", "transpose"} <= inside


def test_values_are_those_of_fori_loop():
    w, x = arrays()
    np.testing.assert_array_equal(turns(loop, w, x), turns(plain_loop, w, x))
    made = jax.jit(lambda w, x: turns(loop, w, x))(w, x)
    np.testing.assert_allclose(made, turns(plain_loop, w, x), rtol=1e-6)


def test_an_invariant_result_that_is_used_twice():
    w, _ = arrays()

    def body(i, total):
        half = w / 2
        return total * half + half

    found = loop(4, body, jnp.ones_like(w))
    np.testing.assert_array_equal(found, plain_loop(4, body, jnp.ones_like(w)))


def test_a_result_that_is_invariant_itself():
    w, _ = arrays()
    found = loop(2, lambda i, total: jnp.sin(w), w)
    np.testing.assert_allclose(found, jnp.sin(w), rtol=1e-6)


def test_what_reads_no_array_stays_inside():
    """XLA makes zeros part of what reads them; before a loop they would be an array."""

    def made(start):
        return loop(2, lambda i, total: total + jnp.zeros(3), start)

    inside, outside = inside_and_outside(made, jnp.ones(3))
    assert "broadcast_in_dim" in inside
    assert "broadcast_in_dim" not in outside
