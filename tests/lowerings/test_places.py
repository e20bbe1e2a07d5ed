"""Where residues and taps stand in the output, against an element at a time."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import Case
from formulations import one_map, variants_of
from jconvt._call.problem import Map
from jconvt._lowerings.patches.places import Place, scatter_sum, split_features
from jconvt._lowerings.patches.sheet import Sheet
from jconvt._lowerings.work import Variant
from programs import equations

PLACES = st.builds(Place, start=st.integers(-9, 9), step=st.integers(1, 4))


def placed(values, along, out):
    """Each value by itself."""
    result = np.zeros(out)
    for i, value in enumerate(values):
        at = along.start + i * along.step
        if 0 <= at < out:
            result[at] += value
    return result


@given(PLACES, st.integers(1, 6), st.integers(1, 12))
def test_an_axis(along, count, out):
    values = np.arange(1.0, count + 1)
    found = along.spread(values.astype(np.float32), 0, out)
    np.testing.assert_array_equal(found, placed(values, along, out))


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_several_arrays_on_two_axes_are_added(first):
    rng = np.random.default_rng(0)
    arrays = rng.integers(-9, 9, (2, 3, 4)).astype(np.float32)
    places = [(Place(-1, 2), Place(1, 1)), (Place(0, 2), Place(-2, 3))]
    expected = np.zeros((4, 6))
    for y, (rows, columns) in zip(arrays, places, strict=True):
        spread = np.array([placed(row, columns, 6) for row in y])
        expected += np.array([placed(column, rows, 4) for column in spread.T]).T
    shaped = [y[None, None] if first else y[None, :, :, None] for y in arrays]
    made = zip(shaped, places, strict=True)
    found = scatter_sum(made, (4, 6), Sheet(first, rank=2, groups=1))
    np.testing.assert_array_equal(np.squeeze(found), expected)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_features_are_split(first, groups):
    """(count, O) in each group: each array has the O of every group."""
    count, out, batch, size = 3, 2, 2, (4, 5)
    m = np.arange(groups * count * out * batch * 20, dtype=np.float32)
    m = m.reshape(groups, count, out, batch, *size)
    expected = [m[:, i].reshape(groups * out, batch, *size) for i in range(count)]
    m = m.reshape(groups, count * out, -1)
    if not first:
        expected = [np.moveaxis(y, 0, -1) for y in expected]
        m = np.swapaxes(m, 1, 2)
    m = m[0] if groups == 1 else m
    found = split_features(m, count, Sheet(first, 2, groups), (batch, *size))
    for y, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(y, other)


@pytest.mark.parametrize("slot", [Map.INPUT, Map.WEIGHT])
@pytest.mark.parametrize("lowering", ["gather", "winograd", "overlap_add"])
def test_a_cotangent_is_read_by_strides(lowering, slot):
    """Each residue or tap by one strided slice, where that is faster."""
    case = Case("k4_s2_p1", (5, 6), (4, 4), 2, 1, groups=2, channels=(4, 4))
    read = set()
    for name, variant in variants_of(lowering, case).items():
        function, operands = one_map(slot, lowering, case, variant)
        with jax.enable_x64(True):
            found = equations("slice", function, *operands)
        strides = [equation.params["strides"] for equation in found]
        if any(along and max(along) > 1 for along in strides):
            read.add(name)
    assert (
        read
        == {
            "gather": {"features first, blocks early", "features last, blocks early"},
            "winograd": {"features last, blocks early"},
            "overlap_add": {"features last", "features last, weight as given"},
        }[lowering]
    )


@pytest.mark.parametrize(
    ("first", "stride", "sliced"),
    [
        (True, 32, True),
        (True, 33, False),
        (False, 8, True),
        (False, 9, False),
    ],
)
@pytest.mark.parametrize("made", [Map.INPUT, Map.WEIGHT], ids=str)
def test_many_residues_are_not_read_one_by_one(made, first, stride, sliced):
    """A slice for each takes long to compile, and to run."""
    case = Case("blocks", (4,), (stride,), stride)
    function, operands = one_map(made, "gather", case, Variant(first=first), "first")
    with jax.enable_x64(True):
        text = jax.jit(function).lower(*operands).as_text()
    assert (text.count("stablehlo.slice") >= stride) == sliced
