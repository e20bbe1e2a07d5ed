"""Values and gradients against the scatter oracle, geometry by geometry."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
import oracles
from cases import CORE, GEOMETRIES, PUBLISHED, RULES, TORCH, Case

RANK_FUNCTIONS = {
    1: jconvt.conv_transpose1d,
    2: jconvt.conv_transpose2d,
    3: jconvt.conv_transpose3d,
}
TORCH_LIKE = [case for case in CORE if case.torch_like]
NOT_EMPTY = [
    case
    for case in CORE
    if 0 not in case.input_shape + case.weight_shape + case.output_shape
]
ALWAYS = [
    "lhs_dilation", "phases", "gather", "overlap_add", "tap_sums", "role_swapped",
    "space_to_batch",
]  # fmt: skip
SOMETIMES = ["fused_phases", "matmul", "winograd"]


def front_door(case):
    """The call as a user would write it: by rank and position where possible."""
    if not case.torch_like:
        return lambda x, w, b=None: jconvt.conv_transpose(x, w, b, **case.options)
    function = RANK_FUNCTIONS[case.rank]
    options = (case.stride, case.padding, case.output_padding)
    options += (case.groups, case.dilation)
    return lambda x, w, b=None: function(x, w, b, *options)


def value_and_gradients(function, cotangent, *operands):
    """The value and, for that cotangent, a gradient of each operand, in one program."""

    @jax.jit
    def run(cotangent, *operands):
        value, pull = jax.vjp(function, *operands)
        return value, pull(cotangent)

    return run(cotangent, *operands)


def check(case, function, dtype, to=(), back=(), filtered=False):
    """The function's value and gradients are the oracle's.

    `to` takes input, weight and cotangent into the layout of the call, `back` takes
    value, input gradient and weight gradient out of it. `filtered` functions are held
    to the bound of minimal filtering.
    """
    same = (lambda array: array,) * 3
    to_input, to_weight, to_cotangent = to or same
    from_value, from_input, from_weight = back or same
    x, w, b, g = case.arrays(dtype)
    operands = (to_input(x), to_weight(w)) + (() if b is None else (b,))
    value, gradients = value_and_gradients(function, to_cotangent(g), *operands)
    expected = oracles.expect_value(x, w, b, **case.geometry)
    dx, dw, db = oracles.expect_gradients(g, x, w, **case.geometry)
    if filtered:
        expected = oracles.filtered(expected, case.rank, x, w)
        dx = oracles.filtered(dx, case.rank, g, w)
        dw = oracles.filtered(dw, case.rank, g, x)
    oracles.assert_expected(from_value(value), expected, dtype)
    oracles.assert_expected(from_input(gradients[0]), dx, dtype)
    oracles.assert_expected(from_weight(gradients[1]), dw, dtype)
    if b is not None:
        oracles.assert_expected(gradients[2], db, dtype)


@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
def test_geometry(case):
    check(case, front_door(case), np.float32)


@pytest.mark.parametrize("case", TORCH, ids=str)
def test_published_by_torch(case):
    check(case, front_door(case), np.float32)


@pytest.mark.parametrize("case", [c for c in PUBLISHED if c not in TORCH], ids=str)
def test_published(case):
    x, w, b, _ = case.arrays()
    expected = oracles.expect_value(x, w, b, **case.geometry)
    oracles.assert_expected(front_door(case)(x, w, b), expected, np.float32)


@pytest.mark.parametrize("case", NOT_EMPTY, ids=str)
@pytest.mark.parametrize("lowering", [*ALWAYS, *SOMETIMES])
def test_lowering(case, lowering):
    """Every formulation gives the same map, and four of them serve every geometry."""
    options = {**case.options, "lowering": lowering}

    def function(x, w, b=None):
        return jconvt.conv_transpose(x, w, b, **options)

    if lowering in SOMETIMES:
        skip_if_refused(function, case)
    check(case, function, np.float32, filtered=lowering == "winograd")


TAKEN_FOR_GROUPS = [
    Case("output", (3, 2), (2, 5), stride=(2, 1), padding=(1, 0)),
    Case("weight_gradient", (4, 2), (6, 2), stride=(2, 1), padding=(5, 0)),
    Case("output_swapped", (2, 9), (4, 2), padding=(1, 0), dilation=(2, 1)),
    Case("input_gradient_swapped", (4, 6), (3, 2), padding=(3, 0), dilation=(2, 1)),
]


@pytest.mark.parametrize("lowering", ["auto", "lhs_dilation", "role_swapped"])
@pytest.mark.parametrize("case", TAKEN_FOR_GROUPS, ids=str)
def test_an_axis_that_xla_takes_for_groups(case, lowering):
    """As one convolution of dilated input such maps end the process."""
    function = partial(jconvt.conv_transpose, **case.options, lowering=lowering)
    check(case, function, np.float32)


def skip_if_refused(function, case):
    x, w, b, _ = case.arrays()
    try:
        jax.eval_shape(function, x, w, b)
    except ValueError as error:
        if "cannot serve" not in str(error):
            raise
        pytest.skip(str(error))


# Layouts ------------------------------------------------------------------------------

SPATIAL = ["", "W", "HW", "DHW", "TDHW"]
LAYOUTS = [
    [("CN", "OI", "NC"), ("NC", "OI", "CN")],
    [("NWC", "WIO", "NWC"), ("WCN", "OWI", "CWN"), ("CNW", "IWO", "NCW")],
    [
        ("NHWC", "HWIO", "NHWC"),
        ("CHNW", "OHIW", "WNHC"),
        ("HWNC", "IOHW", "NCHW"),
        ("NWHC", "IHOW", "NCWH"),
    ],
    [
        ("NDHWC", "DHWIO", "NDHWC"),
        ("DCWHN", "HODIW", "CNHDW"),
        ("NCDHW", "WHDOI", "NWHDC"),
    ],
    [("NTDHWC", "TDHWIO", "NTDHWC"), ("TCDHWN", "OTHIDW", "WHNDTC")],
]
EVERY_LAYOUT = [
    pytest.param(case, layout, id=f"{case}-{'_'.join(layout)}")
    for turn, case in enumerate(CORE)
    for layout in [LAYOUTS[case.rank][turn % len(LAYOUTS[case.rank])]]
] + [
    pytest.param(case, layout, id=f"{case}-{'_'.join(layout)}")
    for case in GEOMETRIES
    if case.name in ("2d_uneven_crop", "3d_dilated")
    for layout in LAYOUTS[case.rank]
]


@pytest.mark.parametrize(("case", "layout"), EVERY_LAYOUT)
def test_dimension_numbers_in_double_precision(case, layout):
    space = SPATIAL[case.rank]
    # The options are in the order of the weight's letters.
    order = [space.index(letter) for letter in layout[1] if letter in space]
    padding = case.padding
    if not isinstance(padding, str):
        padding = [case.each(padding)[axis] for axis in order]
    options = {
        name: [case.each(getattr(case, name))[axis] for axis in order]
        for name in ("stride", "output_padding", "dilation")
    }

    def function(x, w, b=None):
        return jconvt.conv_transpose(
            x,
            w,
            b,
            **options,
            padding=padding,
            groups=case.groups,
            dimension_numbers=layout,
        )

    plain = ("NC" + space, "IO" + space, "NC" + space)
    to = [
        lambda array, a=a, b=b: oracles.permute(array, a, b)
        for a, b in zip(plain, layout, strict=True)
    ]
    value_back, input_back, weight_back = (
        lambda array, a=a, b=b: oracles.permute(array, a, b)
        for a, b in zip(
            (layout[2], layout[0], layout[1]),
            (plain[2], plain[0], plain[1]),
            strict=True,
        )
    )
    with jax.enable_x64(True):
        check(case, function, np.float64, to, (value_back, input_back, weight_back))


@pytest.mark.parametrize("case", [c for c in NOT_EMPTY if c.rank], ids=str)
def test_channels_last(case):
    """The common layout, in the type whose convolutions have fast paths."""
    space = SPATIAL[case.rank]
    if case.torch_like:
        function, layout = RANK_FUNCTIONS[case.rank], {"data_format": f"N{space}C"}
    else:
        numbers = (f"N{space}C", f"IO{space}", f"N{space}C")
        function, layout = jconvt.conv_transpose, {"dimension_numbers": numbers}

    def call(x, w, b=None):
        return function(x, w, b, **layout, **case.options)

    last = lambda array: np.moveaxis(array, 1, -1)  # noqa: E731
    first = lambda array: np.moveaxis(array, -1, 1)  # noqa: E731
    same = lambda array: array  # noqa: E731
    check(case, call, np.float32, (last, same, last), (first, first, same))


UNBATCHED = [
    pytest.param(case, layout, id=f"{case}-channels_{layout}")
    for case, layout in zip(TORCH_LIKE, itertools.cycle(["first", "last"]))
    if case.batch
]


@pytest.mark.parametrize(("case", "layout"), UNBATCHED)
def test_unbatched(case, layout):
    """Without a batch axis: the first sample's value, and its gradients."""
    space = SPATIAL[case.rank]
    data_format = f"NC{space}" if layout == "first" else f"N{space}C"
    channels = 0 if layout == "first" else -1
    function = RANK_FUNCTIONS[case.rank]

    def call(x, w, b=None):
        return function(x, w, b, data_format=data_format, **case.options)

    x, w, b, g = case.arrays()
    x, g = x[:1], g[:1]
    put = lambda array: np.moveaxis(array[0], 0, channels)  # noqa: E731
    take = lambda array: np.moveaxis(array, channels, 0)[None]  # noqa: E731
    value, (dx, dw, db) = value_and_gradients(call, put(g), put(x), w, b)
    expected = oracles.expect_value(x, w, b, **case.geometry)
    oracles.assert_expected(take(value), expected, np.float32)
    want_dx, want_dw, want_db = oracles.expect_gradients(g, x, w, **case.geometry)
    oracles.assert_expected(take(dx), want_dx, np.float32)
    oracles.assert_expected(dw, want_dw, np.float32)
    oracles.assert_expected(db, want_db, np.float32)


def test_unbatched_of_no_spatial_axis():
    x, w, b = np.arange(3.0), np.arange(6.0).reshape(3, 2), np.ones(2)
    y = jconvt.conv_transpose(*(jnp.asarray(a, jnp.float32) for a in (x, w, b)))
    np.testing.assert_array_equal(y, x @ w + b)


# Sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GEOMETRIES + PUBLISHED, ids=str)
def test_output_shape(case):
    shape = jconvt.output_shape(case.input_shape, case.weight_shape, **case.options)
    assert shape == case.output_shape
    unbatched = case.input_shape[1:]
    shape = jconvt.output_shape(unbatched, case.weight_shape, **case.options)
    assert shape == case.output_shape[1:]


@pytest.mark.parametrize("padding", RULES)
def test_output_size_of_strings(padding):
    """Against the rules on paper, for all small sizes."""
    for n, k, s, d in itertools.product(*[range(1, 10)] * 3, (1, 2, 3)):
        low, high = RULES[padding](n, k, s, d)
        size = (n - 1) * s + d * (k - 1) + 1 - low - high
        options = {"stride": s, "dilation": d, "padding": padding}
        shape = jconvt.output_shape((1, n), (1, 1, k), **options)
        assert shape == (1, size), (n, k, s, d)


def reachable(n, k, s, d, p):
    smallest = (n - 1) * s + d * (k - 1) + 1 - 2 * p
    return range(smallest, smallest + s)


@pytest.mark.parametrize(
    ("n", "k", "s", "d", "p"),
    [
        (4, 3, 2, 1, 1),
        (3, 4, 3, 1, 0),
        (3, 2, 5, 1, 0),
        (3, 3, 2, 4, 3),
        (3, 3, 1, 5, 2),
    ],
)
def test_output_size_is_the_output_padding_that_reaches_it(n, k, s, d, p):
    case = Case("output_size", (n,), (k,), s, p, 0, d)
    x, w, b, _ = case.arrays()
    options = {"stride": s, "padding": p, "dilation": d}
    for more, size in enumerate(reachable(n, k, s, d, p)):
        geometry = {**case.geometry, "crop": [(p, p - more)]}
        expected = oracles.expect_value(x, w, b, **geometry)
        for y in (
            jconvt.conv_transpose1d(x, w, b, output_size=size, **options),
            jconvt.conv_transpose(x, w, b, output_size=[size], **options),
        ):
            oracles.assert_expected(y, expected, np.float32)
    first, *_, last = [*reachable(n, k, s, d, p), size]
    for size in (first - 1, last + 1):
        with pytest.raises(ValueError, match=rf"{first}.*{last}"):
            jconvt.conv_transpose1d(x, w, b, output_size=size, **options)


def test_output_size_of_two_axes():
    case = Case("output_sizes", (4, 3), (3, 3), (2, 3), (1, 0), (1, 2))
    x, w, b, _ = case.arrays()
    size = case.output_shape[2:]
    y = jconvt.conv_transpose2d(x, w, b, (2, 3), (1, 0), output_size=size)
    expected = oracles.expect_value(x, w, b, **case.geometry)
    oracles.assert_expected(y, expected, np.float32)


def test_output_size_under_strings():
    """The row that `output_size` modifies is that of the string."""
    case = Case("same_output_size", (4,), (5,), stride=3, padding="SAME")
    x, w, b, _ = case.arrays()
    low, high = case.crop[0]
    for more in range(3):
        options = {"stride": 3, "padding": "SAME", "output_size": 12 + more}
        y = jconvt.conv_transpose(x, w, b, **options)
        geometry = {**case.geometry, "crop": [(low, high - more)]}
        oracles.assert_expected(
            y, oracles.expect_value(x, w, b, **geometry), np.float32
        )


# CIRCULAR -----------------------------------------------------------------------------

CIRCULAR = [
    Case("k1", (4,), (1,)),
    Case("k3", (5,), (3,)),
    Case("k4", (5,), (4,)),
    Case("k3_s2", (5,), (3,), stride=2),
    Case("k4_s2", (5,), (4,), stride=2),
    Case("k5_s2", (3,), (5,), stride=2),
    Case("k3_s3", (5,), (3,), stride=3),
    Case("k2_s3_holes", (4,), (2,), stride=3),
    Case("k9_wraps_often", (2,), (9,)),
    Case("k9_s3_wraps_often", (1,), (9,), stride=3),
    Case("k3_s2_d3", (4,), (3,), stride=2, dilation=3),
    Case("k4_s3_d2_groups", (4,), (4,), 3, dilation=2, groups=2, channels=(4, 2)),
    Case("no_batch", (4,), (3,), stride=2, batch=0),
    Case("no_space", (0,), (3,), stride=2),
    Case("2d_uneven", (3, 4), (3, 2), stride=(2, 3)),
    Case("3d", (2, 2, 3), (3, 2, 1), stride=(1, 2, 2)),
]


def jacobian_product(function, operand, cotangent):
    """The cotangent through a linear function, a unit vector at a time."""
    gradient = np.zeros(operand.shape)
    for where in np.ndindex(*operand.shape):
        unit = np.zeros(operand.shape)
        unit[where] = 1
        gradient[where] = np.vdot(function(unit), cotangent)
    return gradient


def assert_gradient(actual, function, operand, other, g):
    oracles.assert_close(
        actual,
        jacobian_product(lambda u: function(u, other), operand, g),
        magnitude=jacobian_product(
            lambda u: function(u, np.abs(other)), operand, np.abs(g)
        ),
        terms=other.size * g.size,
        dtype=np.float32,
    )


@pytest.mark.parametrize("case", CIRCULAR, ids=str)
def test_circular(case):
    options = {k: v for k, v in case.geometry.items() if k != "crop"}

    def function(x, w, b):
        return jconvt.conv_transpose(x, w, b, padding="CIRCULAR", **options)

    x, w, b, _ = case.arrays()
    expected = oracles.expect_circular(x, w, b, **options)
    g = np.random.default_rng(1).normal(size=expected.value.shape).astype(np.float32)
    value, (dx, dw, db) = value_and_gradients(function, g, x, w, b)
    oracles.assert_expected(value, expected, np.float32)
    by_input = partial(oracles.circular, **options)
    by_weight = lambda w, x: oracles.circular(x, w, **options)  # noqa: E731
    assert_gradient(dx, by_input, x, w, g)
    assert_gradient(dw, by_weight, w, x, g)
    oracles.assert_close(
        db,
        oracles.gradient_of_bias(g),
        magnitude=oracles.gradient_of_bias(np.abs(g)),
        terms=g.size,
        dtype=np.float32,
    )


@pytest.mark.parametrize("k", [1, 2, 3, 9])
@pytest.mark.parametrize("n", [1, 8, 16])
def test_circular_constant(n, k):
    """Ones under ones: every output counts taps and channels (Flax's test)."""
    y = jconvt.conv_transpose(np.ones((3, n)), np.ones((3, 2, k)), padding="CIRCULAR")
    np.testing.assert_array_equal(y, np.full((2, n), 3 * k))


# Ways to call -------------------------------------------------------------------------


@pytest.mark.parametrize("case", TORCH_LIKE[::4], ids=str)
def test_eager_is_jitted(case):
    x, w, b, _ = case.arrays()
    np.testing.assert_array_equal(
        front_door(case)(x, w, b), jax.jit(front_door(case))(x, w, b)
    )


@pytest.mark.parametrize("kind", [list, tuple, lambda v: [np.int64(i) for i in v]])
def test_ints_and_sequences_mean_the_same(kind):
    case = Case("sequences", (3, 4), (3, 3), 2, 1, 1, 3, groups=2, channels=(2, 4))
    x, w, b, _ = case.arrays()
    y = jconvt.conv_transpose2d(x, w, b, 2, 1, 1, 2, 3)
    options = (kind([2, 2]), kind([1, 1]), kind([1, 1]), np.int32(2), kind([3, 3]))
    np.testing.assert_array_equal(jconvt.conv_transpose2d(x, w, b, *options), y)
