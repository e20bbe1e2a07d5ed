"""Layouts: every order of the axes is the same call with transposed arrays."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jconvt
import oracles
from cases import Case
from formulations import call_for
from jconvt._call.layout import Layout, data_formats, normalize_layout, spell
from jconvt._lowerings.axes import permute, wrap_axis

FIRST = ("NCHW", "IOHW", "NCHW")
OPTIONS = {
    "H": {"stride": 2, "padding": (1, 0)},
    "W": {"stride": 3, "padding": (0, -2)},
}
SIZES = {"N": 2, "C": 3, "H": 4, "W": 5, "I": 3, "O": 2, "h": 3, "w": 2}


def whole(*shape):
    rng = np.random.default_rng(sum(shape))
    return rng.integers(-4, 5, shape).astype(np.float32)


X, W, BIAS = whole(2, 3, 4, 5), whole(3, 2, 3, 4), whole(2)
EXPECTED = oracles.scatter(
    X, W, BIAS, stride=(2, 3), crop=((1, 0), (0, -2)), dilation=(1, 1)
)


def in_order(letters):
    """Options of the spatial axes, one an axis in the order of these letters."""
    space = [letter for letter in letters if letter in "HW"]
    return {
        name: [OPTIONS[letter][name] for letter in space]
        for name in ("stride", "padding")
    }


def orders(spec):
    return ["".join(letters) for letters in itertools.permutations(spec)]


def check(numbers, given=None):
    """`numbers` as three strings; `given`: as what they are passed."""
    y = jconvt.conv_transpose(
        oracles.permute(X, FIRST[0], numbers[0]),
        oracles.permute(W, FIRST[1], numbers[1]),
        BIAS,
        dimension_numbers=numbers if given is None else given,
        **in_order(numbers[1]),
    )
    expected = oracles.permute(EXPECTED, FIRST[2], numbers[2])
    np.testing.assert_array_equal(y, expected)


# Dimension numbers --------------------------------------------------------------------


@pytest.mark.parametrize("spec", orders("NCHW"))
def test_order_of_the_input(spec):
    check((spec, "HWIO", "NHWC"))


@pytest.mark.parametrize("spec", orders("IOHW"))
def test_order_of_the_weight(spec):
    check(("NHWC", spec, "NCHW"))


@pytest.mark.parametrize("spec", orders("NCHW"))
def test_order_of_the_output(spec):
    check(("NCHW", "IOHW", spec))


def test_any_order_has_the_shape_that_is_said():
    """All 24**3 of them, without arrays."""
    shape = dict(zip("NCHW", X.shape, strict=True))
    weight = dict(zip("IOHW", W.shape, strict=True))
    result = dict(zip("NCHW", EXPECTED.shape, strict=True))
    for numbers in itertools.product(orders("NCHW"), orders("IOHW"), orders("NCHW")):
        said = jconvt.output_shape(
            [shape[letter] for letter in numbers[0]],
            [weight[letter] for letter in numbers[1]],
            dimension_numbers=numbers,
            **in_order(numbers[1]),
        )
        assert said == tuple(result[letter] for letter in numbers[2])


@pytest.mark.parametrize(
    "numbers",
    [
        ("NCHW", "IOHW", "NCHW"),
        ("NHWC", "HWIO", "NHWC"),
        ("HWNC", "OWIH", "WCHN"),
        ("CNWH", "WHOI", "NHCW"),
    ],
    ids="-".join,
)
def test_convdimensionnumbers_of_lax(numbers):
    """lax reads O, I, space from the weight; here I is what `input` has."""
    axes = lax.conv_dimension_numbers([SIZES[c] for c in numbers[0]], [1] * 4, numbers)
    assert isinstance(axes, lax.ConvDimensionNumbers)
    order = [letter for letter in numbers[1] if letter in "HW"]
    # lax sorts the spatial axes of the weight as it sorts those of the input.
    assert [numbers[1][i] for i in axes.rhs_spec[2:]] == order
    check(numbers, given=axes)


def test_a_list_is_a_tuple():
    check(FIRST, given=list(FIRST))


def test_spatial_letters_are_free():
    check(FIRST, given=("NCab", "IOab", "NCab"))
    check(FIRST, given=("NCXY", "IOXY", "NCXY"))
    check(FIRST, given=("NCWH", "IOWH", "NCWH"))  # only the order counts


def test_none_is_channels_first():
    y = jconvt.conv_transpose(X, W, BIAS, **in_order("HW"))
    np.testing.assert_array_equal(y, EXPECTED)


@pytest.mark.parametrize("spec", orders("NCHW"))
def test_unbatched_drops_the_batch_axis(spec):
    """Wherever N stands, in the input and in the output."""
    numbers = (spec, "IOHW", spec[::-1])
    y = jconvt.conv_transpose(
        oracles.permute(X[0], "CHW", spec.replace("N", "")),
        W,
        BIAS,
        dimension_numbers=numbers,
        **in_order("HW"),
    )
    expected = oracles.permute(EXPECTED[0], "CHW", spec[::-1].replace("N", ""))
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("numbers", [("NC", "IO", "NC"), ("CN", "OI", "CN")])
def test_no_space(numbers):
    x, w = whole(2, 3), whole(3, 4)
    y = jconvt.conv_transpose(
        oracles.permute(x, "NC", numbers[0]),
        oracles.permute(w, "IO", numbers[1]),
        dimension_numbers=numbers,
    )
    np.testing.assert_array_equal(y, oracles.permute(x @ w, "NC", numbers[2]))


def test_gradients_are_in_the_layout_of_their_arrays():
    numbers = ("WNCH", "HOWI", "CHNW")
    x, w = (
        oracles.permute(a, s, t)
        for a, s, t in zip((X, W), FIRST, numbers, strict=False)
    )

    def total(x, w):
        options = in_order(numbers[1])
        return jconvt.conv_transpose(x, w, dimension_numbers=numbers, **options).sum()

    dx, dw = jax.grad(total, (0, 1))(x, w)
    geometry = {"stride": (2, 3), "crop": ((1, 0), (0, -2)), "dilation": (1, 1)}
    ones = np.ones(EXPECTED.shape)
    expected = oracles.gradient_of_input(ones, W, space=(4, 5), **geometry)
    np.testing.assert_array_equal(dx, oracles.permute(expected, FIRST[0], numbers[0]))
    expected = oracles.gradient_of_weight(ones, X, kernel=(3, 4), **geometry)
    np.testing.assert_array_equal(dw, oracles.permute(expected, FIRST[1], numbers[1]))


# Data formats -------------------------------------------------------------------------

FUNCTIONS = {
    1: jconvt.conv_transpose1d,
    2: jconvt.conv_transpose2d,
    3: jconvt.conv_transpose3d,
}


def test_names_of_the_data_formats():
    assert data_formats(1) == ("NCW", "NWC")
    assert data_formats(2) == ("NCHW", "NHWC")
    assert data_formats(3) == ("NCDHW", "NDHWC")
    assert not data_formats(4)


@pytest.mark.parametrize("rank", FUNCTIONS)
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
def test_channels_last_leaves_the_weight(rank, batched):
    space, kernel = (3, 4, 2)[:rank], (2, 3, 2)[:rank]
    x, w, bias = whole(2, 4, *space), whole(4, 3, *kernel), whole(6)
    first, last = data_formats(rank)
    if not batched:
        x, first, last = x[0], first.strip("N"), last.strip("N")
    options = {"stride": 2, "groups": 2}
    y = FUNCTIONS[rank](x, w, bias, **options)
    z = FUNCTIONS[rank](
        oracles.permute(x, first, last),
        w,
        bias,
        **options,
        data_format=data_formats(rank)[1],
    )
    np.testing.assert_array_equal(z, oracles.permute(y, first, last))
    shape = tuple(np.shape(z))
    said = jconvt.output_shape(
        oracles.permute(x, first, last).shape,
        w.shape,
        **options,
        data_format=data_formats(rank)[1],
    )
    assert said == shape


def test_the_default_format_is_channels_first():
    for rank, function in FUNCTIONS.items():
        x, w = whole(1, 2, *(3,) * rank), whole(2, 1, *(2,) * rank)
        y = function(x, w, data_format=data_formats(rank)[0])
        np.testing.assert_array_equal(function(x, w), y)


# The layout itself --------------------------------------------------------------------


def test_layouts_by_hand():
    layout = normalize_layout("f", ("NHWC", "HWIO", "CWNH"), 2)
    assert layout == Layout(
        input=(0, 3, 1, 2), weight=(2, 3, 0, 1), output=(2, 0, 3, 1)
    )
    assert layout.spatial((7, 8, 9, 3), batched=True) == (8, 9)
    assert layout.spatial((8, 9, 3), batched=False) == (8, 9)
    assert layout.kernel_size((4, 5, 3, 2)) == (4, 5)
    assert layout.output_shape(7, 2, (16, 18)) == (2, 18, 7, 16)
    assert layout.output_shape(None, 2, (16, 18)) == (2, 18, 16)
    with pytest.raises(ValueError, match="zip"):
        layout.output_shape(7, 2, (16,))


def test_static_is_what_has_ints_for_space():
    b, n = jax.export.symbolic_shape("b, n")
    batched = call_for(Case("2d", (4, 5), (2, 2)))
    single = replace(batched, batched=False)
    assert batched.is_static((b, 3, 4, 5))
    assert single.is_static((3, 4, 5))
    for shape in ((3, n, 5), (3, 4, n)):
        assert not batched.is_static((2, *shape))
        assert not single.is_static(shape)


@pytest.mark.parametrize("rank", range(5))
def test_named_layouts(rank):
    space = "ABDE"[:rank]
    first = (f"NC{space}", f"IO{space}", f"NC{space}")
    last = (f"N{space}C", f"IO{space}", f"N{space}C")
    assert Layout.channels_first(rank) == normalize_layout("f", first, rank)
    assert Layout.channels_last(rank) == normalize_layout("f", last, rank)
    assert normalize_layout("f", None, rank) == Layout.channels_first(rank)


@pytest.mark.parametrize("spec", orders("NCHW"))
def test_moves_between_layouts(spec):
    layout = normalize_layout("f", (spec, "IOHW", spec), 2)
    x = jnp.asarray(oracles.permute(X, "NCHW", spec))
    last = permute(x, layout.input_channels_last)
    np.testing.assert_array_equal(last, oracles.permute(X, "NCHW", "NHWC"))
    np.testing.assert_array_equal(permute(last, layout.output_from_channels_last), x)


# Periodic continuation ----------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("before", "after"),
    [(0, 0), (1, 0), (0, 1), (2, 3), (5, 5), (7, 0), (0, 8), (11, 13), (20, 1)],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_wrap_axis_is_numpys_wrap(n, before, after, axis):
    shape = (n, 2) if axis == 0 else (2, n)
    x = np.arange(2 * n, dtype=np.float32).reshape(shape)
    pads = [(0, 0), (0, 0)]
    pads[axis] = (before, after)
    wrapped = wrap_axis(jnp.asarray(x), axis, before, after)
    np.testing.assert_array_equal(wrapped, np.pad(x, pads, mode="wrap"))


def test_wrap_axis_of_an_unknown_size():
    """Exported once for any size, then called with sizes below and above the wrap."""
    (n,) = jax.export.symbolic_shape("n")
    exported = jax.export.export(jax.jit(lambda x: wrap_axis(x, 0, 4, 6)))(
        jax.ShapeDtypeStruct((n,), jnp.float32)
    )
    for size in (1, 2, 3, 5, 9):
        x = np.arange(size, dtype=np.float32)
        np.testing.assert_array_equal(exported.call(x), np.pad(x, (4, 6), mode="wrap"))


@pytest.mark.parametrize("rank", [0, 4])
def test_no_letters_spell_a_layout_of_other_ranks(rank):
    assert spell(normalize_layout("test", None, rank)) is None
