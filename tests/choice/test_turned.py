"""At stride 1 an input gradient is computed as an output, of the turned kernel."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import oracles
from cases import Case
from formulations import LAYOUTS, call_for, expected, problem_for, whole
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Map
from jconvt._choice.choose import _cheapest, candidates, choose
from jconvt._choice.turned import _PLACES, is_turned, turned_problem
from jconvt._maps.make import _inside, make
from jconvt._maps.target import Target

DTYPE = np.dtype(np.float64)

ROWS = (
    Case("point", space=(), kernel=()),
    Case("plain", space=(6,), kernel=(3,)),
    Case("crops", space=(5, 4), kernel=(3, 2), padding=((2, 0), (0, 1))),
    Case("holes", space=(5,), kernel=(3,), padding=((-1, 4),)),
    Case("dilated", space=(6, 5), kernel=(3, 2), dilation=(2, 3), padding=2),
    Case("grouped", space=(4, 4), kernel=(3, 3), padding=1, groups=2, channels=(4, 6)),
    Case("depthwise", space=(7,), kernel=(4,), groups=3, channels=(3, 3)),
    Case("3-d", space=(3, 2, 4), kernel=(2, 3, 1), padding=((1, 0), (1, 1), (0, 0))),
)
STRIDED = Case("strided", space=(6,), kernel=(3,), stride=2)


def input_gradient(case, kind, platform):
    """As a program, and its operands."""
    x, w, g = whole(case, kind)

    def run(w, g):
        operands = {Map.WEIGHT: w, Map.OUTPUT: g}
        call = call_for(case, kind)
        return make(Map.INPUT, operands, call, x.shape, Target(platform))

    return run, (w, g)


@pytest.fixture(autouse=True)
def small_layers_too(monkeypatch):
    """As if turning a kernel took no time."""
    monkeypatch.setattr("jconvt._choice.turned._PLACES", 0)
    _cheapest.cache_clear()
    yield
    _cheapest.cache_clear()


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("case", ROWS, ids=str)
def test_the_gradient_is_that_of_the_definition(case, kind):
    with jax.enable_x64(True):
        run, operands = input_gradient(case, kind, "cpu")
        found = jax.jit(run)(*operands)
    _, wanted, _ = expected(case)
    spec = LAYOUTS[kind][case.rank][0]
    wanted = oracles.permute(wanted, LAYOUTS["first"][case.rank][0], spec)
    np.testing.assert_array_equal(found, wanted)


@pytest.fixture
def made(monkeypatch):
    """Grows by the map that is computed."""
    found = []

    def spy(role, *rest):
        found.append(role)
        return _inside(role, *rest)

    monkeypatch.setattr("jconvt._maps.make._inside", spy)
    return found


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
@pytest.mark.parametrize("case", [*ROWS, STRIDED], ids=str)
def test_an_output_is_made_at_stride_1_on_a_cpu(case, platform, made):
    with jax.enable_x64(True):
        run, operands = input_gradient(case, "first", platform)
        jax.eval_shape(run, *operands)
    turned = platform == "cpu" and case != STRIDED
    assert made == [Map.INPUT, *([Map.OUTPUT] if turned else [])]


@pytest.mark.parametrize(
    ("n", "lowering", "maps"),
    [
        ("6", "auto", [Map.INPUT, Map.OUTPUT]),
        ("6", "gather", [Map.INPUT]),
        ("n", "auto", [Map.INPUT]),
    ],
)
def test_neither_symbolic_sizes_nor_a_named_lowering_is_turned(n, lowering, maps, made):
    """They are not chosen for by their cost."""
    case = Case("plain", space=(6,), kernel=(3,))
    _, w, _ = whole(case)
    call = call_for(case, lowering=lowering)
    x = export.symbolic_shape(f"2, 2, {n}")
    operands = {
        Map.WEIGHT: jax.ShapeDtypeStruct(w.shape, DTYPE),
        Map.OUTPUT: jax.ShapeDtypeStruct((2, 3, x[2] + 2), DTYPE),
    }
    with jax.enable_x64(True):
        found = jax.eval_shape(
            lambda o: make(Map.INPUT, o, call, x, Target("cpu")), operands
        )
    assert found.shape == x
    assert made == maps


def test_it_is_chosen_for_the_type_of_the_operands(monkeypatch):
    """As `explain` chooses, and as maps that are not turned are chosen for."""
    asked = []

    def spy(which, platform, problem, **rest):
        found = choose(which, platform, problem, **rest)
        asked.append((which, problem.dtype, found.turned))
        return found

    monkeypatch.setattr("jconvt._maps.make.choose", spy)
    case = Case("plain", space=(6,), kernel=(3,))
    x, w, g = (jax.ShapeDtypeStruct(a.shape, np.float32) for a in whole(case))
    call = replace(
        call_for(case),
        operand=np.dtype(jnp.bfloat16),
        numerics=Numerics(None, np.dtype(np.float32)),
    )
    operands = {Map.WEIGHT: w, Map.OUTPUT: g}
    found = jax.eval_shape(
        lambda o: make(Map.INPUT, o, call, x.shape, Target("cpu")), operands
    )
    assert found.dtype == jnp.bfloat16
    assert asked == [(Map.INPUT, jnp.bfloat16, True)]


@pytest.mark.parametrize("case", [r for r in ROWS if r.name != "holes"], ids=str)
def test_turned_twice_is_as_before(case):
    problem = problem_for(case)
    assert is_turned(Map.INPUT, problem)
    turned = turned_problem(problem)
    assert turned.geometry.output_size(turned.size) == problem.size
    assert (turned.useful, turned.weights) == (problem.useful, problem.weights)
    assert turned_problem(turned) == problem
    for other in (Map.OUTPUT, Map.WEIGHT):
        assert not is_turned(other, problem)


def test_a_stride_is_not_turned():
    problem = problem_for(STRIDED)
    for slot in Map:
        assert not is_turned(slot, problem)


def test_the_choice_is_among_the_formulations_of_the_output():
    case = Case("image", space=(32, 32), kernel=(3, 3), padding=1, channels=(64, 16))
    problem = problem_for(case, dtype=np.float32)
    found = _cheapest(problem)
    turned = turned_problem(problem)
    of_output = {f._replace(turned=True) for f in candidates(Map.OUTPUT, turned)}
    assert set(candidates(Map.INPUT, problem)) == of_output
    assert found[Map.INPUT] in of_output


def test_a_kernel_is_turned_where_each_weight_serves_many_places(monkeypatch):
    """For a map of one pixel turning would take longer than the products."""
    monkeypatch.setattr("jconvt._choice.turned._PLACES", _PLACES)
    for n, turned in ((1, False), (8, False), (64, True)):
        case = Case("map", space=(n, n), kernel=(4, 4), channels=(128, 64))
        assert is_turned(Map.INPUT, problem_for(case)) == turned


@pytest.mark.parametrize(
    "case",
    [
        Case("few_elements", space=(5, 4), kernel=(3, 3), batch=3),
        Case("few_outputs", space=(7, 5), kernel=(3, 2), padding=1, batch=3),
        Case("of_each", space=(5, 5), kernel=(3, 3), padding=((0, 0), (2, 1))),
    ],
    ids=str,
)
def test_places_are_counted_to_the_last(case, monkeypatch):
    """Of each axis as many as elements or outputs, whichever are fewer; of all images.

    Not more: an element and a tap meet at one output, and an output and a tap at one
    element.
    """
    images, _, *outputs = case.output_shape
    places = images * math.prod(map(min, case.space, outputs))
    for threshold, turned in ((places, True), (places + 1, False)):
        monkeypatch.setattr("jconvt._choice.turned._PLACES", threshold)
        assert is_turned(Map.INPUT, problem_for(case)) == turned
