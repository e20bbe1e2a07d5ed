"""Patches that would be too large are made and multiplied in parts, and added up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from cases import Case
from formulations import check, formulation, problem_for, variants_of, whole
from jconvt._call.problem import Map
from jconvt._lowerings.patches import work as patch_work
from jconvt._lowerings.patches.blocks import cut_axes
from jconvt._lowerings.patches.kernels import kernels_of
from jconvt._lowerings.table import LOWERINGS
from programs import dots

# A lowering, a case, and how many elements of a block each GEMM shall take: all of the
# 5 and 4, 3 and 2, 4, or 3 that are not in pairs.
PARTS = [
    ("gather", Case("five", (3,), (9,), stride=2, padding=3), 2),
    ("gather", Case("groups", (3,), (7,), 3, 2, groups=2, channels=(4, 6)), 1),
    ("gather", Case("four_2d", (2, 3), (4, 4), 2, padding=((1, 1), (2, 0))), 2),
    ("winograd", Case("three_and_pairs", (3, 3), (3, 2), dilation=(2, 1)), 1),
    ("winograd", Case("three_and_pairs", (3, 3), (3, 2), dilation=(2, 1)), 2),
]
EACH = pytest.mark.parametrize(
    ("lowering", "case", "elements"),
    [pytest.param(*part, id="{}-{}-by_{}".format(*part)) for part in PARTS],
)


@pytest.fixture
def limit(monkeypatch):
    """Sets above how many bytes patches are made in parts."""
    return lambda size: monkeypatch.setattr(patch_work, "PATCH_BYTES", int(size))


def room_for(elements, x):
    """Bytes that so many elements of the patches of `x` take, by the count of parts."""
    return (1 + elements) / 2 * x.nbytes


@EACH
def test_parts_add_up(limit, lowering, case, elements):
    limit(room_for(elements, whole(case)[0]))
    check(lowering, case)


@EACH
def test_parts_are_the_same_work_in_more_gemms(limit, lowering, case, elements):
    x, w, _ = whole(case)
    for variant in variants_of(lowering, case).values():
        with jax.enable_x64(True):
            limit(1e9)
            at_once = dots(formulation(lowering, case, variant), x, w)
            limit(room_for(elements, x))
            in_parts = dots(formulation(lowering, case, variant), x, w)
        assert len(in_parts) > len(at_once)
        assert max(d.inner for d in in_parts) == elements * x.shape[1] // case.groups
        work = LOWERINGS[lowering].work(problem_for(case), variant, Map.OUTPUT)
        assert work.calls == len(in_parts)
        assert work.operands == sum(d.left + d.right + d.result for d in in_parts)
        assert sum(d.multiply_adds for d in in_parts) == sum(
            d.multiply_adds for d in at_once
        )


def test_parts_of_sixteen_bits_are_added_in_float32(limit):
    case = Case("overlap", (16,), (48,), stride=2, channels=(8, 4))
    x, w = (np.abs(array) for array in case.arrays(jnp.bfloat16)[:2])
    limit(room_for(1, x))
    for variant in variants_of("gather", case).values():
        y = jax.jit(formulation("gather", case, variant, dtype=jnp.bfloat16))(x, w)
        expected = oracles.expect_value(x, w, **case.geometry)
        oracles.assert_expected(y, expected, jnp.bfloat16)


@pytest.mark.parametrize("kind", ["first", "last"])
@pytest.mark.parametrize(
    "case",
    [
        Case("forty_taps", (3,), (40,), stride=3, padding=3),
        Case("groups", (5,), (29,), 2, 1, groups=2, channels=(4, 6)),
        Case("dilated", (4, 2), (19, 2), (2, 1), dilation=(3, 1)),
    ],
    ids=str,
)
def test_kernels_of_many_taps(case, kind):
    """More than eight taps for an output along an axis, and not as many for each."""
    check("gather", case, kind)


def test_kernels_of_many_taps_are_made_by_few_operations():
    """A slice for each tap takes a program of hundreds of taps long to compile."""

    def equations(taps):
        geometry = problem_for(Case("long", (2,), (taps,), stride=3), "first").geometry
        cuts = cut_axes(geometry, (300,), (False,), early=True)
        made = jax.make_jaxpr(lambda w: list(kernels_of(w, cuts, 1).values()))
        return len(made(jnp.ones((2, 2, taps))).eqns)

    assert equations(200) == equations(500)
    assert equations(500) < 20


def test_a_gradient_puts_each_tap_in_its_place_once():
    """No kernels padded with zeros are added up, whatever the classes of residues."""
    case = Case("classes", (4, 4), (5, 5), stride=2, padding=2)
    geometry = problem_for(case, "first").geometry
    cuts = cut_axes(geometry, (4, 4), (False, False), early=False)
    w = jnp.ones((2, 3, 5, 5))

    def kernels(w):
        return list(kernels_of(w, cuts, groups=1).values())

    made = jax.eval_shape(kernels, w)
    transposed = jax.make_jaxpr(lambda ct: jax.linear_transpose(kernels, w)(ct))(made)
    names = {equation.primitive.name for equation in transposed.eqns}
    assert len(made) == 4
    assert "concatenate" in names
    assert not {"pad", "add", "add_any"} & names
