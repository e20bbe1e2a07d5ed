"""Absurd sizes and options: an answer or an error, soon, and never a wrong one."""

import itertools
import math
import time
from functools import partial

import jax
import numpy as np
import pytest

import jconvt
from fuzz.memory import LAYERS, ONCE_OVER, budget, temporaries
from jconvt._call.call import Call
from jconvt._call.geometry import Geometry
from jconvt._call.layout import Layout
from jconvt._call.numerics import Numerics
from jconvt._call.padding import DIALECTS, within_period
from jconvt._call.problem import Map, Problem
from jconvt._choice.choose import candidates
from jconvt._choice.pieces import cut_rows
from jconvt._maps.make import perform
from jconvt._maps.target import Target

LAST = 2**31 - 1
SOON = 20.0
"""Seconds, on a slow machine: what hangs takes hours."""


# Options ------------------------------------------------------------------------------


def scattered(x, w, n, *, stride, dilation, low):
    """One image and channel, place by place, in Python's own integers."""
    y = np.zeros(n)
    for (i, a), (t, b) in itertools.product(enumerate(x), enumerate(w)):
        place = i * stride + t * dilation - low
        if 0 <= place < n:
            y[place] += a * b
    return y


X, W = np.array([2.0, 3.0, 5.0]), np.array([7.0, 11.0])
ABSURD = {  # input, weight, stride, dilation, crop
    "stride": (X[:1], W, LAST, 1, (0, 0)),
    "stride_of_a_million": (X, W, 10**6, 1, (0, 0)),
    "dilation_cropped_to_one_tap": (X, W, 1, LAST, (LAST, 0)),
    "dilation_cropped_between_taps": (X, W, 1, 10**6, (100, 10**6 - 100)),
    "dilation_of_a_million": (X, W, 1, 10**6, (0, 0)),
    "dilation_of_one_tap": (X, W[:1], 1, LAST, (0, 0)),
    "both": (X, W, 10**6, 10**6, (0, 0)),
    "both_cropped": (X[:2], W, LAST, LAST, (LAST, LAST - 5)),
    "crop": (X, W, 10**6, 1, (10**6, 10**6)),
    "appended": (X, W, 1, 1, (-(10**6), -5)),
}


@pytest.mark.parametrize("row", ABSURD.values(), ids=ABSURD)
def test_absurd_options_are_answered(row):
    """Output and gradients, with no more memory than they need."""
    x, w, stride, dilation, (low, high) = row
    options = {"stride": stride, "dilation": dilation, "padding": [(low, high)]}
    shapes = (1, 1, len(x)), (1, 1, len(w))
    (_, _, n) = jconvt.output_shape(*shapes, **options)
    assert n < 10**7
    start = time.perf_counter()

    @jax.jit
    def run(x, w, g):
        y, pull = jax.vjp(partial(jconvt.conv_transpose, **options), x, w)
        return y, *pull(g)

    arrays = [a.astype(np.float32).reshape(1, 1, -1) for a in (x, w, np.ones(n))]
    y, dx, dw = run(*arrays)
    assert time.perf_counter() - start < SOON
    given = {"stride": stride, "dilation": dilation, "low": low}
    np.testing.assert_array_equal(y[0, 0], scattered(x, w, n, **given))
    basis = np.eye(len(x)), np.eye(len(w))
    np.testing.assert_array_equal(
        dx[0, 0], [scattered(e, w, n, **given).sum() for e in basis[0]]
    )
    np.testing.assert_array_equal(
        dw[0, 0], [scattered(x, e, n, **given).sum() for e in basis[1]]
    )


@pytest.mark.parametrize("option", ["stride", "dilation", "padding"])
@pytest.mark.parametrize("value", [2**31, 2**40, 2**63, 10**30])
def test_larger_options_are_refused(option, value):
    with pytest.raises(ValueError, match=f"`{option}` must not be larger"):
        jconvt.conv_transpose(np.ones((1, 1, 1)), np.ones((1, 1, 1)), **{option: value})


@pytest.mark.parametrize("dialect", ["CIRCULAR", "CIRCULAR_LOWER"])
@pytest.mark.parametrize("dilation", [13, 10**6, LAST])
@pytest.mark.parametrize(("n", "stride"), [(4, 1), (3, 2), (1, 5)])
def test_a_periodic_dilation_counts_modulo_the_period(dialect, dilation, n, stride):
    """The input is not wrapped around as often as the dilation exceeds it."""
    x, w = np.arange(1.0, n + 1), np.array([7.0, 11.0, 13.0])
    overlap = max(2 * dilation + 1 - stride, 0)
    low = overlap // 2 if dialect == "CIRCULAR" else -(-overlap // 2)
    expected = np.zeros(n * stride)
    for (i, a), (t, b) in itertools.product(enumerate(x), enumerate(w)):
        expected[(i * stride + t * dilation - low) % (n * stride)] += a * b
    f = partial(
        jconvt.conv_transpose, stride=stride, dilation=dilation, padding=dialect
    )
    arrays = [a.astype(np.float32).reshape(1, 1, -1) for a in (x, w)]
    y = f(*arrays)
    np.testing.assert_array_equal(y[0, 0], expected)
    largest = max(math.prod(a.shape) for a in every_array(jax.make_jaxpr(f)(*arrays)))
    assert largest <= 4 * len(w) * n * stride


def every_array(closed):
    """The arrays that a program makes, those of inner programs too."""
    for equation in closed.jaxpr.eqns:
        yield from (out.aval for out in equation.outvars)
        for inner in equation.params.values():
            if hasattr(inner, "jaxpr") and hasattr(inner, "consts"):
                yield from every_array(inner)


def test_a_dilation_within_the_period_is_left():
    crop = DIALECTS["CIRCULAR"](9, 2)
    assert within_period(crop, 5, 2, 2, 1) == (crop, 2)
    assert within_period(crop, 5, 2, 2, 0) == (crop, 2)


# Sizes --------------------------------------------------------------------------------

BIG = {  # input, weight, options
    "batch": ((2**33, 2, 4), (2, 3, 4), {"stride": 2, "padding": 1}),
    "batch_is_prime": ((LAST, 64, 8), (64, 64, 4), {"stride": 2, "padding": 1}),
    "channels": ((1, 2**31, 4), (2**31, 1, 2), {"stride": 2}),
    "axis": ((1, 2, 2**31), (2, 3, 4), {"stride": 2, "padding": 1}),
    "axis_of_the_output": ((1, 64, 2**30), (64, 64, 4), {"stride": 4}),
    "image": ((2, 3, 2**16, 2**16), (3, 2, 4, 4), {"stride": 2, "padding": 1}),
    "volume": ((1, 8, 2048, 2048, 2048), (8, 4, 2, 3, 2), {"stride": 2}),
    "bytes": ((1, 64, 4096, 4096), (64, 32, 2, 2), {"stride": 2}),
    "dilated": ((1, 2, 2**31), (2, 2, 3), {"stride": 3, "dilation": 2}),
    "groups": ((1, 2**20, 2**12), (2**20, 1, 3), {"groups": 2**20}),
}


def shapes_of(row):
    x, w, options = BIG[row]
    return x, w, jconvt.output_shape(x, w, **options), options


@pytest.mark.parametrize("row", BIG)
def test_sizes_past_32_bits_by_abstract_evaluation(row):
    x, w, y, options = shapes_of(row)
    assert max(map(math.prod, (x, w, y))) * 4 > LAST
    f = partial(jconvt.conv_transpose, **options)

    def run(x, w, g):
        y, pull = jax.vjp(f, x, w)
        return y, *pull(g)

    arrays = [jax.ShapeDtypeStruct(shape, np.float32) for shape in (x, w, y)]
    assert [a.shape for a in jax.eval_shape(run, *arrays)] == [y, x, w]


def call_of(row):
    _, w, options = BIG[row]
    rank, stride = len(w) - 2, options.get("stride", 1)
    p, d = options.get("padding", 0), options.get("dilation", 1)
    return Call(
        geometry=Geometry(
            kernel_size=w[2:],
            stride=(stride,) * rank,
            dilation=(d,) * rank,
            crop=((p, p),) * rank,
            groups=options.get("groups", 1),
        ),
        wrap=((0, 0),) * rank,
        layout=Layout.channels_first(rank),
        operand=np.dtype(np.float32),
        numerics=Numerics(None, np.dtype(np.float32)),
        lowering="auto",
    )


def problem_of(row):
    (batch, inputs, *size), w, options = BIG[row]
    outputs = w[1] * options.get("groups", 1)
    geometry = call_of(row).geometry
    dtype = np.dtype(np.float32)
    return Problem(geometry, batch, inputs, outputs, tuple(size), dtype, True)


@pytest.mark.parametrize("row", BIG)
@pytest.mark.parametrize("made", Map)
def test_every_formulation_of_sizes_past_32_bits(row, made):
    """All that a CPU could choose is traced, and keeps its indices in 32 bits."""
    x, w, y, _ = shapes_of(row)
    problem, call = problem_of(row), call_of(row)
    arrays = {
        role: jax.ShapeDtypeStruct(shape, np.float32)
        for role, shape in zip(
            (Map.INPUT, Map.WEIGHT, Map.OUTPUT), (x, w, y), strict=True
        )
    }
    shape = arrays.pop(made).shape
    for formulation in candidates(made, problem):
        result = jax.eval_shape(
            lambda operands, f=formulation: perform(
                made, operands, call, shape, f, Target("cpu")
            ),
            arrays,
        )
        assert result.shape == shape, formulation
        assert formulation.pieces.batch <= LAST
        if formulation.pieces.blocks:
            blocks, n = formulation.pieces.blocks, problem.size[0]
            if formulation.turned:
                continue  # tested as the output that it is
            rows = cut_rows(problem.geometry, n, blocks, made)
            out = problem.geometry.output_size(problem.size)[0]
            assert n + sum(rows.pad_in) <= LAST, formulation
            assert out + sum(rows.pad_out) <= LAST, formulation


def test_indices_would_outgrow_32_bits():
    """Canary: the row whose axis is too long would else be cut along it."""
    problem = problem_of("axis_of_the_output")
    assert problem.geometry.output_size(problem.size)[0] > LAST
    shorter = Problem(
        problem.geometry, 1, 64, 64, (2**20,), problem.dtype, problem.features_first
    )
    found = candidates(Map.OUTPUT, shorter)
    assert any(formulation.pieces.blocks for formulation in found)


@pytest.mark.parametrize("row", BIG)
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_explain_of_sizes_past_32_bits(row, platform):
    x, w, y, options = shapes_of(row)
    start = time.perf_counter()
    said = jconvt.explain(x, w, platform=platform, **options)
    assert time.perf_counter() - start < SOON
    assert said.output_shape == y
    useful = math.prod(w) * math.prod(x) // x[1]
    assert said.useful_multiply_adds <= useful


# Memory -------------------------------------------------------------------------------


COMPILED = {name: layer for name, layer in LAYERS.items() if layer.quick} | ONCE_OVER


@pytest.mark.parametrize("layer", COMPILED.values(), ids=COMPILED)
def test_temporaries_stay_inside_the_budget(layer):
    """What XLA allots beside operands and results; compiled, not run."""
    for slot, taken in temporaries(layer, "auto").items():
        assert taken <= budget(layer, slot), slot
