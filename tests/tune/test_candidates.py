"""What is timed: on a CPU what keeps the promise of memory, elsewhere what serves."""

import jax
import jax.numpy as jnp
import pytest

import jconvt
from jconvt._call.problem import Map
from jconvt._choice.choose import candidates, choose, estimate, pinned
from jconvt._choice.cost import allowed_bytes
from jconvt._lowerings.table import LOWERINGS
from jconvt._shapes import call_of_shapes
from jconvt._tune.candidates import automatic, entries_for
from tuning import Clock, install, lowerings_in

LAYERS = [
    ((2, 3, 5), (3, 2, 3), {"stride": 2}),
    ((8, 16, 128, 128), (16, 16, 5, 5), {"padding": 2}),
    ((32, 64, 128, 128), (64, 32, 4, 4), {"stride": 2, "padding": 1}),
    ((4, 64, 64, 64), (64, 1, 3, 3), {"groups": 64, "stride": 2}),
]


def problem_of(x, w, options):
    return call_of_shapes("test", x, w, **options)[0].problem(x, w)


@pytest.mark.parametrize("which", Map)
@pytest.mark.parametrize("layer", LAYERS)
def test_on_a_cpu_all_are_candidates_of_the_choice(layer, which):
    problem = problem_of(*layer)
    entries = entries_for(which, "cpu", problem)
    assert automatic(which, "cpu", problem) not in entries
    auto = pinned(which, automatic(which, "cpu", problem), problem)
    assert auto == choose(which, "cpu", problem)
    found = candidates(which, problem)
    assert {auto, *(pinned(which, entry, problem) for entry in entries)} <= set(found)
    assert len(set(entries)) == len(entries) > 0


@pytest.mark.parametrize("which", Map)
@pytest.mark.parametrize("layer", LAYERS)
def test_each_lowering_is_timed_before_another_variant_of_one(layer, which):
    problem = problem_of(*layer)
    entries = [
        automatic(which, "cpu", problem),
        *entries_for(which, "cpu", problem),
    ]
    names = [entry.split("/")[0] for entry in entries]
    rounds = [names[:n].count(name) for n, name in enumerate(names)]
    assert rounds == sorted(rounds)
    estimates = [
        estimate(which, problem, pinned(which, entry, problem))
        for entry, turn in zip(entries, rounds, strict=True)
        if turn == 1
    ]
    assert estimates == sorted(estimates)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("which", Map)
@pytest.mark.parametrize("layer", LAYERS)
def test_elsewhere_all_that_serve(layer, which, platform):
    problem = problem_of(*layer)
    entries = entries_for(which, platform, problem)
    serving = {
        n for n, row in LOWERINGS.items() if not row.refuses(problem.geometry, True)
    }
    picked = choose(which, platform, problem)
    named = {entry.split("/")[0] for entry in entries}
    assert named | {picked.lowering} == serving
    assert automatic(which, platform, problem) not in entries


X, W = jnp.ones((1, 8, 64, 64)), jnp.ones((8, 8, 5, 5))


def up(x, w):
    return jconvt.conv_transpose2d(x, w, padding=2)


def test_elsewhere_memory_is_read_of_the_program(monkeypatch):
    """Of two that are equally fast, only the one of little memory is taken."""
    install(monkeypatch, Clock(gather=0.5, phases=0.5), ["gather", "phases"])
    monkeypatch.setattr("jconvt._tune.tune._PLATFORMS", {})
    monkeypatch.setattr("jconvt._choice.cost._SMALL_BYTES", 0)
    tuned = jconvt.tune(up, X, W, seconds=1000, derivatives=False)
    (row,) = tuned.report.maps
    assert row.runs == "phases"
    assert "gather needs more memory than is promised" in str(tuned.report)


def test_what_is_picked_on_a_cpu_keeps_the_promise(monkeypatch):
    """The last candidate is made the fastest."""
    x, w = jnp.ones((8, 16, 64, 64)), jnp.ones((16, 16, 5, 5))
    problem = problem_of(x.shape, w.shape, {"padding": 2})
    last = entries_for(Map.OUTPUT, "cpu", problem)[-1]
    install(monkeypatch, Clock(**{last: 0.5}), [last])
    tuned = jconvt.tune(up, x, w, seconds=1000, derivatives=False)
    ((_, lowering),) = lowerings_in(tuned, x, w)
    assert lowering.forward == last

    def temporaries(function):
        program = jax.jit(function).lower(x, w).compile()
        return program.memory_analysis().temp_size_in_bytes

    def native(x, w):
        return jconvt.conv_transpose2d(x, w, padding=2, lowering="lhs_dilation")

    assert temporaries(tuned) <= allowed_bytes(problem, temporaries(native))
