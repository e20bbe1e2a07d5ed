"""`jconvt.tune`: finds layers, follows the clock, computes the same. Nothing is timed.

The arrays hold small integers, so that sums are exact in any order.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

import jconvt
from jconvt._call.problem import Map
from jconvt._tune import measure
from tuning import CANDIDATES, MAPS, Clock, install, lowerings_in

PICK = "gather/features last"


def arrays(*shapes, seed=0):
    draw = np.random.default_rng(seed).integers
    return [jnp.asarray(draw(-2, 3, shape), jnp.float32) for shape in shapes]


X, W, Y = arrays((2, 3, 5), (3, 3, 3), (2, 3, 5))
LAYER = functools.partial(jconvt.conv_transpose1d, padding=1)


@pytest.fixture
def clock(monkeypatch):
    """One candidate is twice as fast as all others."""
    return install(monkeypatch, Clock(**{PICK: 0.5, "tuned": 0.9}))


def same(tuned, function, *arguments):
    found, expected = tuned(*arguments), function(*arguments)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def entries(function, *arguments):
    """The entries for the maps that a function's trace holds."""
    return {
        getattr(lowering, which) if not isinstance(lowering, str) else lowering
        for which, lowering in lowerings_in(function, *arguments)
    }


def test_a_map_that_one_formulation_serves_is_not_timed(monkeypatch):
    clock = install(monkeypatch, Clock(), [])
    tuned = jconvt.tune(LAYER, X, W, seconds=1000)
    assert not clock.races
    for row in tuned.report.maps:
        assert (row.tried, row.candidates, row.runs) == (0, 0, "auto")
        assert row.automatic_seconds is row.fastest_seconds is None
        assert row.fastest == row.automatic
    same(tuned, LAYER, X, W)


def test_maps_that_have_candidates_share_the_time(monkeypatch):
    """Half for the only one, and half for what follows; of 0.8 of all."""
    install(monkeypatch, Clock())
    given = {}

    def time_map(layer, which, others, platform, budget):
        given[which] = (list(others), budget.left)
        return measure.Times()

    def entries_for(which, platform, problem):
        return CANDIDATES if which == Map.INPUT else []

    monkeypatch.setattr("jconvt._tune.tune.time_map", time_map)
    monkeypatch.setattr("jconvt._tune.tune.entries_for", entries_for)
    jconvt.tune(LAYER, X, W, seconds=1e6)
    assert [others for others, _ in given.values()] == [[], CANDIDATES, []]
    assert given[Map.INPUT][1] == pytest.approx(0.4e6, rel=1e-3)


# Where layers are found ---------------------------------------------------------------


def plain(x, w):
    return LAYER(x, w)


def with_a_bias(x, w):
    return jconvt.conv_transpose1d(x, w, jnp.ones(3), padding=1)


@jax.jit
def jitted(x, w):
    return jnp.tanh(LAYER(x, w))


def scanned(x, w):
    return lax.scan(lambda x, _: (LAYER(x, w) % 7, x), x, length=3)


def in_a_while_loop(x, w):
    return lax.fori_loop(0, x.astype(int).max() + 1, lambda _, x: LAYER(x, w) % 7, x)


def branched(x, w):
    return lax.cond(x[0, 0, 0] > 0, LAYER, lambda x, w: -LAYER(x, w), x, w)


def mapped(x, w):
    return jax.vmap(LAYER, (None, 0))(x, jnp.stack([w, 2 * w]))


def differentiated(x, w):
    return jax.grad(lambda x, w: jnp.sum(LAYER(x, w) ** 2), (0, 1))(x, w)


def rematerialised(x, w):
    layer = jax.checkpoint(LAYER)
    return jax.grad(lambda w: jnp.sum(layer(layer(x, w), w)))(w)


def forward_mode(x, w):
    return jax.jvp(LAYER, (x, w), (x, w))


@jax.custom_jvp
def with_its_own_jvp(x, w):
    return LAYER(x, w)


@with_its_own_jvp.defjvp
def _(primals, tangents):
    return with_its_own_jvp(*primals), LAYER(tangents[0], primals[1])


@jax.custom_vjp
def with_its_own_vjp(x, w):
    return LAYER(x, w)


with_its_own_vjp.defvjp(lambda x, w: (LAYER(x, w), w), lambda w, y: (LAYER(y, w), w))


def sharded(x, w):
    mesh = jax.make_mesh((1,), ("i",), axis_types=(AxisType.Auto,))
    rows, all_of_it = PartitionSpec("i"), PartitionSpec()
    return jax.shard_map(LAYER, mesh=mesh, in_specs=(rows, all_of_it), out_specs=rows)(
        x, w
    )


FUNCTIONS = [
    *(plain, with_a_bias, jitted, scanned, in_a_while_loop, branched, mapped),
    *(differentiated, rematerialised, forward_mode),
    *(with_its_own_jvp, with_its_own_vjp, sharded),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_layers_are_found_and_the_clock_is_followed(function, clock):
    assert entries(function, X, W) == {"auto"}
    tuned = jconvt.tune(function, X, W, seconds=1000)
    assert entries(tuned, X, W) == {PICK}
    same(tuned, function, X, W)
    same(jax.jit(tuned), function, X, W)
    assert {row.runs for row in tuned.report.maps} == {PICK}
    assert entries(function, X, W) == {"auto"}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_each_equation_is_counted(function, clock):
    tuned = jconvt.tune(function, X, W, seconds=1000)
    in_trace = len(lowerings_in(function, X, W))
    scans = 3 if function is scanned else 1
    assert sum(row.count for row in tuned.report.maps) == in_trace * scans


# Which maps ---------------------------------------------------------------------------


def test_of_a_function_without_gradients_all_maps_are_measured(clock):
    tuned = jconvt.tune(plain, X, W, seconds=1000)
    assert [row.map for row in tuned.report.maps] == [*MAPS]
    gradient = jax.grad(lambda x, w: tuned(x, w).sum(), (0, 1))
    assert entries(gradient, X, W) == {PICK}
    same(gradient, jax.grad(lambda x, w: plain(x, w).sum(), (0, 1)), X, W)


def test_of_a_function_with_gradients_those_that_it_computes(clock):
    def step(x, w):
        return jax.value_and_grad(lambda w: LAYER(x, w).sum())(w)

    tuned = jconvt.tune(step, X, W, seconds=1000)
    assert [row.map for row in tuned.report.maps] == ["forward", "weight gradient"]


def test_without_derivatives_the_forward_map_alone(clock):
    tuned = jconvt.tune(plain, X, W, seconds=1000, derivatives=False)
    assert [row.map for row in tuned.report.maps] == ["forward"]


def test_integers_have_no_gradients(clock):
    x, w = X.astype(int), W.astype(int)
    tuned = jconvt.tune(plain, x, w, seconds=1000)
    assert [row.map for row in tuned.report.maps] == ["forward"]
    same(tuned, plain, x, w)


def test_pinned_lowerings_stay(clock):
    mine = jconvt.Lowerings(input_gradient="phases")

    def two(x, w):
        y = jconvt.conv_transpose1d(x, w, padding=1, lowering=mine)
        return jconvt.conv_transpose1d(y, w, stride=2, lowering="lhs_dilation") + (
            jconvt.conv_transpose1d(y, w, stride=2, lowering="gather")
        )

    tuned = jconvt.tune(two, X, W, seconds=1000)
    pinned = jconvt.Lowerings(
        forward=PICK, input_gradient="phases", weight_gradient=PICK
    )
    found = lowerings_in(tuned, X, W)
    assert found == [("forward", pinned), ("forward", "gather")]
    same(tuned, two, X, W)


def test_equal_layers_are_measured_once(clock):
    tuned = jconvt.tune(lambda x, w: LAYER(LAYER(x, w), w), X, W, seconds=1000)
    assert [row.count for row in tuned.report.maps] == [2, 0, 0]


def test_sizes_of_zero_are_left_alone(clock):
    tuned = jconvt.tune(plain, X[:0], W)
    assert tuned.report.maps == ()
    assert "no layer with an automatic lowering" in str(tuned.report)
    assert tuned(X[:0], W).shape == (0, 3, 5)


# The tuned function -------------------------------------------------------------------


def test_other_shapes_stay_automatic(clock):
    tuned = jconvt.tune(plain, X, W, seconds=1000)
    x, w = arrays((3, 3, 7), (3, 3, 3))
    assert entries(tuned, x, w) == {"auto"}
    same(tuned, plain, x, w)


def test_it_can_be_mapped(clock):
    tuned = jconvt.tune(plain, X, W, seconds=1000)
    each = jax.vmap(tuned, (0, None))
    same(each, jax.vmap(plain, (0, None)), jnp.stack([X, 2 * X]), W)
    assert entries(each, jnp.stack([X, X]), W) == {PICK}


def test_it_runs_inside_shard_map(clock):
    tuned = jconvt.tune(plain, X, W, seconds=1000)
    mesh = jax.make_mesh((1,), ("i",), axis_types=(AxisType.Auto,))
    rows, whole = PartitionSpec("i"), PartitionSpec()
    shared = jax.shard_map(tuned, mesh=mesh, in_specs=(rows, whole), out_specs=rows)
    same(shared, plain, X, W)
    assert entries(shared, X, W) == {PICK}


def test_pytrees_static_arguments_and_keywords(clock):
    def step(state, kind, *, negative=False):
        y = LAYER(state["x"], state["w"])
        assert kind in ("sum", "all")
        return {"y": -y if negative else y, "n": None} if kind == "all" else y.sum()

    state = {"x": X, "w": W}
    tuned = jconvt.tune(step, state, "all", seconds=1000)
    same(tuned, step, state, "all")
    same(tuned, step, state, "sum")
    same(
        functools.partial(tuned, negative=True),
        functools.partial(step, negative=True),
        state,
        "all",
    )
    assert tuned.__name__ == "step"
    assert repr(tuned) == f"<jconvt.Tuned of {step!r}>"


def test_it_is_traced_once(clock):
    traces = []

    def step(x, w):
        traces.append(x)
        return LAYER(x, w)

    tuned = jconvt.tune(step, X, W, seconds=1000)
    tuned(X, W)
    before = len(traces)
    tuned(X, W)
    assert len(traces) == before


def test_a_program_called_twice_stays_one(clock):
    inner = jax.jit(plain)
    tuned = jconvt.tune(lambda x, w: inner(inner(x, w), w), X, W, seconds=1000)
    (program,) = jax.make_jaxpr(tuned)(X, W).eqns
    calls = [e.params["jaxpr"] for e in program.params["jaxpr"].eqns]
    assert len(calls) == 2
    assert calls[0] is calls[1]


def test_donated_arguments_survive_the_measuring(clock):
    donating = jax.jit(lambda x, w: LAYER(x, w), donate_argnums=0)
    x = X + 0
    jconvt.tune(donating, x, W, seconds=1000)
    assert not x.is_deleted()


# The decision -------------------------------------------------------------------------


def test_less_than_three_percent_is_noise(monkeypatch):
    install(monkeypatch, Clock(**{PICK: 0.98}))
    tuned = jconvt.tune(plain, X, W, seconds=1000)
    assert entries(tuned, X, W) == {"auto"}
    assert {row.fastest for row in tuned.report.maps} == {PICK}
    assert "every layer keeps its automatic lowering" in str(tuned.report)


def test_the_automatic_pick_may_be_the_fastest(monkeypatch):
    clock = install(monkeypatch, Clock(auto=0.1))
    tuned = jconvt.tune(plain, X, W, seconds=1000)
    assert all(row.fastest == row.automatic for row in tuned.report.maps)
    assert not any("tuned" in race for race in clock.races)


def test_the_best_race_against_the_automatic_one(clock):
    jconvt.tune(plain, X, W, seconds=1000, derivatives=False)
    alone, (final, *_) = clock.races[:4], clock.races[4:]
    assert alone == [("auto",), *((name,) for name in CANDIDATES)]
    assert set(final) == {"auto", *CANDIDATES}


class SlowTogether(Clock):
    """Picks are slow in the programs whose numbers are given."""

    def __init__(self, *slow):
        super().__init__(**{PICK: 0.5})
        self.slow, self.programs = slow, 0

    def __call__(self, runs, **named):
        found = super().__call__(runs, **named)
        if set(runs) == {"auto", "tuned"}:
            found["tuned"] = 2.0 if self.programs in self.slow else 0.8
            self.programs += 1
        return found


def runs_of(tuned):
    return [row.runs for row in tuned.report.maps]


def test_what_is_slow_together_is_left_out(monkeypatch):
    """All maps, then the forward one alone, of a layer; then of the whole function."""
    for slow, runs in {
        (): [PICK] * 3,
        (0,): [PICK, "auto", "auto"],
        (0, 1): ["auto"] * 3,
        (1,): ["auto", PICK, PICK],
    }.items():
        install(monkeypatch, SlowTogether(*slow))
        tuned = jconvt.tune(plain, X, W, seconds=1000)
        assert runs_of(tuned) == runs
        assert bool(tuned.report.notes) == (slow != ())
        same(tuned, plain, X, W)


def test_a_whole_function_that_is_slower_keeps_the_automatic_lowerings(monkeypatch):
    install(monkeypatch, SlowTogether(1, 2))
    tuned = jconvt.tune(differentiated, X, W, seconds=1000)
    assert runs_of(tuned) == ["auto"] * 3
    assert tuned.report.automatic_seconds == tuned.report.tuned_seconds == 1.0
    assert "slow the whole function down" in str(tuned.report)


def test_what_the_whole_gains_is_reported(monkeypatch):
    install(monkeypatch, SlowTogether())
    report = jconvt.tune(differentiated, X, W, seconds=1000).report
    assert (report.automatic_seconds, report.tuned_seconds) == (1.0, 0.8)
    assert "1000.000 ms automatic, 800.000 ms tuned (20% less)" in str(report)


def test_shapes_without_arrays_time_layers_alone(clock):
    x = jax.ShapeDtypeStruct(X.shape, X.dtype)
    tuned = jconvt.tune(plain, x, W, seconds=1000)
    assert "shapes without arrays" in str(tuned.report)
    assert entries(tuned, X, W) == {PICK}


def test_little_time_tries_little(monkeypatch, clock):
    monkeypatch.setattr(measure.Budget, "left", 0.0)
    report = jconvt.tune(plain, X, W).report
    assert {(row.tried, row.candidates) for row in report.maps} == {(0, 3)}
    assert {row.runs for row in report.maps} == {"auto"}


def test_what_does_not_run_is_said(monkeypatch, clock):
    compiled = measure.compile_run

    def failing(function, *arguments):
        if PICK in str(jax.make_jaxpr(function)(*arguments)):
            raise jax.errors.JaxRuntimeError("no memory\nfor this")
        return compiled(function, *arguments)

    monkeypatch.setattr(measure, "compile_run", failing)
    tuned = jconvt.tune(plain, X, W, seconds=1000)
    assert entries(tuned, X, W) == {"auto"}
    assert f"{PICK} did not run: no memory" in str(tuned.report)
