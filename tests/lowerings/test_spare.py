"""Outputs too many, by which a convolution on a CPU stays with Eigen."""

import re
from dataclasses import replace

import jax
import numpy as np
import pytest

from cases import Case
from formulations import call_for, expected, quick_jit, whole
from jconvt._call.problem import Map
from jconvt._choice.formulation import Formulation
from jconvt._lowerings import spare
from jconvt._lowerings.spare import is_slow, spare_outputs
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import PLAIN
from jconvt._maps.make import perform
from jconvt._maps.target import Target

SAME = Case("same", (12, 12), (3, 3), padding=1, channels=(18, 4))
CASES = [
    SAME,
    Case("more_cropped", (24, 9), (3, 3), padding=2, channels=(4, 18)),
    Case("longer_along_the_second", (9, 24), (3, 3), padding=1, channels=(18, 2)),
    Case("uneven", (16, 20), (5, 2), padding=((4, 2), (0, 1)), channels=(18, 2)),
    Case("dilated", (16, 20), (3, 2), 1, 1, dilation=(1, 2), channels=(18, 2)),
    Case("grouped", (12, 12), (3, 3), padding=1, channels=(18, 36), groups=18),
]
WITHOUT = [
    replace(SAME, name="few_channels", channels=(16, 4)),
    replace(SAME, name="larger_output", padding=0),
    replace(SAME, name="strided", stride=2, padding=2),
    replace(SAME, name="small", space=(3, 3)),
    Case("one_axis", (12,), (3,), padding=1, channels=(18, 4)),
]


@pytest.fixture(autouse=True)
def slow(monkeypatch):
    """As with jaxlib 0.10, whatever the version is."""
    monkeypatch.setattr(spare, "YNNPACK_IS_SLOW", True)


def problem_of(case):
    call = call_for(case)
    return call.problem(case.input_shape, case.weight_shape)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_spare_outputs_are_computed_and_removed(case):
    """The output is what it was, and the convolution's is larger than its input."""
    _, more = spare_outputs(problem_of(case))
    assert more
    call, (x, w, _) = call_for(case), whole(case)
    shape = expected(case)[0].shape

    def run(x, w, devices=1):
        operands = {Map.INPUT: x, Map.WEIGHT: w}
        formulation = Formulation("lhs_dilation")
        return perform(
            Map.OUTPUT, operands, call, shape, formulation, Target("cpu", devices)
        )

    with jax.enable_x64(True):
        y = quick_jit(run)(x, w)
        text = jax.jit(run).lower(x, w).as_text()
        plain = jax.jit(lambda x, w: run(x, w, 2)).lower(x, w).as_text()
    np.testing.assert_array_equal(y, expected(case)[0], strict=True)
    made = [
        [int(n) for n in re.search(r"convolution.*-> tensor<(.*?)xf", t)[1].split("x")]
        for t in (text, plain)
    ]
    assert any(out > n for out, n in zip(made[0][1:3], case.space, strict=True))
    assert all(out <= n for out, n in zip(made[1][1:3], case.space, strict=True))


@pytest.mark.parametrize("case", WITHOUT, ids=str)
def test_no_output_is_spare_where_none_is_needed(case):
    assert spare_outputs(problem_of(case)) == (0, 0)


def test_no_output_is_spare_where_the_library_is_fast(monkeypatch):
    monkeypatch.setattr(spare, "YNNPACK_IS_SLOW", False)
    assert spare_outputs(problem_of(SAME)) == (0, 0)


def test_spare_outputs_are_counted():
    """13 of 12 x 12 a row, in an array of their own."""
    problem = problem_of(SAME)
    work = LOWERINGS["lhs_dilation"].work(problem, PLAIN, Map.OUTPUT)
    positions = SAME.batch * 13 * 12
    assert work.convolved == positions * problem.weights
    rest = problem.inputs + problem.outputs + problem.weights  # moved, and the kernel
    assert work.temporary == rest + positions * problem.out_channels


def test_a_quarter_of_spare_outputs_is_the_most():
    """A crop of 2 at both ends makes 3 outputs more necessary, of 10 and of 12."""
    case = replace(SAME, padding=2)
    assert spare_outputs(problem_of(case)) == (0, 0)
    assert spare_outputs(problem_of(replace(case, space=(14, 14)))) == (0, 3)


def test_an_input_gradient_reads_the_larger_array():
    problem = problem_of(replace(SAME, stride=2, padding=1))
    assert is_slow(Map.INPUT, problem)
    assert not is_slow(Map.OUTPUT, problem)
