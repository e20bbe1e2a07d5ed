"""`jconvt.Lowerings`: each map runs what its entry says, and computes the same.

The arrays hold small integers, so that all sums are exact, those of the filters with
their halves too.
"""

import collections
import dataclasses
import itertools
import json
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
import oracles
from cases import Case
from jconvt._call.problem import Map
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import Variant
from jconvt._shapes import call_of_shapes
from programs import equations

FIELDS = {
    Map.OUTPUT: "forward",
    Map.INPUT: "input_gradient",
    Map.WEIGHT: "weight_gradient",
}
CASES = [
    Case("overlap", (3,), (3,), stride=2, padding=1, output_padding=1),
    Case("blocks", (2, 3), (2, 2), stride=2, groups=2, channels=(4, 2)),
]
OVERLAP, BLOCKS = CASES
MIXED = jconvt.Lowerings(
    forward="gather", input_gradient="phases", weight_gradient="role_swapped"
)


def names_for(case):
    """The lowerings that can serve."""
    found = jconvt.explain(case.input_shape, case.weight_shape, **case.options)
    return [c.lowering for c in found.candidates if c.refusal is None]


def in_turn(case):
    """As many as there are names, so that each name stands in each entry once."""
    names = names_for(case)
    shifted = [names[i:] + names[:i] for i in range(len(Map))]
    return [
        jconvt.Lowerings(**dict(zip(FIELDS.values(), entries, strict=True)))
        for entries in zip(*shifted, strict=True)
    ]


TURNS = [
    pytest.param(case, lowerings, id=f"{case}-{lowerings.forward}")
    for case in CASES
    for lowerings in in_turn(case)
]


def function(case, lowering):
    def f(x, w):
        return jconvt.conv_transpose(x, w, **case.options, lowering=lowering)

    return f


def arrays_of(case, seed=0):
    """Input, weight and cotangent."""
    draw = np.random.default_rng(seed).integers
    shapes = (case.input_shape, case.weight_shape, case.output_shape)
    return [draw(-3, 4, shape).astype(np.float32) for shape in shapes]


def three_maps(f):
    def run(x, w, g):
        y, pull = jax.vjp(f, x, w)
        return y, *pull(g)

    return run


def output(case, x, w):
    return oracles.scatter(x, w, **case.geometry)


def input_gradient(case, w, g):
    return oracles.gradient_of_input(g, w, space=case.space, **case.geometry)


def weight_gradient(case, x, g):
    return oracles.gradient_of_weight(g, x, kernel=case.kernel, **case.geometry)


def expected(case, x, w, g):
    return output(case, x, w), input_gradient(case, w, g), weight_gradient(case, x, g)


def assert_equal(found, desired):
    for one, other in zip(found, desired, strict=True):
        np.testing.assert_array_equal(one, other)


# Each map runs its entry --------------------------------------------------------------


@pytest.fixture
def ran(monkeypatch):
    """Map -> the lowerings, with variants, that compute it while a program is made."""
    found = collections.defaultdict(set)

    def recording(row):
        def lower(x, w, call, variant, which):
            found[which].add((row.name, variant))
            return row.lower(x, w, call, variant, which)

        return dataclasses.replace(row, lower=lower)

    for name, row in LOWERINGS.items():
        monkeypatch.setitem(LOWERINGS, name, recording(row))
    return found


def names(ran):
    return {which: {name for name, _ in found} for which, found in ran.items()}


@pytest.mark.parametrize(("case", "lowerings"), TURNS)
def test_each_map_runs_its_entry(ran, case, lowerings):
    jax.jit(three_maps(function(case, lowerings))).lower(*arrays_of(case))
    assert names(ran) == {
        which: {getattr(lowerings, field)} for which, field in FIELDS.items()
    }


@pytest.mark.parametrize("which", Map)
def test_the_other_maps_stay_automatic(ran, which):
    lowerings = jconvt.Lowerings(**{FIELDS[which]: "tap_sums"})
    sizes = (BLOCKS.input_shape, BLOCKS.weight_shape)
    auto = jconvt.explain(*sizes, **BLOCKS.options, platform="cpu")
    traced = jax.jit(three_maps(function(BLOCKS, lowerings))).trace(*arrays_of(BLOCKS))
    traced.lower(lowering_platforms=("cpu",))
    wanted = {m: {getattr(auto, field)} for m, field in FIELDS.items()}
    assert wanted[which] != {"tap_sums"}
    assert names(ran) == wanted | {which: {"tap_sums"}}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("which", Map)
def test_an_entry_names_a_variant(ran, which, first):
    entry = f"overlap_add/features {'first' if first else 'last'}"
    lowerings = jconvt.Lowerings(**{FIELDS[which]: entry})
    run = three_maps(function(OVERLAP, lowerings))
    jax.jit(run).lower(*arrays_of(OVERLAP))
    assert ran[which] == {("overlap_add", Variant(first=first))}
    shapes = (OVERLAP.input_shape, OVERLAP.weight_shape)
    found = jconvt.explain(*shapes, **OVERLAP.options, lowering=lowerings)
    picked = [e for c in found.candidates for e in c.estimates if e.picked]
    (variant,) = [e.variant for e in picked if e.slot == which]
    assert entry == f"overlap_add/{variant}"


@pytest.mark.parametrize("which", Map)
def test_one_convolution_in_a_program_of_products(which):
    """The program's text says the same as the functions that were called."""
    entries = dict.fromkeys(FIELDS.values(), "matmul")
    mixed = jconvt.Lowerings(**entries | {FIELDS[which]: "lhs_dilation"})
    for lowering, count in ((jconvt.Lowerings(**entries), 0), (mixed, 1)):
        run = jax.jit(three_maps(function(BLOCKS, lowering)))
        text = run.lower(*arrays_of(BLOCKS)).as_text()
        assert text.count("stablehlo.convolution") == count


def test_three_times_lhs_dilation_is_no_convolution_in_the_trace():
    """The name alone is; see `conv_transpose`."""
    x, w, _ = arrays_of(OVERLAP)
    each = jconvt.Lowerings(**dict.fromkeys(FIELDS.values(), "lhs_dilation"))
    for lowering, made in (
        ("lhs_dilation", "conv_general_dilated"),
        (each, "conv_tra"),
    ):
        found = equations("conv_transpose", function(OVERLAP, lowering), x, w)
        assert len(found) == (made == "conv_tra")


def test_what_the_trace_holds():
    """The value as it was given, in the call of each equation, for each map."""
    x, w, g = arrays_of(OVERLAP)
    run = three_maps(function(OVERLAP, MIXED))
    for name in (
        "conv_transpose",
        "conv_transpose_input_gradient",
        "conv_transpose_weight_gradient",
    ):
        (equation,) = equations(name, run, x, w, g)
        assert equation.params["call"].lowering == MIXED
    call, *_ = call_of_shapes("test", x.shape, w.shape, lowering=MIXED)
    assert call.lowering == MIXED


# What is computed ---------------------------------------------------------------------


@pytest.mark.parametrize(("case", "lowerings"), TURNS)
def test_output_and_gradients(case, lowerings):
    arrays = arrays_of(case)
    found = jax.jit(three_maps(function(case, lowerings)))(*arrays)
    assert_equal(found, expected(case, *arrays))


def second_derivatives(case, x, w, u, v):
    """Those of half the sum of squares, along u and v."""
    y = output(case, x, w)
    slope = output(case, u, w) + output(case, x, v)
    return (
        input_gradient(case, w, slope) + input_gradient(case, v, y),
        weight_gradient(case, x, slope) + weight_gradient(case, u, y),
    )


@pytest.mark.parametrize("mode", ["forward over reverse", "reverse over reverse"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_second_derivatives(ran, case, mode):
    """They are made of the same maps, and run by the same entries."""
    f = function(case, MIXED)
    gradient = jax.grad(lambda x, w: jnp.sum(f(x, w) ** 2) / 2, (0, 1))

    def along(x, w, u, v):
        if mode == "forward over reverse":
            return jax.jvp(gradient, (x, w), (u, v))[1]

        def slope(x, w):
            dx, dw = gradient(x, w)
            return jnp.vdot(dx, u) + jnp.vdot(dw, v)

        return jax.grad(slope, (0, 1))(x, w)

    arrays = (*arrays_of(case)[:2], *arrays_of(case, seed=1)[:2])
    assert_equal(jax.jit(along)(*arrays), second_derivatives(case, *arrays))
    assert names(ran) == {
        which: {getattr(MIXED, field)} for which, field in FIELDS.items()
    }


@pytest.mark.parametrize(
    "mapped", [m for m in itertools.product((0, None), repeat=2) if m != (None, None)]
)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_vmap(ran, case, mapped):
    parts = [arrays_of(case, seed) for seed in range(3)]
    stacks = [np.stack(arrays) for arrays in zip(*parts, strict=True)]
    x, w = (
        stack if axis == 0 else stack[0]
        for stack, axis in zip(stacks, mapped, strict=False)
    )
    run = jax.vmap(three_maps(function(case, MIXED)), (*mapped, 0))
    found = jax.jit(run)(x, w, stacks[2])
    for i, (_, _, g) in enumerate(parts):
        one, other = x[i] if mapped[0] == 0 else x, w[i] if mapped[1] == 0 else w
        assert_equal((a[i] for a in found), expected(case, one, other, g))
    assert names(ran) == {
        which: {getattr(MIXED, field)} for which, field in FIELDS.items()
    }


def test_the_trace_is_kept_for_an_equal_value():
    traced = []

    def f(x, w, lowering):
        traced.append(lowering)
        return function(OVERLAP, lowering)(x, w)

    x, w, _ = arrays_of(OVERLAP)
    run = jax.jit(f, static_argnames="lowering")
    for lowering in (MIXED, dataclasses.replace(MIXED), jconvt.Lowerings()):
        run(x, w, lowering=lowering)
    assert traced == [MIXED, jconvt.Lowerings()]


def test_a_layer_without_elements():
    x, w = jnp.zeros((0, 2, 3)), jnp.zeros((2, 3, 3))
    y = jconvt.conv_transpose(x, w, lowering=MIXED)
    assert y.shape == (0, 3, 5)
    found = jconvt.explain(x.shape, w.shape, lowering=MIXED)
    assert found.forward == "gather"
    assert found.reason == "nothing to compute"


# explain ------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_explain_says_what_each_map_takes(platform):
    found = jconvt.explain(
        OVERLAP.input_shape,
        OVERLAP.weight_shape,
        **OVERLAP.options,
        lowering=MIXED,
        platform=platform,
    )
    assert [getattr(found, field) for field in FIELDS.values()] == [
        "gather",
        "phases",
        "role_swapped",
    ]
    assert found.reason == f"lowering={MIXED!r}"
    picked = {c.lowering: c.picked_for for c in found.candidates if c.picked_for}
    assert picked == {
        "gather": ("forward",),
        "phases": ("input gradient",),
        "role_swapped": ("weight gradient",),
    }


def test_explain_says_why_where_a_map_is_automatic():
    mine = jconvt.Lowerings(forward="gather")
    found = jconvt.explain((1, 3, 5), (3, 4, 2), lowering=mine, platform="cpu")
    assert found.reason == (
        "lowering=jconvt.Lowerings(forward='gather'); auto: least estimated time, both "
        "gradients together"
    )
    for lowering in ("auto", jconvt.Lowerings()):
        auto = jconvt.explain((1, 3, 5), (3, 4, 2), lowering=lowering, platform="cpu")
        assert auto.reason == "least estimated time, both gradients together"


# The value ----------------------------------------------------------------------------

VALUES = [jconvt.Lowerings(), MIXED, jconvt.Lowerings(forward="gather/features last")]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_round_trips(value):
    text = json.dumps(value.to_json())
    assert jconvt.Lowerings.from_json(json.loads(text)) == value
    assert eval(repr(value), {"jconvt": jconvt}) == value
    assert pickle.loads(pickle.dumps(value)) == value


def test_equal_values_have_one_hash():
    assert len({*VALUES, *map(dataclasses.replace, VALUES)}) == len(VALUES)
    assert jconvt.Lowerings(forward="auto") == jconvt.Lowerings()
    assert jconvt.Lowerings(forward="gather") != "gather"


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MIXED.forward = "auto"


def test_a_missing_entry_is_automatic():
    assert jconvt.Lowerings.from_json({"forward": "gather"}) == jconvt.Lowerings(
        forward="gather"
    )


# Errors -------------------------------------------------------------------------------

WITHOUT_MATMUL = [name for name in LOWERINGS if name != "matmul"]


@pytest.fixture(params=["conv_transpose", "output_shape", "explain"])
def front(request):
    """A function of `lowering` that raises before anything is traced."""

    def call(lowering):
        shapes = (1, 2, 4), (2, 3, 3)
        if request.param != "conv_transpose":
            return getattr(jconvt, request.param)(*shapes, lowering=lowering)
        arrays = map(jnp.ones, shapes)
        return jconvt.conv_transpose(*arrays, padding=(1,), lowering=lowering)

    call.name = request.param
    return call


@pytest.mark.parametrize("field", FIELDS.values())
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "abacus",
            f" must be one of auto, {', '.join(LOWERINGS)}; got 'abacus'.",
        ),
        ("gahter", "; got 'gahter'. Did you mean 'gather'?"),
        (
            "phasse/features first",
            "; got 'phasse/features first'. Did you mean 'phases'?",
        ),
        ("matmul", "='matmul' cannot serve this geometry: it needs dilation*("),
        ("matmul", f", groups=1). Use one of auto, {', '.join(WITHOUT_MATMUL)}."),
        (
            "gather/feature last",
            " must be one of gather, gather/features first, gather/features last for "
            "this geometry; got 'gather/feature last'. Did you mean 'gather/features "
            "last'?",
        ),
        (
            "phases/features last",
            " must be one of phases for this geometry; got 'phases/features last'.",
        ),
    ],
)
def test_an_entry_that_does_not_serve(front, field, entry, message):
    beginning = re.escape(f"{front.name}: `lowering.{field}`")
    with pytest.raises(ValueError, match=f"^{beginning}.*{re.escape(message)}"):
        front(jconvt.Lowerings(**{field: entry}))


@pytest.mark.parametrize("value", [{"forward": "gather"}, ("gather",) * 3, None])
def test_what_is_no_lowering(front, value):
    with pytest.raises(TypeError) as caught:
        front(value)
    assert str(caught.value) == (
        f"{front.name}: `lowering` must be a string or a jconvt.Lowerings; got "
        f"{value!r}."
    )


@pytest.mark.parametrize("field", FIELDS.values())
@pytest.mark.parametrize("value", [None, 3, ("gather", "features last")])
def test_an_entry_that_is_no_string(field, value):
    with pytest.raises(TypeError) as caught:
        jconvt.Lowerings(**{field: value})
    assert str(caught.value) == (
        f"Lowerings: `{field}` must be a string; got {value!r} of type "
        f"{type(value).__name__}."
    )


def test_json_of_something_else():
    with pytest.raises(TypeError, match=r"^Lowerings.from_json: `entries` must be a d"):
        jconvt.Lowerings.from_json('{"forward": "gather"}')
    with pytest.raises(ValueError, match=r"got 'foward'\. Did you mean 'forward'\?$"):
        jconvt.Lowerings.from_json({"foward": "gather"})
    with pytest.raises(TypeError, match=r"^Lowerings: `forward` must be a string; got"):
        jconvt.Lowerings.from_json({"forward": None})
