"""On a CPU the choice has the least cost, whatever the rates are.

Most tests set rates of their own, nearly all of them zero, so that the right choice is
plain; others draw rates at random, and add up what every choice would cost.
"""

import itertools
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem
from jconvt._choice import choose as choice
from jconvt._choice.choose import (
    best_variant,
    candidates,
    choose,
    estimate,
    work_of,
)
from jconvt._choice.cost import (
    RATES,
    features,
    fits,
    seconds,
    seconds_of_pressure,
    shared_seconds,
)
from jconvt._choice.formulation import Formulation
from jconvt._choice.pieces import WHOLE, Pieces, total_work
from jconvt._choice.turned import is_turned, turned_problem
from jconvt._lowerings import spare
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import PLAIN, Work, has_fast_convolutions, moves
from jconvt._shapes import call_of_shapes

# Convolutions of this type run in plain loops, whose rate keeps them out of the way.
DTYPE = np.dtype(np.float64)
NO_LOOPS = {"looped": 1e6}


def problem(
    n=8,
    batch=2,
    rank=2,
    channels=(32, 16),
    first=True,
    groups=1,
    kernel=4,
    stride=2,
    dtype=DTYPE,
):
    """A crop of 1 on every axis."""
    geometry = Geometry(
        kernel_size=(kernel,) * rank,
        stride=(stride,) * rank,
        dilation=(1,) * rank,
        crop=((1, 1),) * rank,
        groups=groups,
    )
    return Problem(
        geometry=geometry,
        batch=batch,
        in_channels=channels[0],
        out_channels=channels[1],
        size=(n,) * rank,
        dtype=np.dtype(dtype),
        features_first=first,
    )


@pytest.fixture
def rates(monkeypatch):
    """Sets the rates of each map: those that are not given are zero."""

    def set_to(forward, input_gradient, weight_gradient):
        given = (forward, input_gradient, weight_gradient)
        for slot, found in zip(Map, given, strict=True):
            assert set(found) <= set(RATES[slot])
            values = {name: found.get(name, 0) for name in RATES[slot]}
            monkeypatch.setitem(RATES, slot, values)
        choice._cheapest.cache_clear()

    yield set_to
    choice._cheapest.cache_clear()


def chosen(layer):
    return [choose(slot, "cpu", layer) for slot in Map]


def count(name, layer, work):
    return features(Map.OUTPUT, layer, work)[name]


def test_each_map_has_the_least_of_its_own_cost(rates):
    names = ("multiply_adds", "calls", "prepared")
    rates(*({name: 1} | NO_LOOPS for name in names))
    layer = problem()
    found = chosen(layer)
    assert len(set(found)) == 3
    for slot, name, formulation in zip(Map, names, found, strict=True):
        works = candidates(slot, layer)
        counts = {
            f: count(name, layer, work)
            for f, work in works.items()
            if not work.convolved
        }
        assert counts[formulation] == min(counts.values()) < max(counts.values())


# What two maps of one formulation share is paid once ----------------------------------


def test_patches_are_shared_by_output_and_weight_gradient(rates):
    """Alone the weight gradient would take a lowering that gathers nothing."""
    rates(
        {"multiply_adds": 1} | NO_LOOPS,
        {"calls": 1} | NO_LOOPS,
        {"gathered": 1, "multiply_adds": 1e-3} | NO_LOOPS,
    )
    forward, _, weight = chosen(problem())
    assert forward == weight
    assert forward.lowering == "winograd"


def test_kernels_are_shared_by_output_and_input_gradient(rates):
    """Alone the input gradient would take a weight as given."""
    rates(
        {"multiply_adds": 1} | NO_LOOPS,
        {"prepared": 1, "multiply_adds": 1e-3} | NO_LOOPS,
        {"calls": 1} | NO_LOOPS,
    )
    forward, input_, _ = chosen(problem())
    assert forward == input_
    assert forward.lowering == "winograd"


def test_parts_of_the_cotangent_are_shared_by_the_gradients(rates):
    """Alone the weight gradient would take features last, which are not strided."""
    rates(
        {"calls": 1} | NO_LOOPS,
        {"transposed": 1} | NO_LOOPS,
        {"strided": 1, "transposed": 1e-3} | NO_LOOPS,
    )
    _, input_, weight = chosen(problem())
    assert input_ == weight
    assert weight.variant.first


def test_temporaries_of_the_output_press_on_gradients_that_do_not_share_them(rates):
    """The input gradient takes many GEMMs rather than temporaries of its own."""
    rates(
        {"multiply_adds": 1} | NO_LOOPS,
        {"calls": 1} | NO_LOOPS,
        {"pressure": 1},
    )
    layer = problem(n=64, batch=2)
    forward, input_, _ = chosen(layer)
    work = candidates(Map.OUTPUT, layer)[forward]
    assert count("pressure", layer, work) > 0
    assert work.calls > 1
    assert input_ == forward


# All of it at once --------------------------------------------------------------------

# What two maps of one formulation have in common, and whose rates it is paid by.
SHARED = {
    (Map.OUTPUT, Map.WEIGHT): (Map.WEIGHT, ["gathered"]),
    (Map.OUTPUT, Map.INPUT): (Map.INPUT, ["prepared"]),
    (Map.INPUT, Map.WEIGHT): (
        Map.WEIGHT,
        ["joined", "added", "reordered", "strided"],
    ),
}
LAYERS = {
    "small": problem(n=5),
    "last": problem(n=16, batch=4, first=False),
    "signal": problem(n=64, rank=1, batch=3),
    "depthwise": problem(channels=(16, 32), groups=16),
    "pressing": problem(n=64, batch=4),
    "far_beyond_what_is_kept": problem(n=64, batch=16, channels=(64, 16)),
    "turned": problem(n=32, stride=1, kernel=3),
    "turned_pressing": problem(n=96, batch=4, stride=1, kernel=3),
}


def drawn(seed):
    """Rates of each map, up to some ten times those that were measured, or a tenth."""
    rng = np.random.default_rng(seed)
    return [
        {name: rate * np.exp(rng.normal() * 1.5) for name, rate in RATES[slot].items()}
        for slot in Map
    ]


class Made(NamedTuple):
    """A formulation of one of the three maps: as what it is made, and its terms."""

    slot: Map
    work: Work
    costs: dict[str, float]


class Training:
    """What the three maps of a layer cost together, as `choice._cheapest` tells it."""

    def __init__(self, layer):
        self.layer, self.maps = layer, {}
        for slot in Map:
            turned = is_turned(slot, layer)
            made = Map.OUTPUT if turned else slot
            problem = turned_problem(layer) if turned else layer
            self.maps[slot] = {
                f: Made(made, work, self.costs(made, features(made, problem, work)))
                for f, work in candidates(slot, layer).items()
            }

    @staticmethod
    def costs(slot, counts):
        return {name: RATES[slot][name] * n for name, n in counts.items()}

    def alone(self, slot, f):
        return sum(self.maps[slot][f].costs.values())

    def together(self, picks):
        made = {slot: self.maps[slot][f] for slot, f in picks.items()}
        total = sum(
            sum(made[slot].costs.values()) - made[slot].costs["pressure"]
            for slot in (Map.INPUT, Map.WEIGHT)
        )
        kept = {}
        for slot, f in picks.items():
            key = f if made[slot].work.operands else slot
            kept[key] = max(kept.get(key, 0), made[slot].work.temporary)
        alive = sum(kept.values())
        if alive * self.layer.itemsize > 24 * 2**20:
            total += RATES[Map.WEIGHT]["pressure"] * alive
        for pair, (by, names) in SHARED.items():
            as_itself = all(made[slot].slot == slot for slot in pair)
            one, other = (picks[slot] for slot in pair)
            by_gemm = made[pair[0]].work.operands
            if one == other and one.pieces == WHOLE and as_itself and by_gemm:
                total -= sum(made[by].costs[name] for name in names)
        return total


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("dtype", "static_batch"),
    [
        pytest.param(np.float32, True, id="float32"),
        pytest.param(np.float64, True, id="float64"),
        pytest.param(np.float32, False, id="whole"),
    ],
)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_nothing_that_is_offered_costs_less(layer, dtype, static_batch, seed, rates):
    """The output by itself, and the gradients as the cheapest of all pairs."""
    rates(*drawn(seed))
    layer = replace(layer, dtype=np.dtype(dtype), static_batch=static_batch)
    training = Training(layer)
    found = dict(zip(Map, chosen(layer), strict=True))
    assert static_batch or all(f.pieces == WHOLE for f in found.values())
    outputs, *gradients = training.maps.values()
    best = min(training.alone(Map.OUTPUT, f) for f in outputs)
    assert training.alone(Map.OUTPUT, found[Map.OUTPUT]) == pytest.approx(best)
    best = min(
        training.together(dict(zip(Map, (found[Map.OUTPUT], *pair), strict=True)))
        for pair in itertools.product(*gradients)
    )
    assert training.together(found) == pytest.approx(best, rel=1e-9)


def test_what_is_not_said_of_a_choice(rates):
    """It may cut into pieces, where the batch is a number, and turn a kernel."""
    rates(*drawn(0))
    found = [f for layer in LAYERS.values() for f in chosen(layer)]
    assert any(f.pieces != WHOLE for f in found)
    assert any(f.turned for f in found)
    assert {f.turned for layer in LAYERS.values() for f in chosen(layer)[::2]} == {
        False
    }


# What is offered ----------------------------------------------------------------------


@pytest.mark.parametrize("slot", Map)
def test_nothing_is_offered_that_outgrows_the_memory_budget(slot):
    layer = problem(n=32, batch=1, rank=3, channels=(64, 64))
    offered = candidates(slot, layer)
    native = work_of(slot, layer, Formulation("lhs_dilation"))
    assert all(fits(layer, work, native) for work in offered.values())
    row = LOWERINGS["overlap_add"]
    for variant in row.variants(layer):
        assert not fits(layer, row.work(layer, variant, slot), native)
        assert Formulation("overlap_add", variant) not in offered


@pytest.mark.parametrize(
    ("slot", "groups", "rank", "dtype", "fast"),
    [
        (Map.OUTPUT, 1, 2, np.float32, True),
        (Map.OUTPUT, 1, 1, jnp.bfloat16, True),
        (Map.INPUT, 1, 2, np.float16, True),
        (Map.WEIGHT, 1, 2, np.float32, False),
        (Map.OUTPUT, 2, 2, np.float32, True),
        (Map.OUTPUT, 1, 3, np.float32, True),
        (Map.OUTPUT, 1, 4, np.float32, False),
        (Map.OUTPUT, 1, 2, np.float64, False),
        (Map.OUTPUT, 1, 2, np.complex64, False),
        (Map.OUTPUT, 1, 2, np.int32, False),
    ],
)
def test_where_convolutions_are_fast(slot, groups, rank, dtype, fast):
    layer = problem(rank=rank, groups=groups, dtype=dtype)
    assert has_fast_convolutions(slot, layer) == fast


@pytest.mark.parametrize(
    ("slot", "kernel", "stride", "n", "groups", "fast"),
    [
        (Map.OUTPUT, 9, 1, 8, 1, False),
        (Map.OUTPUT, 9, 1, 9, 1, True),
        (Map.OUTPUT, 9, 4, 2, 1, False),
        (Map.OUTPUT, 9, 4, 3, 1, True),
        (Map.INPUT, 9, 4, 2, 1, True),
        (Map.OUTPUT, 9, 1, 8, 2, True),
    ],
)
def test_kernels_larger_than_their_input_are_slow(
    slot, kernel, stride, n, groups, fast
):
    """XLA exchanges the two, and has no fast convolution for the result.

    Of an output that is the taps of a phase and the input, of an input gradient all
    taps and the cotangent, which has 11 elements here.
    """
    layer = problem(n=n, kernel=kernel, stride=stride, groups=groups, dtype=np.float32)
    assert has_fast_convolutions(slot, layer) == fast


@pytest.mark.parametrize(
    ("channels", "groups", "taken"),
    [
        pytest.param((32, 64), 32, True, id="one_input_channel_each"),
        pytest.param((1, 64), 1, True, id="one_input_channel"),
        pytest.param((16, 16), 1, True, id="few"),
        pytest.param((32, 32), 2, True, id="few_each"),
        pytest.param((17, 2), 1, False, id="many_inputs"),
        pytest.param((2, 17), 1, False, id="many_outputs"),
    ],
)
def test_sums_are_for_groups_of_few_channels(rates, channels, groups, taken):
    """However little they cost."""
    rates(*({name: 1 for name in RATES[Map.OUTPUT] if name != "summed"} for _ in Map))
    layer = problem(channels=channels, groups=groups)
    found = {f.lowering for f in chosen(layer)}
    assert found == {"tap_sums"} if taken else "tap_sums" not in found


@pytest.mark.parametrize(
    ("which", "kernel", "channels", "taken"),
    [
        (Map.OUTPUT, 16, 1, True),
        (Map.OUTPUT, 17, 1, False),
        (Map.OUTPUT, 8, 4, True),
        (Map.OUTPUT, 9, 4, False),
        (Map.WEIGHT, 11, 4, True),
        (Map.WEIGHT, 12, 1, False),
    ],
)
def test_sums_are_for_few_terms(which, kernel, channels, taken):
    """A program of more takes seconds to compile."""
    layer = problem(
        n=16, channels=(8, 8), groups=8 // channels, kernel=kernel, stride=4
    )
    found = candidates(which, layer)
    assert ("tap_sums" in {f.lowering for f in found}) == taken


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("lowering", ["gather", "winograd", "overlap_add"])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_no_variant_of_a_named_lowering_costs_less(layer, lowering, seed, rates):
    """For any number of them, and each map by its own work and rates."""
    rates(*drawn(seed))
    row = LOWERINGS[lowering]
    for slot in Map:
        costs = {
            variant: seconds(slot, layer, row.work(layer, variant, slot))
            for variant in row.variants(layer)
        }
        found = best_variant(slot, lowering, layer)
        assert found == Formulation(lowering, min(costs, key=costs.get), WHOLE)


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("lowering", ["gather", "winograd", "overlap_add"])
def test_a_named_lowering_has_its_cheapest_variant(rates, lowering, first):
    rates(*[{"transposed": 1}] * 3)
    for slot in Map:
        found = best_variant(slot, lowering, problem(first=first))
        assert found.lowering == lowering
        assert found.variant.first == first


# The model ----------------------------------------------------------------------------


def test_each_term_is_its_rate_times_its_count(rates):
    rates({"multiply_adds": 2, "calls": 3}, {"transposed": 5}, {"fixed": 7})
    work = Work(multiply_adds=10, lanes=16, calls=2, transposed=4)
    nanoseconds = [1e9 * seconds(slot, problem(), work) for slot in Map]
    np.testing.assert_allclose(nanoseconds, [2 * 16 + 3 * 2, 5 * 4, 7])


CONVOLVED = {"convolved": 10, "lanes": 16}


@pytest.mark.parametrize(
    ("counts", "fast", "groups", "expected"),
    [
        pytest.param({"lanes": 16}, False, 2, {"multiply_adds": 16}, id="gemm"),
        pytest.param({"lanes": 16}, True, 1, {"multiply_adds": 16}, id="fast_gemm"),
        pytest.param(CONVOLVED, False, 2, {"looped": 10 * 2}, id="loops"),
        pytest.param(CONVOLVED, True, 1, {"convolved": 16}, id="convolution"),
        pytest.param(CONVOLVED | {"inflated": 10}, True, 1, {"looped": 10}, id="zeros"),
        pytest.param(
            CONVOLVED | {"prepared": 8},
            *(True, 1, {"convolved": 16, "prepared": 4}),
            id="kernel",
        ),
        pytest.param(
            {"convolved": 2048, "lanes": 4096, "packed": 64},
            *(True, 2, {"convolved": 4096, "packed": 64 * 8}),
            id="groups",
        ),
        pytest.param(
            CONVOLVED | {"inflated": 10, "scattered": 5},
            *(True, 1, {"convolved": 5 * 5 * 32, "scattered": 5}),
            id="transposed_convolution",
        ),
        pytest.param(
            CONVOLVED | {"inflated": 10, "scattered": 5},
            *(False, 1, {"looped": 10}),
            id="loops_over_zeros",
        ),
    ],
)
def test_products_are_counted_by_their_path(counts, fast, groups, expected):
    """In GEMMs, in convolutions of each kind, or in loops."""
    layer = problem(groups=groups, dtype=np.float32 if fast else np.float64)
    found = features(Map.OUTPUT, layer, Work(**counts))
    fixed = {} if "convolved" in counts else {"fixed": 1}
    assert {name: n for name, n in found.items() if n} == expected | fixed


@pytest.mark.parametrize(
    ("layer", "times"),
    [
        ({"rank": 1}, 1),
        ({"rank": 1, "channels": (30, 16)}, 1),
        ({"rank": 2}, 1),
        ({"rank": 2, "channels": (30, 16)}, 2),
        ({"rank": 3}, 9),
        ({"rank": 2, "channels": (8, 8), "groups": 4}, 2 * 8),
        ({"rank": 2, "channels": (8, 8), "groups": 4, "stride": 1}, 2 * 3),
    ],
)
def test_what_a_convolution_packs_by_axes_groups_and_channels(layer, times):
    """Rows of channels that no vector of 4 divides are packed one by one."""
    work = Work(convolved=10, lanes=10, packed=100)
    found = features(Map.OUTPUT, problem(dtype=np.float32, **layer), work)
    assert found["packed"] == 100 * times


@pytest.mark.parametrize("slow", [True, False])
def test_only_large_strided_convolutions_are_packed_slowly(slow, monkeypatch):
    """Of an input gradient, whose output is smaller than what it reads."""
    monkeypatch.setattr(spare, "YNNPACK_IS_SLOW", slow)
    work = Work(convolved=10, lanes=10, packed=100)
    times = {
        (n, channels): features(
            Map.INPUT,
            problem(n=n, rank=2, channels=(channels, channels), dtype=np.float32),
            work,
        )["packed"]
        for n in (16, 512)
        for channels in (16, 32)
    }
    most = 400 if slow else 100
    assert times == {(16, 16): 100, (16, 32): 100, (512, 16): 100, (512, 32): most}


@pytest.mark.parametrize(
    ("rank", "stride", "scattered"),
    [(2, 2, False), (3, 2, False), (4, 2, True), (1, 3, True), (2, 3, True)],
)
def test_many_residues_of_planes_are_interleaved_slowly(rank, stride, scattered):
    """Eight are not many, if no stride is above 2; features last cost nothing."""
    layer = problem(
        n=4, rank=rank, channels=(8, 8), groups=8, stride=stride, dtype=np.float32
    )
    row = LOWERINGS["tap_sums"]
    for variant in row.variants(layer):
        work = row.work(layer, variant, Map.OUTPUT)
        assert (work.regrouped > layer.outputs) == (scattered and variant.first)


@pytest.mark.parametrize(("kernel", "times"), [(5, 1), (6, 12)])
def test_long_sums_are_not_vectorised_with_features_last(kernel, times):
    """36 taps for one output are too many, 25 are not."""
    layer = problem(n=16, channels=(16, 16), groups=16, kernel=kernel, stride=1)
    work = LOWERINGS["tap_sums"].work(layer, PLAIN, Map.OUTPUT)
    assert work.summed == times * work.multiply_adds


@pytest.mark.parametrize("slot", Map)
def test_only_large_temporaries_press(rates, slot):
    """Small ones are kept from run to run."""
    rates(*[{"pressure": 1}] * 3)
    for temporary, pressing in ((2**10, 0), (2**30, 2**30)):
        work = Work(temporary=temporary)
        found = 1e9 * seconds(slot, problem(), work)
        np.testing.assert_allclose(found, pressing)


@pytest.mark.parametrize("slot", Map)
def test_pressure_by_itself_is_what_an_estimate_has_of_it(rates, slot):
    rates(*[{"pressure": 3}] * 3)
    work = Work(temporary=2**30)
    alone = seconds_of_pressure(slot, problem(), work.temporary)
    assert alone == seconds(slot, problem(), work) == pytest.approx(3.221225472)


@pytest.mark.parametrize("slot", Map)
def test_what_is_shared_is_the_named_terms(rates, slot):
    rates(*[{"gathered": 2, "joined": 3, "added": 5}] * 3)
    work = Work(gathered=10, joined=100, added=1000)
    shared = shared_seconds(slot, work, "gathered", "added")
    np.testing.assert_allclose(shared, 1e-9 * (2 * 10 + 5 * 1000))


@pytest.mark.parametrize("slot", Map)
def test_each_feature_has_a_rate(slot):
    counts = features(slot, problem(), Work())
    assert list(counts) == list(RATES[slot])


@pytest.mark.parametrize("extra", [0, 1])
def test_the_memory_budget_to_the_element(extra):
    """Twice the largest of input, weight and output, more than the native form has.

    Less a tenth, by which estimates may be too small.
    """
    layer = problem(n=64, batch=32, channels=(32, 16))
    assert layer.itemsize == 8
    largest = max(layer.inputs, layer.weights, layer.outputs)
    assert 2 * largest * 8 > 64 * 2**20
    native = Work(temporary=1500, scattered=500)
    most = int((1000 + 2 * largest) / 1.1)
    assert fits(layer, Work(temporary=most + extra), native) == (not extra)
    small = problem(n=2, batch=1)
    most = int(64 * 2**20 / 8 / 1.1)  # of 64 MiB, which any layer is allowed
    assert fits(small, Work(temporary=most + extra), Work()) == (not extra)


def test_the_weight_is_one_of_the_arrays():
    layer = problem(n=1, batch=1, channels=(2048, 1024))
    assert layer.weights > 1000 * max(layer.inputs, layer.outputs)
    assert fits(layer, Work(temporary=layer.weights), Work())
    assert 8 * layer.weights > 64 * 2**20


def test_memory_is_no_reason_for_what_is_far_slower(rates):
    """All that fits would take more than three times as long as the fastest."""
    dear = {"cut": 1e6, "looped": 1e6}
    rates(*({"multiply_adds": 1} | dear for _ in Map))
    layer = problem(n=256, batch=1, rank=2, channels=(64, 64), kernel=8, stride=2)
    found = candidates(Map.OUTPUT, layer)
    native = work_of(Map.OUTPUT, layer, Formulation("lhs_dilation"))
    pick = chosen(layer)[0]
    assert pick.pieces == WHOLE
    assert not fits(layer, found[pick], native)
    times = [estimate(Map.OUTPUT, layer, f) for f in choice._works(Map.OUTPUT, layer)]
    assert estimate(Map.OUTPUT, layer, pick) <= 3 * min(times)


@pytest.mark.parametrize(
    ("made", "pieces", "cut"),
    [
        (Map.OUTPUT, Pieces(batch=2), lambda p: p.outputs + p.inputs // 4),
        (Map.INPUT, Pieces(batch=2), lambda p: p.inputs + p.outputs // 4),
        (
            Map.WEIGHT,
            Pieces(batch=2),
            lambda p: 2 * p.weights + (p.inputs + p.outputs) // 4,
        ),
        (Map.OUTPUT, Pieces(2, 4), lambda p: p.outputs + p.inputs),
    ],
    ids=["output", "input_gradient", "weight_gradient", "rows"],
)
def test_whole_images_are_cut_out_in_a_quarter_of_the_time(made, pieces, cut):
    layer = problem()
    assert total_work(layer, pieces, made, lambda part: Work()).cut == cut(layer)


def test_a_kernel_is_compared_with_its_input_over_all_axes():
    """Longer along one axis, but with fewer taps than there are elements."""
    layer = problem(rank=2, kernel=3, stride=1, n=8, dtype=np.float32)
    along = replace(layer, geometry=replace(layer.geometry, kernel_size=(9, 3)))
    assert has_fast_convolutions(Map.OUTPUT, along)
    assert not has_fast_convolutions(Map.OUTPUT, replace(along, size=(4, 6)))


@pytest.mark.parametrize("lowering", ["phases", "fused_phases", "lhs_dilation"])
def test_without_overlap_gather_is_the_gemm(lowering):
    row = LOWERINGS[lowering]
    layer = partial(problem, stride=2, rank=2, dtype=np.float32)
    assert "gather" in row.not_on_cpu(Map.OUTPUT, layer(kernel=2))
    assert not row.not_on_cpu(Map.OUTPUT, layer(kernel=3))


@pytest.mark.parametrize(
    ("layer", "first", "counts"),
    [
        pytest.param({}, True, {"swapped": "both"}, id="batch"),
        pytest.param({"batch": 1}, True, {"swapped": "none"}, id="one_image"),
        pytest.param({"channels": (1, 8)}, True, {"swapped": "outputs"}, id="one_in"),
        pytest.param({"channels": (8, 1)}, True, {"swapped": "inputs"}, id="one_out"),
        pytest.param({}, False, {"transposed": "both"}, id="to_last"),
        pytest.param({"n": 1}, False, {"transposed": "outputs"}, id="one_position"),
        pytest.param({"first": False}, False, {"swapped": "none"}, id="as_given"),
        pytest.param(
            {"first": False, "n": 1}, True, {"transposed": "both"}, id="to_first"
        ),
        pytest.param(
            {"first": False, "n": 1, "batch": 1},
            *(True, {"transposed": "outputs"}),
            id="one_position_of_one_image",
        ),
    ],
)
def test_what_is_moved_to_the_layout_of_a_gemm(layer, first, counts):
    """An axis of one element changes places without a copy."""
    made = problem(**{"n": 4, "batch": 2, "channels": (8, 8)} | layer)
    elements = {
        "both": made.inputs + made.outputs,
        "inputs": made.inputs,
        "outputs": made.outputs,
        "none": 0,
    }
    expected = {name: elements[arrays] for name, arrays in counts.items()}
    assert moves(made, first) == expected


def test_patches_of_few_channels_are_short_rows():
    """With features last a row of one or two channels takes as long as one of four."""
    gathered = [
        LOWERINGS["gather"].work(problem(channels=(c, 8)), PLAIN, Map.OUTPUT).gathered
        for c in (1, 2, 4, 8)
    ]
    assert gathered[0] == gathered[1] == gathered[2] == gathered[3] // 2


@pytest.mark.parametrize("lowering", ["phases", "fused_phases"])
def test_phases_at_stride_1_are_the_native_convolution(lowering):
    """And no candidate beside it; with a stride they put their results together."""
    row = LOWERINGS[lowering]
    near, far = (problem(stride=s, dtype=np.float32) for s in (1, 2))
    assert row.not_on_cpu(Map.OUTPUT, near)
    assert not row.not_on_cpu(Map.OUTPUT, far)
    work = row.work(far, PLAIN, Map.OUTPUT)
    assert work.reordered > far.outputs
    assert not work.joined


def test_gradients_by_sums_of_taps_have_one_copy_of_the_cotangent():
    """Counted twice, the copies are more than a process keeps, and GEMMs are taken."""
    x, w = (12, 16, 64, 14), (14, 1, 6, 6)
    call, *_ = call_of_shapes(
        "test", x, w, stride=4, padding=1, groups=14,
        dimension_numbers=("NHWC", "IOHW", "NHWC"),
    )  # fmt: skip
    layer = call.problem(x, w)
    for which in (Map.INPUT, Map.WEIGHT):
        assert choose(which, "cpu", layer).lowering == "tap_sums"
