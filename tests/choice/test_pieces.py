"""Layers computed piece by piece: the same numbers, with small temporaries."""

import functools
import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
import oracles
from cases import Case
from formulations import (
    FIRST,
    LAYOUTS,
    call_for,
    expected,
    geometry_of,
    quick_jit,
    whole,
)
from jconvt._call.problem import Map, Problem
from jconvt._choice.choose import candidates, choose, estimate, work_of
from jconvt._choice.cost import DEAREST, KEPT_BYTES, fits
from jconvt._choice.formulation import Formulation
from jconvt._choice.pieces import WHOLE, Pieces, cut_rows, parts_of
from jconvt._lowerings.work import Variant
from jconvt._maps.make import perform
from jconvt._maps.target import Target

CASES = [
    Case("overlap", (9,), (4,), stride=2, padding=1, batch=4),
    Case("gaps", (7,), (2,), stride=5, padding=1, batch=4),
    Case("stride_1", (8, 2), (3, 3), padding=1, batch=4),
    Case("dilated", (8, 2), (3, 2), (3, 1), (2, 0), dilation=(2, 1), batch=4),
    Case("uneven", (7, 3), (5, 3), 2, ((1, 3), (0, 1)), batch=4),
    Case("grouped", (7,), (4,), 2, groups=2, channels=(4, 6), batch=4),
    Case("cropped_away", (9,), (2,), 2, ((1, 1),), batch=4),
    Case("3d", (6, 2, 2), (3, 3, 3), stride=2, padding=1, output_padding=1, batch=4),
]

PIECES = [
    Pieces(batch=2),
    Pieces(batch=4),
    Pieces(blocks=1),
    Pieces(blocks=2),
    Pieces(blocks=3),
    Pieces(batch=2, blocks=2),
]
ALONG_THE_LAST = [Pieces(blocks=1, axis=-1), Pieces(batch=2, blocks=2, axis=-1)]
"""The axis counted from the end, which each case has."""


def maps(case, kind, formulation, devices=1):
    """The three maps of a formulation as functions of input, weight and cotangent."""
    call = call_for(case, kind)

    def run(x, w, g):
        arrays = {Map.INPUT: x, Map.WEIGHT: w, Map.OUTPUT: g}
        return [
            perform(
                made,
                {which: a for which, a in arrays.items() if which != made},
                call,
                arrays[made].shape,
                formulation,
                Target("cpu", devices),
            )
            for made in (Map.OUTPUT, Map.INPUT, Map.WEIGHT)
        ]

    return run


# One after the other, so that cases of each rank meet each layout.
TRIED = [
    pytest.param(case, kind, id=f"{case}-{kind}")
    for case, kind in zip(CASES, itertools.cycle(LAYOUTS), strict=False)
]


@pytest.mark.parametrize(("case", "kind"), TRIED)
def test_pieces_give_what_the_whole_gives(case, kind):
    runs = {
        f"{pieces}, {devices} devices": maps(
            case, kind, Formulation("gather", Variant(), pieces), devices
        )
        for pieces in [
            *PIECES,
            *(replace(p, axis=case.rank - 1) for p in ALONG_THE_LAST),
        ]
        for devices in ((1, 2) if pieces.batch > 1 else (1,))
    }
    arrays = whole(case, kind)
    program = quick_jit(lambda *a: {name: run(*a) for name, run in runs.items()})
    with jax.enable_x64(True):
        results = program(*arrays)
    plain, spec = FIRST[case.rank], LAYOUTS[kind][case.rank]
    for name, found in results.items():
        for i, array, desired in zip((2, 0, 1), found, expected(case), strict=True):
            actual = oracles.permute(array, spec[i], plain[i])
            np.testing.assert_array_equal(actual, desired, name, strict=True)


@pytest.mark.parametrize(
    "lowering", ["overlap_add", "tap_sums", "lhs_dilation", "phases"]
)
def test_pieces_are_for_every_lowering(lowering):
    case, pieces = CASES[0], Pieces(batch=2, blocks=2)
    run = maps(case, "first", Formulation(lowering, pieces=pieces))
    with jax.enable_x64(True):
        results = quick_jit(run)(*whole(case))
    for array, desired in zip(results, expected(case), strict=True):
        np.testing.assert_array_equal(array, desired, strict=True)


@pytest.mark.parametrize("slot", Map)
@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_cover_the_axis_once(case, blocks, slot):
    """The elements that are written: once each, in order."""
    geometry, n = geometry_of(case), case.space[0]
    out = geometry.axes[0].output_size(n)
    rows = cut_rows(geometry, n, blocks, slot)
    stride = geometry.stride[0]
    spans = [
        (piece.first_in + i * blocks, piece.inputs)
        if slot == Map.INPUT
        else (piece.first_out + i * blocks * stride, piece.outputs)
        for piece, count in zip(rows.runs, (rows.count, 1), strict=False)
        for i in range(count)
    ]
    written = [k for start, length in spans for k in range(start, start + length)]
    assert written == list(range(n if slot == Map.INPUT else out))
    for piece in rows.runs:
        assert piece.geometry.axes[0].output_size(piece.inputs) == piece.outputs


def layer(**sizes):
    found = {
        "geometry": geometry_of(Case("k4", (8, 8), (4, 4), stride=2, padding=1)),
        "batch": 16,
        "in_channels": 64,
        "out_channels": 64,
        "size": (32, 32),
        "dtype": np.dtype(np.float32),
        "features_first": True,
    }
    return Problem(**found | sizes)


@functools.cache
def offered(problem, slot):
    return candidates(slot, problem)


@pytest.mark.parametrize("slot", Map)
@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(layer(), id="batch"),
        pytest.param(layer(batch=1, size=(512, 64)), id="rows"),
        pytest.param(layer(batch=3, size=(256, 128)), id="both"),
    ],
)
def test_a_large_layer_can_be_cut_small(problem, slot):
    """Each piece's temporaries are what a process keeps, kernels left aside."""
    cut = [f for f in offered(problem, slot) if f.pieces != WHOLE]

    def is_small(formulation):
        works = [
            work_of(slot, part, formulation._replace(pieces=WHOLE))
            for _, part in parts_of(problem, formulation.pieces, slot)
        ]
        most = max(work.temporary - work.prepared for work in works)
        return most * problem.itemsize <= KEPT_BYTES

    assert cut
    for each in {f._replace(pieces=WHOLE) for f in cut}:
        alike = [f for f in cut if f._replace(pieces=WHOLE) == each]
        assert any(map(is_small, alike)), each


def test_a_small_layer_is_not_cut():
    problem = layer(batch=1, size=(8, 8))
    for slot in Map:
        assert {f.pieces for f in offered(problem, slot)} == {WHOLE}


def test_pieces_execute_what_the_whole_does_and_their_halo():
    problem = layer(batch=1, size=(256, 64))
    for formulation in offered(problem, Map.OUTPUT):
        if formulation.lowering == "gather" and formulation.pieces != WHOLE:
            uncut = formulation._replace(pieces=WHOLE)
            most = 1.35 * work_of(Map.OUTPUT, problem, uncut).executed
            assert work_of(Map.OUTPUT, problem, formulation).executed <= most


def test_a_symbolic_batch_is_not_cut():
    """Its number of pieces would be a guess."""
    (n,) = jax.export.symbolic_shape("n")
    case = Case("k4", (256, 64), (4, 4), stride=2, padding=1, channels=(64, 64))
    run = functools.partial(jconvt.conv_transpose, **case.options)
    shapes = [(n, 64, 256, 64), case.weight_shape]
    arrays = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    picked = choose(Map.OUTPUT, "cpu", layer(batch=32))
    assert picked.pieces != WHOLE
    text = jax.export.export(jax.jit(run), platforms=["cpu"])(*arrays).mlir_module()
    assert "stablehlo.while" not in text


@pytest.mark.parametrize("slot", Map)
def test_what_cannot_be_cut_fits_as_a_whole(slot):
    """A batch of unknown size; unless what fits is many times as slow."""
    problem = layer(batch=16)
    assert choose(slot, "cpu", problem).pieces != WHOLE  # else no test
    uncut = replace(problem, static_batch=False)
    picked = choose(slot, "cpu", uncut)
    assert picked.pieces == WHOLE
    native = work_of(slot, problem, Formulation("lhs_dilation"))
    if not fits(problem, work_of(slot, problem, picked), native):
        fitting = [
            estimate(slot, uncut, f)
            for f, work in candidates(slot, uncut).items()
            if fits(problem, work, native)
        ]
        least = estimate(slot, uncut, picked)
        assert all(seconds > DEAREST * least for seconds in fitting)


def test_a_large_layer_runs_in_a_loop():
    """The canary of the test above."""
    case = Case("k4", (256, 64), (4, 4), 2, 1, channels=(64, 64), batch=32)
    arrays = [
        jax.ShapeDtypeStruct(shape, np.float32)
        for shape in (case.input_shape, case.weight_shape)
    ]
    lowered = (
        jax.jit(functools.partial(jconvt.conv_transpose, **case.options))
        .trace(*arrays)
        .lower()
    )
    assert "stablehlo.while" in lowered.as_text()


@pytest.mark.parametrize(
    ("devices", "images"), [(1, [1, 256] * 6), (2, [1] * 6 + [256] * 6)]
)
def test_a_weight_gradient_in_pieces_is_rounded_once(devices, images):
    """Each piece is 257, of which bfloat16 would keep 256; the sum of six is 1542."""
    call = call_for(Case("k1", (1,), (1,)), dtype=jnp.bfloat16)
    x = jnp.asarray(images, jnp.bfloat16).reshape(12, 1, 1)
    operands = {Map.INPUT: x, Map.OUTPUT: jnp.ones_like(x)}
    formulation = Formulation("gather", pieces=Pieces(batch=6))
    dw = perform(
        Map.WEIGHT, operands, call, (1, 1, 1), formulation, Target("cpu", devices)
    )
    assert dw.dtype == jnp.bfloat16
    assert float(dw[0, 0, 0]) == 1544  # the nearest bfloat16


def test_a_bias_is_added_in_place_to_what_a_loop_made():
    """It takes no second array of the output's size."""
    case = Case("k2", (256, 64), (2, 2), 2, channels=(64, 64), batch=32)
    arrays = [
        jax.ShapeDtypeStruct(shape, np.float32)
        for shape in (case.input_shape, case.weight_shape, (64,))
    ]
    call = functools.partial(jconvt.conv_transpose, **case.options)
    temporaries = [
        jax.jit(call).lower(*given).compile().memory_analysis().temp_size_in_bytes
        for given in (arrays[:2], arrays)
    ]
    assert temporaries[1] < temporaries[0] + 2**20
