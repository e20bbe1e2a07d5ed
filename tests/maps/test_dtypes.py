"""Every number type: values, promotion, and what sums are taken in."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jconvt
import oracles
from cases import Case, random
from formulations import serves
from jconvt._lowerings.table import LOWERINGS

CASES = [
    Case("overlap", (4,), (4,), stride=2, padding=1, channels=(3, 4)),
    Case("blocks", (3, 2), (2, 2), stride=2, channels=(3, 2)),
    Case("groups_dilated", (4,), (3,), 2, 1, 1, 3, 2, (4, 4)),
    Case("depthwise", (4, 3), (3, 3), 2, 1, groups=3, channels=(3, 3)),
    Case("volume", (2, 2, 2), (3, 2, 3), 2, 1, channels=(2, 2)),
]
NARROW_FLOATS = [jnp.float16, jnp.bfloat16]
FLOATS = [*NARROW_FLOATS, np.float32, np.float64]
COMPLEX = [np.complex64, np.complex128]
BITS = (8, 16, 32, 64)
INTEGERS = [np.dtype(f"{u}int{n}").type for u in ("", "u") for n in BITS]
WIDE = {np.float64, np.complex128, np.int64, np.uint64}


def name(dtype):
    return np.dtype(dtype).name


def names(dtypes):
    return "-".join(name(dtype) for dtype in dtypes if dtype is not None)


def precision_of(*dtypes):
    """The context in which JAX has these types."""
    if any(np.dtype(dtype).type in WIDE for dtype in dtypes):
        return jax.enable_x64(True)
    return contextlib.nullcontext()


def call(case, x, w, b=None, **options):
    return jconvt.conv_transpose(x, w, b, **case.options, **options)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX, *INTEGERS], ids=name)
def test_value(case, dtype):
    """Integers wrap: their arrays are of the type's whole range."""
    x, w, b, _ = case.arrays(dtype)
    with precision_of(dtype):
        y = call(case, x, w, b)
    oracles.assert_expected(y, oracles.expect_value(x, w, b, **case.geometry), dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", [*NARROW_FLOATS, *COMPLEX], ids=name)
def test_gradients(case, dtype):
    x, w, b, g = case.arrays(dtype)
    with precision_of(dtype):
        pull = jax.jit(lambda g, *o: jax.vjp(lambda *o: call(case, *o), *o)[1](g))
        gradients = pull(g, x, w, b)
    expected = oracles.expect_gradients(g, x, w, **case.geometry)
    for actual, desired in zip(gradients, expected, strict=True):
        oracles.assert_expected(actual, desired, dtype)


# Promotion ----------------------------------------------------------------------------

MIXED = [
    (np.float32, jnp.bfloat16, None),
    (jnp.bfloat16, np.float32, None),
    (jnp.float16, jnp.bfloat16, None),
    (np.int8, np.float32, None),
    (np.float32, np.complex64, None),
    (np.int8, np.uint8, None),
    (np.uint8, np.int32, None),
    (np.int32, jnp.float16, None),
    (np.float32, np.float32, np.complex64),
    (jnp.bfloat16, jnp.bfloat16, np.float32),
    (np.float32, np.float32, jnp.bfloat16),
    (np.int8, np.int8, np.int32),
    (np.int32, np.int32, np.float32),
    (np.float32, np.float64, None),
    (np.int64, np.float32, np.complex64),
    (np.int64, np.uint64, None),
]


def drawn(dtype):
    """Small integers, which every type that they promote to holds."""
    return np.int8 if np.dtype(dtype).kind in "iu" else dtype


@pytest.mark.parametrize("case", CASES[:2], ids=str)
@pytest.mark.parametrize("dtypes", MIXED, ids=names)
def test_mixed_types_promote_as_jax_promotes(case, dtypes):
    given = [dtype for dtype in dtypes if dtype is not None]
    with precision_of(*given):
        rng = np.random.default_rng(0)
        shapes = [case.input_shape, case.weight_shape, case.channels[1:]]
        arrays = [
            jnp.asarray(random(rng, shape, drawn(dtype)), dtype)
            for shape, dtype in zip(shapes, given, strict=False)
        ]
        promoted = jnp.result_type(*arrays)
        y = call(case, *arrays)
        # The operands are rounded to the promoted type before anything is summed.
        expected = oracles.expect_value(
            *(np.asarray(array.astype(promoted)) for array in arrays), **case.geometry
        )
    oracles.assert_expected(y, expected, promoted)


@pytest.mark.parametrize("x_type", [np.float32, np.int8], ids=name)
def test_gradients_have_the_types_of_the_operands(x_type):
    case = CASES[0]
    x, w, b, _ = case.arrays()
    x, w = x.astype(x_type), w.astype(jnp.bfloat16)
    floats = (0, 1, 2) if x_type is np.float32 else (1, 2)
    loss = jax.grad(lambda *o: call(case, *o).sum(), argnums=floats)
    operands = (x, w, b)
    for gradient, i in zip(loss(x, w, b), floats, strict=True):
        assert gradient.dtype == operands[i].dtype
        assert gradient.shape == operands[i].shape


def test_strict_promotion_is_jax_own_error():
    x, w, b, _ = CASES[0].arrays()
    with jax.numpy_dtype_promotion("strict"):
        for operands in ((x, w.astype(np.float16), b), (x, w, b.astype(np.float16))):
            with pytest.raises(ValueError, match="numpy_dtype_promotion") as caught:
                call(CASES[0], *operands)
            assert caught.type.__name__ == "TypePromotionError"
        assert call(CASES[0], x, w, b).dtype == np.float32


@pytest.mark.parametrize("argument", ["input", "weight", "bias"])
@pytest.mark.parametrize("function", [jconvt.conv_transpose, jconvt.conv_transpose1d])
def test_bool_is_a_type_error(function, argument):
    x, w, b, _ = CASES[0].arrays()
    operands = {"input": x, "weight": w, "bias": b}
    operands[argument] = np.ones(operands[argument].shape, bool)
    with pytest.raises(TypeError, match=argument):
        function(**operands)


def test_without_x64_wide_arrays_are_narrowed_as_by_jax():
    x, w, b, _ = CASES[0].arrays(np.float64)
    y = call(CASES[0], *map(jnp.asarray, (x, w, b)))
    assert y.dtype == np.float32
    assert call(CASES[0], x, w, b).dtype == np.float32
    assert call(CASES[0], x.astype(np.int64), w.astype(np.int64)).dtype == np.int32


# preferred_element_type ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "preferred"),
    [
        *(
            (dtype, None)
            for dtype in (*NARROW_FLOATS, np.complex64, np.int8, np.uint16)
        ),
        *((np.int8, np.int32), (np.int8, np.float32), (np.uint16, np.uint32)),
        *((jnp.bfloat16, np.float32), (np.float16, np.float32)),
    ],
    ids=lambda dtype: dtype and name(dtype),
)
@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_what_jconvt_takes_plain_lax_takes(dtype, preferred, batch, groups):
    """All derivatives and maps, of the types that other lowerings give."""
    x, w = np.ones((batch, 4, 5), dtype), np.ones((4, 2, 3), dtype)

    def types(lowering):
        def f(x, w):
            return jconvt.conv_transpose(
                x, w, stride=2, padding="CIRCULAR", groups=groups,
                preferred_element_type=preferred, lowering=lowering,
            )  # fmt: skip

        def gradients(x, w):
            y, pull = jax.vjp(f, x, w)
            return y, pull(y)

        def tangents(x, w):
            return jax.jvp(gradients, (x, w), (x, w))

        inexact = jnp.issubdtype(dtype, jnp.inexact)
        many = np.stack([x] * 3), np.stack([w] * 3)
        return [
            jax.eval_shape(asked, *operands)
            for g in ([f, gradients, tangents] if inexact else [f])
            for asked, *operands in (
                (g, x, w),
                (jax.vmap(g, (0, None)), many[0], w),
                (jax.vmap(g, (None, 0)), x, many[1]),
                (jax.vmap(g), *many),
            )
        ]

    assert types("lhs_dilation") == types("auto")


@pytest.mark.parametrize("operand", [0, 1])
@pytest.mark.parametrize("dtype", [np.int8, np.uint32], ids=name)
def test_integers_have_no_transpose(dtype, operand):
    x, w, _, _ = CASES[0].arrays(dtype)
    arrays = [x, w]

    def of_one(a):
        return call(CASES[0], *arrays[:operand], a, *arrays[operand + 1 :])

    pull = jax.linear_transpose(of_one, arrays[operand])
    with pytest.raises(TypeError, match=f"conv_transpose: .*{name(dtype)}.*floats"):
        pull(call(CASES[0], x, w))


PREFERRED = [
    (np.int8, np.int32),
    (np.uint8, np.uint32),
    (np.int16, np.int32),
    (jnp.bfloat16, np.float32),
    (jnp.float16, np.float32),
    (np.float32, np.float64),
    (np.int8, np.int64),
    (np.complex64, np.complex128),
    (np.float32, np.float32),
]


def test_integers_may_give_floats():
    """Sums of int8 that no int8 holds, and float32 holds exactly."""
    x, w = np.full((1, 300, 2), 100, np.int8), np.full((300, 1, 1), 100, np.int8)
    y = jconvt.conv_transpose1d(x, w, stride=2, preferred_element_type=np.float32)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, [[[3e6, 0, 3e6]]])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtypes", PREFERRED, ids=names)
def test_preferred_element_type(case, dtypes):
    """The sum is taken in that type: int8 does not wrap, bfloat16 is not rounded."""
    given, preferred = dtypes
    x, w, b, _ = case.arrays(given)
    with precision_of(preferred):
        y = call(case, x, w, b, preferred_element_type=preferred)
    expected = oracles.expect_value(x, w, b, **case.geometry)
    oracles.assert_expected(y, expected, preferred)


@pytest.mark.parametrize("dtype", NARROW_FLOATS, ids=name)
def test_gradients_under_preferred_element_type(dtype):
    """The cotangent is wide, the gradients have the operands' narrow type."""
    case = CASES[0]
    x, w, b, _ = case.arrays(dtype)
    g = case.arrays()[3]
    pull = jax.vjp(
        lambda *o: call(case, *o, preferred_element_type=np.float32), x, w, b
    )[1]
    expected = oracles.expect_gradients(g, x, w, **case.geometry)
    for actual, desired in zip(pull(g), expected, strict=True):
        assert actual.dtype == dtype
        # What type the wide cotangent is multiplied in is open: one rounding more.
        error = np.abs(oracles.widen(actual) - desired.value)
        assert (error <= 2 * float(jnp.finfo(dtype).eps) * desired.magnitude).all()


# Accumulation -------------------------------------------------------------------------

LONG = [
    Case("channels", (3,), (2,), stride=2, channels=(4096, 1), batch=1, bias=False),
    Case("taps", (64,), (64,), channels=(64, 1), padding=63, batch=1, bias=False),
    Case("taps_s2", (64,), (64,), 2, channels=(64, 1), padding=31, batch=1, bias=False),
    Case("groups", (2,), (4,), 2, groups=2, channels=(4096, 2), batch=1, bias=False),
    Case("depthwise", (16, 16), (16, 16), 1, 15, 0, 1, 2, (2, 2), 1, bias=False),
    Case("volume", (4, 4, 4), (4, 4, 4), 1, 3, channels=(64, 1), batch=1, bias=False),
]


@pytest.mark.parametrize("case", LONG, ids=str)
@pytest.mark.parametrize("dtype", NARROW_FLOATS, ids=name)
def test_sixteen_bits_accumulate_in_float32(case, dtype):
    """Thousands of ones and halves: a narrow running sum stops growing long before."""
    x, w, _, _ = (np.abs(a) if a is not None else a for a in case.arrays(dtype))
    y = call(case, x, w)
    oracles.assert_expected(y, oracles.expect_value(x, w, **case.geometry), dtype)


@pytest.mark.parametrize("case", LONG[:2], ids=str)
def test_narrow_accumulation_would_be_caught(case):
    """The canary: the same sum, kept in bfloat16, is outside the bound."""
    x, w, _, _ = (np.abs(a) if a is not None else a for a in case.arrays(jnp.bfloat16))
    expected = oracles.expect_value(x, w, **case.geometry)
    where = np.unravel_index(np.argmax(expected.value), expected.value.shape)
    products = np.sort((expected.value[where] / 4096) * np.ones(4096))
    total = jnp.bfloat16(0)
    for product in products:
        total = jnp.bfloat16(float(total) + product)
    with pytest.raises(AssertionError, match="elements are off"):
        oracles.assert_close(
            total,
            expected.value[where],
            magnitude=expected.magnitude[where],
            terms=expected.terms,
            dtype=jnp.bfloat16,
        )


@pytest.mark.parametrize("dtype", NARROW_FLOATS, ids=name)
def test_gradients_accumulate_in_float32(dtype):
    """Sums over batch and space (weight, bias) and over output channels (input)."""
    case = Case("gradients", (4096,), (2,), stride=2, channels=(1, 64), batch=1)
    x, w, b, g = (np.abs(array) for array in case.arrays(dtype))
    gradients = jax.vjp(lambda *o: call(case, *o), x, w, b)[1](g)
    expected = oracles.expect_gradients(g, x, w, **case.geometry)
    for actual, desired in zip(gradients, expected, strict=True):
        oracles.assert_expected(actual, desired, dtype)


@pytest.mark.parametrize(
    "lowering", ["lhs_dilation", "phases", "gather", "overlap_add", "tap_sums"]
)
@pytest.mark.parametrize("dtype", NARROW_FLOATS, ids=name)
def test_every_lowering_rounds_once(dtype, lowering):
    case = Case("overlap", (16,), (12,), stride=2, channels=(8, 4), bias=False)
    x, w, _, _ = case.arrays(dtype)
    y = call(case, x, w, lowering=lowering)
    expected = oracles.expect_value(x, w, **case.geometry)
    # No bias, so no rounding but the last.
    oracles.assert_close(
        y,
        expected.value,
        magnitude=expected.magnitude,
        terms=expected.terms,
        dtype=dtype,
    )


# The transpose of what reads an element many times adds up as many parts of a gradient.
MANY_PARTS = [
    Case("taps", (9, 9), (9, 9), padding=4, channels=(4, 2), batch=1, bias=False),
    Case("phases", (5, 5), (16, 12), (8, 6), channels=(4, 2), batch=1, bias=False),
    Case("shares", (64,), (64,), padding=31, channels=(2, 8), batch=1, bias=False),
]


@pytest.mark.parametrize(
    ("case", "lowering"),
    [
        pytest.param(case, lowering, id=f"{case}-{lowering}")
        for case in MANY_PARTS
        for lowering in ("auto", *LOWERINGS)
        # A filter's error has another bound.
        if lowering != "winograd" and (lowering == "auto" or serves(lowering, case))
    ],
)
def test_parts_of_an_input_gradient_are_added_in_float32(case, lowering):
    x, w, g = (np.abs(a) for a in case.arrays(jnp.float16) if a is not None)

    @jax.jit
    def gradient(w, g):
        pull = jax.linear_transpose(lambda x: call(case, x, w, lowering=lowering), x)
        return pull(g)[0]

    expected, _, _ = oracles.expect_gradients(g, x, w, **case.geometry)
    oracles.assert_close(
        gradient(w, g),
        expected.value,
        magnitude=expected.magnitude,
        terms=expected.terms,
        dtype=jnp.float16,
        # One rounding, but what a share of space adds is itself rounded before.
        biased=lowering == "space_to_batch",
    )


@pytest.mark.parametrize("dtype", NARROW_FLOATS, ids=name)
def test_shares_of_an_input_gradient_are_added_in_float32(dtype):
    """Beside the middle share's part, 16 bits lose those of the seven others."""
    case = Case("eight", (64,), (64,), padding=((31, 32),), channels=(1, 1), batch=1)
    x, w = np.zeros(case.input_shape, dtype), np.ones(case.weight_shape, dtype)
    g = np.zeros(case.output_shape, dtype)
    g[..., ::8] = 0.75
    g[..., 32] = 2 / jnp.finfo(dtype).eps  # from where on two numbers are two apart

    def shares(x):
        return call(case, x, w, lowering="space_to_batch")

    expected, _, _ = oracles.expect_gradients(g, x, w, **case.geometry)
    found = jax.jit(lambda g: jax.linear_transpose(shares, x)(g)[0])(g)
    np.testing.assert_array_equal(found, expected.value.astype(dtype))


@pytest.mark.parametrize("shared", [False, True], ids=["whole", "shard_map"])
@pytest.mark.parametrize("dtype", NARROW_FLOATS, ids=name)
def test_the_ends_of_a_periodic_input_are_added_in_float32(dtype, shared):
    """Here each element is read in 16 periods."""
    case = Case("periods", (4,), (64,), channels=(2, 2), batch=1, bias=False)
    rng = np.random.default_rng(0)
    w, g = (
        np.abs(rng.normal(size=shape)).astype(dtype)
        for shape in (case.weight_shape, (1, 2, 4))
    )
    x = jax.ShapeDtypeStruct(case.input_shape, dtype)

    def up(x, w):
        return jconvt.conv_transpose(x, w, padding="CIRCULAR")

    if shared:
        mesh = jax.make_mesh((1,), ("d",), axis_types=(AxisType.Auto,))
        up = jax.shard_map(up, mesh=mesh, in_specs=(P("d"), P()), out_specs=P("d"))

    def gradient(w, g):
        return jax.vjp(lambda x: up(x, w), jnp.zeros(x.shape, dtype))[1](g)[0]

    basis = np.eye(8).reshape(8, *case.input_shape[1:])
    reached = oracles.circular(basis, w, stride=(1,), dilation=(1,))
    value = (reached * oracles.widen(g)).sum((1, 2)).reshape(case.input_shape)
    expected = oracles.Expected(value, value, 2 * 64)
    oracles.assert_expected(jax.jit(gradient)(w, g), expected, dtype)


ENDS = Case("ends", (3,), (4,), channels=(1, 2), batch=1, bias=False)


@pytest.mark.parametrize("shared", [False, True], ids=["whole", "shard_map"])
@pytest.mark.parametrize(
    "lowering", ["auto", *(name for name in LOWERINGS if serves(name, ENDS))]
)
@pytest.mark.parametrize("dtype", NARROW_FLOATS, ids=name)
def test_the_ends_of_a_periodic_input_are_rounded_with_their_sum(
    dtype, lowering, shared
):
    """Of an element's two shares, 1 + eps/4 and -1, eps/4 is left, or nothing."""
    left = float(jnp.finfo(dtype).eps) / 4
    w = jnp.asarray([[[1, 0, 0, -1], [left, 0, 0, 0]]], dtype)
    ones = jnp.ones((1, 2, 3), dtype)

    def up(x, w):
        return jconvt.conv_transpose(x, w, padding="CIRCULAR", lowering=lowering)

    if shared:
        mesh = jax.make_mesh((1,), ("d",), axis_types=(AxisType.Auto,))
        up = jax.shard_map(up, mesh=mesh, in_specs=(P("d"), P()), out_specs=P("d"))

    @jax.jit
    def gradient(w, g):
        return jax.vjp(lambda x: up(x, w), jnp.zeros(ENDS.input_shape, dtype))[1](g)[0]

    np.testing.assert_array_equal(
        gradient(w, ones), np.full(ENDS.input_shape, left, dtype)
    )


# Filters ------------------------------------------------------------------------------

FILTERED = [
    Case("two_taps", (5,), (4,), stride=2, padding=1, channels=(8, 3), bias=False),
    Case("three_taps", (6,), (3,), padding=1, channels=(8, 3), bias=False),
    Case("both", (3, 4), (5, 2), (2, 1), (1, 0), channels=(3, 2), bias=False),
]


@pytest.mark.parametrize("case", FILTERED, ids=str)
@pytest.mark.parametrize("dtype", INTEGERS, ids=name)
def test_filters_leave_integers_exact(case, dtype):
    """A filter of 3 taps has halves, which integers have not."""
    x, w, _, _ = case.arrays(dtype)
    with precision_of(dtype):
        y = call(case, x, w, lowering="winograd")
    oracles.assert_expected(y, oracles.expect_value(x, w, **case.geometry), dtype)


@pytest.mark.parametrize("case", FILTERED, ids=str)
@pytest.mark.parametrize("dtype", NARROW_FLOATS, ids=name)
def test_filters_do_not_round_to_sixteen_bits(case, dtype):
    """Sums of elements and of taps are kept in float32; the result is rounded once."""
    x, w, _, _ = case.arrays(dtype)
    y = call(case, x, w, lowering="winograd")
    expected = oracles.expect_value(x, w, **case.geometry)
    expected = oracles.filtered(expected, case.rank, x, w)
    oracles.assert_close(
        y,
        expected.value,
        magnitude=expected.magnitude,
        terms=expected.terms,
        dtype=dtype,
    )
