"""Properties that hold for every geometry, under Hypothesis.

The data are small whole numbers in float32, so sums are exact in any order and laws
are equalities. Geometries come from a pool, so that compiled programs are used again;
the numbers are drawn.
"""

import itertools
from functools import partial

import hypothesis.extra.numpy as hnp
import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jax import lax

import jconvt
import oracles
from cases import GEOMETRIES, RULES, Case
from jconvt._call.geometry import Geometry
from jconvt._lowerings.table import LOWERINGS

WHOLE = [case for case in GEOMETRIES if 0 not in case.input_shape + case.output_shape]
LAST = ("NC", "IO", "NC")  # before the spatial letters

# One of each kind: overlap, holes, blocks, dilation, crop, names, groups, ranks.
POOL = [
    case
    for case in WHOLE
    if case.name
    in (
        "k2_s3_holes",
        "k4_s2_p1",
        "k3_s3_d2_coprime",
        "crop_negative_low",
        "same_k5_s2_odd_overlap",
        "groups_dilated",
        "depthwise_multiplier",
        "2d_uneven",
        "3d_uneven",
    )
]
ONE_GROUP = [case for case in POOL if case.groups == 1]
CROPPED = [case for case in POOL if not isinstance(case.padding, str)]

drawn = settings(
    deadline=None,
    max_examples=4,
    phases=[Phase.generate],  # the numbers do not matter: shrinking them says nothing
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
by_name = {"ids": str}


def whole(*shape):
    """Whole numbers from -4 to 4, as float32."""
    return hnp.arrays(np.float32, shape, elements=st.integers(-4, 4).map(float))


def operands(case):
    return st.tuples(whole(*case.input_shape), whole(*case.weight_shape))


def apply(case, x, w, bias=None, **changed):
    return np.asarray(jconvt.conv_transpose(x, w, bias, **(case.options | changed)))


def pairs(case, *, low=0, high=0):
    """The crop in full, moved by so much at each end."""
    return tuple((a + low, b + high) for a, b in case.crop)


def without(u, crop):
    """What a negative crop appended, cut off.

    lax takes it as a negative padding of the forward convolution, but XLA:CPU then
    reads past its buffer (jaxlib 0.10.2), so no oracle may say it that way.
    """
    window = [
        slice(max(-a, 0), n - max(-b, 0))
        for n, (a, b) in zip(u.shape[2:], crop, strict=True)
    ]
    return u[..., *window]


def bare(case):
    """Options without a crop, for laws that say their own."""
    options = {"padding": 0, "output_padding": 0}
    return {k: v for k, v in case.options.items() if k not in options}


def test_the_pool_has_every_kind():
    assert len(POOL) == 9
    assert {case.rank for case in POOL} == {1, 2, 3}


# The operator -------------------------------------------------------------------------


@pytest.mark.parametrize("case", POOL, **by_name)
@drawn
@given(st.data())
def test_adjoint_of_the_convolution(case, data):
    """<conv(u, w), v> = <u, conv_transpose(v, w)> with lax's forward convolution."""
    v, w = data.draw(operands(case))
    u = data.draw(whole(*case.output_shape))
    letters = "".join("XYZ"[: case.rank])
    forward = lax.conv_general_dilated(
        without(u, case.crop),
        w,
        window_strides=case.each(case.stride),
        padding=[(max(a, 0), max(b, 0)) for a, b in case.crop],
        rhs_dilation=case.each(case.dilation),
        feature_group_count=case.groups,
        dimension_numbers=("NC" + letters, "OI" + letters, "NC" + letters),
    )
    assert forward.shape == v.shape
    assert np.vdot(forward, v) == np.vdot(u, apply(case, v, w))


@pytest.mark.parametrize("case", POOL, **by_name)
@drawn
@given(st.data())
def test_the_definition(case, data):
    x, w = data.draw(operands(case))
    np.testing.assert_array_equal(
        apply(case, x, w), oracles.scatter(x, w, **case.geometry)
    )


@pytest.mark.parametrize("case", POOL, **by_name)
@drawn
@given(st.data())
def test_linear_in_each_operand(case, data):
    (x, w), (x2, w2) = data.draw(operands(case)), data.draw(operands(case))
    a = np.float32(data.draw(st.integers(-3, 3)))
    y = apply(case, x, w)
    np.testing.assert_array_equal(
        apply(case, a * x + x2, w), a * y + apply(case, x2, w)
    )
    np.testing.assert_array_equal(
        apply(case, x, a * w + w2), a * y + apply(case, x, w2)
    )


@pytest.mark.parametrize("case", POOL, **by_name)
@drawn
@given(st.data())
def test_bias_is_added(case, data):
    (x, w), bias = data.draw(operands(case)), data.draw(whole(case.channels[1]))
    expected = apply(case, x, w) + bias.reshape(-1, *[1] * case.rank)
    np.testing.assert_array_equal(apply(case, x, w, bias), expected)


@pytest.mark.parametrize("case", [c for c in POOL if c.groups > 1], **by_name)
@drawn
@given(st.data())
def test_groups_do_not_mix(case, data):
    """Groups are as many calls of one group, side by side."""
    x, w = data.draw(operands(case))
    split = zip(np.split(x, case.groups, 1), np.split(w, case.groups, 0), strict=True)
    parts = [apply(case, a, b, groups=1) for a, b in split]
    np.testing.assert_array_equal(apply(case, x, w), np.concatenate(parts, 1))


@pytest.mark.parametrize("case", ONE_GROUP, **by_name)
@drawn
@given(st.data())
def test_one_group_is_a_sum_over_input_channels(case, data):
    x, w = data.draw(operands(case))
    singles = [
        apply(case, x[:, i : i + 1], w[i : i + 1]) for i in range(case.channels[0])
    ]
    np.testing.assert_array_equal(apply(case, x, w), sum(singles))


@pytest.mark.parametrize("case", POOL, **by_name)
@drawn
@given(st.data())
def test_unbatched_is_a_batch_of_one(case, data):
    (x, w), bias = data.draw(operands(case)), data.draw(whole(case.channels[1]))
    expected = apply(case, x, w, bias)
    for element, y in zip(x, expected, strict=True):
        np.testing.assert_array_equal(apply(case, element, w, bias), y)


# The crop -----------------------------------------------------------------------------


def sliced(full, crop):
    """The full output without the crop; a negative one appends zeros."""
    added = [(0, 0), (0, 0), *((max(-a, 0), max(-b, 0)) for a, b in crop)]
    window = [
        slice(max(a, 0), n + max(-a, 0) + max(-b, 0) - max(b, 0))
        for n, (a, b) in zip(full.shape[2:], [(a, b) for a, b in crop], strict=True)
    ]
    return np.pad(full, added)[..., *window]


@pytest.mark.parametrize("case", POOL, **by_name)
@drawn
@given(st.data())
def test_a_crop_is_a_slice_of_the_full_output(case, data):
    x, w = data.draw(operands(case))
    full = np.asarray(jconvt.conv_transpose(x, w, **bare(case)))
    np.testing.assert_array_equal(apply(case, x, w), sliced(full, case.crop))


@pytest.mark.parametrize("case", POOL, **by_name)
@settings(drawn, max_examples=2)
@given(data=st.data())
def test_a_negative_crop_appends_zeros(case, data):
    x, w = data.draw(operands(case))
    full = np.asarray(jconvt.conv_transpose(x, w, **bare(case)))
    y = jconvt.conv_transpose(x, w, **bare(case), padding=[(-1, -2)] * case.rank)
    around = [(0, 0), (0, 0)] + [(1, 2)] * case.rank
    np.testing.assert_array_equal(y, np.pad(full, around))


@pytest.mark.parametrize("case", [c for c in CROPPED if c.rank == 1], **by_name)
@settings(drawn, max_examples=2)
@given(data=st.data())
def test_output_size_is_output_padding(case, data):
    """Every reachable size, on one axis; nothing else is changed by naming it."""
    x, w = data.draw(operands(case))
    options = {k: v for k, v in case.options.items() if k != "output_padding"}
    base = jconvt.output_shape(x.shape, w.shape, **options)[2]
    for more in range(case.stride):
        np.testing.assert_array_equal(
            jconvt.conv_transpose(x, w, **options, output_padding=more),
            jconvt.conv_transpose(x, w, **options, output_size=base + more),
        )


@pytest.mark.parametrize("name", ["SAME", "SAME_LOWER", "VALID", "CAUSAL"])
@settings(drawn, max_examples=12)
@given(data=st.data())
def test_a_name_is_its_crop(name, data):
    k, s, d = data.draw(st.sampled_from([(4, 2, 1), (5, 2, 1), (2, 3, 1), (3, 2, 3)]))
    x, w = data.draw(whole(1, 2, 4)), data.draw(whole(2, 1, k))
    pads = [RULES[name](4, k, s, d)]
    np.testing.assert_array_equal(
        jconvt.conv_transpose(x, w, stride=s, dilation=d, padding=name),
        jconvt.conv_transpose(x, w, stride=s, dilation=d, padding=pads),
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("kernel", [2, 5])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_names_are_those_of_lax(padding, kernel, stride, dilation):
    """lax does not flip the kernel unless it is told to transpose it."""
    rng = np.random.default_rng(kernel * 100 + stride * 10 + dilation)
    x = rng.integers(-4, 5, (2, 2, 5)).astype(np.float32)
    w = rng.integers(-4, 5, (2, 3, kernel)).astype(np.float32)
    expected = lax.conv_transpose(
        x,
        w[..., ::-1],
        (stride,),
        padding,
        rhs_dilation=(dilation,),
        dimension_numbers=("NCX", "IOX", "NCX"),
    )
    y = jconvt.conv_transpose(x, w, stride=stride, dilation=dilation, padding=padding)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("kernel", [2, 9])
@pytest.mark.parametrize("n", [1, 5])
@settings(drawn, max_examples=2)
@given(data=st.data())
def test_circular_turns_with_its_input(n, kernel, stride, data):
    """A turn of the input by one is a turn of the output by the stride."""
    x, w = data.draw(whole(1, 1, n)), data.draw(whole(1, 1, kernel))
    options = {"stride": stride, "padding": "CIRCULAR"}
    y = np.asarray(jconvt.conv_transpose(x, w, **options))
    turned = jconvt.conv_transpose(np.roll(x, 1, -1), w, **options)
    np.testing.assert_array_equal(turned, np.roll(y, stride, -1))
    assert y.sum() == x.sum() * w.sum()
    expected = oracles.circular(x, w, stride=(stride,), dilation=(1,))
    np.testing.assert_array_equal(y, expected)


# Space --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", POOL, **by_name)
@drawn
@given(st.data())
def test_a_shift_by_one_is_a_shift_by_the_stride(case, data):
    """The last input element is zero, so that a turn moves nothing around the end."""
    x, w = data.draw(operands(case))
    for axis, s in enumerate(case.each(case.stride), start=2):
        still = np.array(x)
        still[(slice(None),) * axis + (-1,)] = 0
        y = jconvt.conv_transpose(still, w, **bare(case))
        moved = jconvt.conv_transpose(np.roll(still, 1, axis), w, **bare(case))
        np.testing.assert_array_equal(moved, np.roll(y, s, axis))


@pytest.mark.parametrize("case", [c for c in POOL if c.rank < 3], **by_name)
@settings(drawn, max_examples=2)
@given(data=st.data())
def test_a_unit_axis_is_no_axis(case, data):
    """A spatial axis of one element and one tap says nothing."""
    x, w = data.draw(operands(case))
    y = apply(case, x, w)
    for axis in range(case.rank + 1):
        changed = {}
        for name in ("stride", "dilation", "padding"):
            value = case.options.get(name)
            if value is not None and not isinstance(value, str):
                values = list(case.each(value))
                values.insert(axis, 0 if name == "padding" else 1)
                changed[name] = values
        if case.output_padding:
            values = list(case.each(case.output_padding))
            changed["output_padding"] = [*values[:axis], 0, *values[axis:]]
        expanded = (np.expand_dims(a, axis + 2) for a in (x, w))
        np.testing.assert_array_equal(
            apply(case, *expanded, **changed), np.expand_dims(y, axis + 2)
        )


@pytest.mark.parametrize("case", [c for c in POOL if c.rank > 1], **by_name)
@settings(drawn, max_examples=2)
@given(data=st.data())
def test_spatial_axes_are_alike(case, data):
    """Space in another order, with its options, gives the output in that order."""
    x, w = data.draw(operands(case))
    order = data.draw(st.permutations(range(case.rank)))
    axes = (0, 1, *(2 + i for i in order))
    names = ("stride", "dilation", "padding", "output_padding")
    turned = {
        name: [case.each(getattr(case, name))[i] for i in order] for name in names
    }
    y = apply(case, x.transpose(axes), w.transpose(axes), **turned)
    np.testing.assert_array_equal(y, apply(case, x, w).transpose(axes))


# Layouts ------------------------------------------------------------------------------

LETTERS = {1: "W", 2: "HW", 3: "DHW"}


@pytest.mark.parametrize("case", POOL, **by_name)
@settings(drawn, max_examples=2)
@given(data=st.data())
def test_dimension_numbers_are_transposes(case, data):
    (x, w), bias = data.draw(operands(case)), data.draw(whole(case.channels[1]))
    first = [channels + LETTERS[case.rank] for channels in LAST]
    numbers = ["".join(data.draw(st.permutations(spec))) for spec in first]
    # Options run in the order of the weight's spatial letters.
    order = [LETTERS[case.rank].index(c) for c in numbers[1] if c not in "IO"]
    turned = {"dimension_numbers": tuple(numbers)}
    for name in ("stride", "dilation", "padding", "output_padding"):
        value = getattr(case, name)
        if not isinstance(value, int | str):
            turned[name] = [value[i] for i in order]
    y = apply(
        case,
        oracles.permute(x, first[0], numbers[0]),
        oracles.permute(w, first[1], numbers[1]),
        bias,
        **turned,
    )
    expected = oracles.permute(apply(case, x, w, bias), first[2], numbers[2])
    np.testing.assert_array_equal(y, expected)


# Shapes -------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GEOMETRIES, **by_name)
def test_output_shape_is_the_shape_of_the_result(case):
    w = np.ones(case.weight_shape, np.float32)
    for shape in (case.input_shape, case.input_shape[1:]):
        x = np.ones(shape, np.float32)
        made = jax.eval_shape(partial(jconvt.conv_transpose, **case.options), x, w)
        said = jconvt.output_shape(shape, case.weight_shape, **case.options)
        assert said == made.shape
        assert said == case.output_shape[len(case.input_shape) - len(shape) :]


# Lowerings ----------------------------------------------------------------------------


def geometry_of(case):
    return Geometry(
        kernel_size=case.kernel,
        stride=case.each(case.stride),
        dilation=case.each(case.dilation),
        crop=case.crop,
        groups=case.groups,
    )


SERVED = [
    pytest.param(case, name, id=f"{name}-{case}")
    for case, (name, row) in itertools.product(POOL, LOWERINGS.items())
    if row.refuses(geometry_of(case), True) is None
]


@pytest.mark.parametrize("name", LOWERINGS)
def test_every_lowering_serves_some(name):
    assert any(row.values[1] == name for row in SERVED)


def check(case, name, x, w, cotangent):
    """Value and both gradients are the definition's, exactly."""

    @jax.jit
    def all_three(x, w, cotangent):
        function = partial(jconvt.conv_transpose, **case.options, lowering=name)
        y, pull = jax.vjp(function, x, w)
        return y, *pull(cotangent)

    space, kernel, geometry = case.space, case.kernel, case.geometry
    expected = (
        oracles.scatter(x, w, **geometry),
        oracles.gradient_of_input(cotangent, w, space=space, **geometry),
        oracles.gradient_of_weight(cotangent, x, kernel=kernel, **geometry),
    )
    for found, wanted in zip(all_three(x, w, cotangent), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("case", "name"), SERVED)
@settings(drawn, max_examples=2)
@given(data=st.data())
def test_lowerings_agree(case, name, data):
    """Value and both gradients are the definition's, so `lhs_dilation`'s."""
    x, w = data.draw(operands(case))
    cotangent = data.draw(whole(*case.output_shape))

    check(case, name, x, w, cotangent)


@st.composite
def small_cases(draw):
    """Any geometry of one axis, small enough to compile in a moment."""
    stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2]))
    space, kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    full = (space - 1) * stride + dilation * (kernel - 1) + 1
    low = draw(st.integers(-3, full - 1))
    high = draw(st.integers(-3, full - 1 - low))
    return Case(
        "small",
        (space,),
        (kernel,),
        stride,
        ((low, high),),
        dilation=dilation,
        groups=groups,
        channels=(groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))),
        batch=draw(st.integers(1, 2)),
    )


@settings(drawn, max_examples=10, phases=settings.default.phases)
@given(small_cases(), st.data())
def test_any_geometry(case, data):
    """The automatic choice and one other lowering, value and gradients."""
    x, w = data.draw(operands(case))
    cotangent = data.draw(whole(*case.output_shape))
    serving = [
        n for n, r in LOWERINGS.items() if not r.refuses(geometry_of(case), True)
    ]
    for name in ("auto", data.draw(st.sampled_from(serving))):
        check(case, name, x, w, cotangent)
