"""A fence is a call that XLA:CPU compiles by itself, and nothing else."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cases import Case
from formulations import one_map, variants_of
from jconvt._call.problem import Map
from jconvt._lowerings.fence import fenced
from jconvt._lowerings.work import Variant


def calls(function, *arrays):
    """Calls that are left in the compiled program."""
    text = jax.jit(function).lower(*arrays).compile().as_text()
    return len(re.findall(r" call\(", text))


def inner(x):
    return jnp.sin(x) * 2


def apart(x):
    return fenced(inner, x * 3) + 1


def together(x):
    return jax.jit(inner)(x * 3) + 1


def gradient(function):
    return jax.grad(lambda x: function(x).sum())


WAYS = {
    "plain": (lambda f: f, 1),
    "vmap": (jax.vmap, 1),
    "grad": (gradient, 2),  # forward for the cosine, and the transpose
    "grad_of_vmap": (lambda f: gradient(jax.vmap(f)), 2),
    "vmap_of_grad": (lambda f: jax.vmap(gradient(f)), 2),
    "linear_transpose": (
        lambda f: lambda x: jax.linear_transpose(jax.linearize(f, x)[1], x)(x)[0],
        2,
    ),
}
EACH_WAY = pytest.mark.parametrize(("way", "left"), WAYS.values(), ids=WAYS)
X = np.arange(12, dtype=np.float32).reshape(3, 4)


@EACH_WAY
def test_the_call_stays(way, left):
    assert calls(way(apart), X) == left


@EACH_WAY
def test_an_ordinary_call_does_not(way, left):
    """The canary: without the fence XLA inlines all of them."""
    assert calls(way(together), X) == 0


@EACH_WAY
@pytest.mark.parametrize("run", [jax.jit, lambda f: f], ids=["jit", "eager"])
def test_values_are_unchanged(way, left, run):
    np.testing.assert_allclose(run(way(apart))(X), way(together)(X), rtol=1e-6)


def test_several_arrays_and_results():
    def function(x, y):
        return {"sum": x + y, "product": [x * y]}

    for run in (jax.jit, lambda f: f):
        found = run(lambda x, y: fenced(function, x, y))(X, 2 * X)
        np.testing.assert_array_equal(found["sum"], 3 * X)
        np.testing.assert_array_equal(found["product"][0], 2 * X * X)


CASE = Case("k4_s2_p1", (5,), (4,), stride=2, padding=1)


@pytest.mark.parametrize(
    ("lowering", "variant", "in_output", "in_gradients"),
    [
        ("gather", "features first", 2, 3),
        ("gather", "features first, blocks early", 1, 2),
        ("gather", "features last", 5, 5),
        ("overlap_add", "features first", 0, 1),
        ("overlap_add", "features last", 3, 3),
    ],
)
def test_lowerings_are_fenced(lowering, variant, in_output, in_gradients):
    """With channels first. The patches of each class are made apart; so is the output
    where it is not the result, and where features move, which takes two calls more.
    """
    chosen = variants_of(lowering, CASE)[variant]
    for slot in Map:
        function, operands = one_map(slot, lowering, CASE, chosen)
        with jax.enable_x64(True):
            found = calls(function, *operands)
        assert found == (in_output if slot == Map.OUTPUT else in_gradients), slot


@pytest.mark.parametrize(
    ("kernel", "stride", "channels", "more"),
    [
        pytest.param((1, 12), (1, 2), 1, 0, id="six_terms"),
        pytest.param((1, 14), (1, 2), 1, 1, id="seven_terms"),
        pytest.param((14, 1), (2, 1), 1, 0, id="no_interleave_of_the_last_axis"),
        pytest.param((1, 16), (1, 1), 8, 0, id="128_terms"),
        pytest.param((1, 16), (1, 1), 9, 2, id="144_terms"),
        pytest.param((1, 32), (1, 2), 9, 5, id="144_terms_of_two_residues"),
    ],
)
def test_long_sums_of_an_output_are_made_apart(kernel, stride, channels, more):
    """Before the residues of the last axis are interleaved, in loops of 128 terms.

    The input is padded apart too, if there are several taps.
    """
    case = Case("", (4, 32), kernel, stride, 0, channels=(channels, 2))
    function, operands = one_map(Map.OUTPUT, "tap_sums", case, Variant(first=True))
    with jax.enable_x64(True):
        assert calls(function, *operands) == 1 + more
