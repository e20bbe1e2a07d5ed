"""The initializers: bounds, moments, dtypes, errors, and what layers do with them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconvt
import jconvt.nnx
import oracles
from jconvt.initializers import bilinear, icnr, torch_uniform

KEY = jax.random.key(0)

# Constructor arguments of a ConvTranspose2d and the fan-in that PyTorch gives it.
FAN_INS = {
    "square": ((64, 32, 5), {}, 32 * 25),
    "more out than in": ((2, 300, (1, 4)), {"stride": 3}, 300 * 4),
    "groups": ((48, 96, 3), {"groups": 4}, 24 * 9),
    "depthwise": ((96, 96, 3), {"groups": 96}, 9),
}


@pytest.mark.parametrize("fan_in", [1, 7, 1600])
def test_uniform_in_its_bounds(fan_in):
    n, bound = 200_000, 1 / math.sqrt(fan_in)
    values = np.asarray(torch_uniform(fan_in=fan_in)(KEY, (n,)), np.float64)

    assert np.float32(-bound) <= values.min() < -0.999 * bound
    assert 0.999 * bound < values.max() <= np.float32(bound)
    # Moments of U(-b, b), each within five standard errors.
    for power, moment in [(1, 0), (2, 1 / 3), (3, 0), (4, 1 / 5)]:
        error = math.sqrt((1 / (2 * power + 1) - moment**2) / n)
        assert abs(np.mean((values / bound) ** power) - moment) < 5 * error
    counts, _ = np.histogram(values, bins=100, range=(-bound, bound))
    chi_squared = np.sum((counts - n / 100) ** 2 / (n / 100))
    assert 40 < chi_squared < 180  # 99 degrees of freedom: 99 +- 14


def test_the_fan_in_is_the_weights_own():
    derived = torch_uniform()(KEY, (2, 3, 5, 7))
    np.testing.assert_array_equal(
        derived, torch_uniform(fan_in=3 * 5 * 7)(KEY, (2, 3, 5, 7))
    )
    assert torch_uniform()(KEY, (2, 3)).shape == (2, 3)


@pytest.mark.parametrize("name", FAN_INS)
def test_layers_draw_between_the_bounds_of_pytorch(name, monkeypatch):
    torch = pytest.importorskip("torch")
    args, options, fan_in = FAN_INS[name]

    theirs = []
    monkeypatch.setattr(
        torch.Tensor,
        "uniform_",
        lambda self, low, high, **_: theirs.append((tuple(self.shape), low, high)),
    )
    torch.nn.ConvTranspose2d(*args, **options)
    ours = []

    def record(key, shape, dtype, low, high, **_):
        ours.append((shape, low, high))
        return jnp.asarray(np.zeros(shape, dtype))

    monkeypatch.setattr(jax.random, "uniform", record)
    jconvt.nnx.ConvTranspose2d(*args, **options, rngs=nnx.Rngs(0))

    bound = 1 / math.sqrt(fan_in)
    assert [shape for shape, *_ in ours] == [shape for shape, *_ in theirs]
    for (_, low, high), (_, their_low, their_high) in zip(ours, theirs, strict=True):
        assert (low, high) == (-bound, bound)
        assert (their_low, their_high) == pytest.approx((-bound, bound), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_dtype(dtype):
    called = torch_uniform(fan_in=4)(KEY, (1000,), dtype)
    built = torch_uniform(fan_in=4, dtype=dtype)(KEY, (1000,))
    assert called.dtype == built.dtype == jnp.dtype(dtype)
    np.testing.assert_array_equal(called, built)
    # As in PyTorch, the parts of a complex number are drawn one by one.
    parts = [called.real, called.imag] if dtype == "complex64" else [called]
    assert all(0.49 < float(abs(part).max()) <= 0.5 for part in parts)
    assert not (dtype == "complex64" and jnp.array_equal(*parts))


def test_default_dtype_is_that_of_jax():
    for wide, dtype in ((False, jnp.float32), (True, jnp.float64)):
        with jax.enable_x64(wide):
            assert torch_uniform()(KEY, (1, 1)).dtype == dtype


def test_without_elements():
    assert torch_uniform()(KEY, (4, 0, 3)).shape == (4, 0, 3)
    assert torch_uniform(fan_in=0)(KEY, (0,)).shape == (0,)


def test_traces():
    shape = jax.eval_shape(lambda key: torch_uniform()(key, (2, 3, 4)), KEY)
    assert (shape.shape, shape.dtype) == ((2, 3, 4), jnp.result_type(float))


# bilinear -----------------------------------------------------------------------------


def resized(x, factors, corners):
    """Linear interpolation by `np.interp`, axis by axis; outside, the nearest element.

    With `corners` from the first element to the last; else by pixels, so that output o
    stands at (o + 1/2)/factor - 1/2.
    """
    for axis, f in enumerate(factors, start=2):
        n = x.shape[axis]
        at = np.arange((n - 1) * f + 1) / f
        if not corners:
            at = (np.arange(n * f) + 0.5) / f - 0.5
        line = lambda values, at=at, n=n: np.interp(at, np.arange(n), values)  # noqa: E731
        x = np.apply_along_axis(line, axis, x)
    return x


FACTORS = [(1,), (2,), (3,), (4,), (5,), (2, 3), (4, 4), (3, 1), (2, 3, 4), (5, 2, 2)]


def upsampled(x, factors, taps, padding, groups=1):
    """A layer of these initial weights, in float64."""
    channels = x.shape[1]
    with jax.enable_x64(True):
        shape = (channels, channels // groups, *taps)
        weight = bilinear(factor=factors, groups=groups)(None, shape)
        options = {"stride": factors, "padding": padding, "groups": groups}
        return np.asarray(jconvt.conv_transpose(x, weight, **options))


@pytest.mark.parametrize("factors", FACTORS, ids=str)
def test_bilinear_with_aligned_corners(factors):
    """Exact everywhere, so constants too."""
    space = (5, 3, 4)[: len(factors)]
    x = np.random.default_rng(0).normal(size=(2, 3, *space))
    taps = [2 * f - 1 for f in factors]
    y = upsampled(x, factors, taps, [f - 1 for f in factors])
    np.testing.assert_allclose(y, resized(x, factors, True), rtol=0, atol=1e-14)
    ones = upsampled(np.ones_like(x), factors, taps, [f - 1 for f in factors])
    np.testing.assert_allclose(ones, 1, rtol=0, atol=1e-15)


@pytest.mark.parametrize("factors", FACTORS, ids=str)
def test_bilinear_by_pixels(factors):
    """Exact but for half a factor at each end; constants too."""
    space = (5, 3, 4)[: len(factors)]
    x = np.random.default_rng(0).normal(size=(2, 3, *space))
    taps = [2 * f - f % 2 for f in factors]
    y = upsampled(x, factors, taps, "SAME")
    assert y.shape[2:] == tuple(n * f for n, f in zip(space, factors, strict=True))
    inside = (
        ...,
        *(slice(f // 2, y.shape[2 + i] - f // 2) for i, f in enumerate(factors)),
    )
    expected = resized(x, factors, False)
    np.testing.assert_allclose(y[inside], expected[inside], rtol=0, atol=1e-14)
    jaxs = jax.image.resize(x.astype(np.float32), y.shape, "linear")
    np.testing.assert_allclose(y[inside], jaxs[inside], rtol=0, atol=1e-5)
    ones = upsampled(np.ones_like(x), factors, taps, "SAME")
    np.testing.assert_allclose(ones[inside], 1, rtol=0, atol=1e-15)
    if any(f > 1 for f in factors):
        assert np.abs(ones - 1).max() > 0.1  # and the ends do fade


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_bilinear_keeps_channels_apart(groups):
    x = np.random.default_rng(0).normal(size=(1, 4, 3))
    y = upsampled(x, (2,), (3,), 1, groups=groups)
    np.testing.assert_allclose(y, resized(x, (2,), True), rtol=0, atol=1e-15)


def test_bilinear_of_larger_kernels_is_the_same():
    """The tent stands in the middle, in zeros."""
    small, large = (bilinear(factor=2)(None, (1, 1, k)) for k in (4, 8))
    np.testing.assert_array_equal(large[0, 0], np.pad(small[0, 0], 2))


@pytest.mark.parametrize(("taps", "factor"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_bilinear_finds_the_factor(taps, factor):
    shape = (2, 2, taps, 3)
    given = bilinear(factor=(factor, 2))(None, shape)
    np.testing.assert_array_equal(bilinear()(None, shape), given)


def test_bilinear_is_opencvs_and_caffes_kernel():
    """As printed in the papers that use it."""
    np.testing.assert_allclose(
        bilinear()(None, (1, 1, 4, 4))[0, 0] * 16,
        [[1, 3, 3, 1], [3, 9, 9, 3], [3, 9, 9, 3], [1, 3, 3, 1]],
    )


# icnr ---------------------------------------------------------------------------------

NORMAL = jax.nn.initializers.he_normal(in_axis=0, out_axis=1)


@pytest.mark.parametrize("inner", [NORMAL, torch_uniform()], ids=["he", "torch"])
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [
        ((4,), 2),
        ((6,), 3),
        ((3,), 3),
        ((4, 2), 2),
        ((6, 4), (3, 2)),
        ((2, 4, 3), (1, 2, 3)),
    ],
)
def test_icnr_repeats_what_the_small_kernel_gives(kernel, stride, inner):
    """Nearest-neighbour upsampling of a convolution with what `inner` drew."""
    strides = (stride,) * len(kernel) if isinstance(stride, int) else stride
    small = tuple(k // s for k, s in zip(kernel, strides, strict=True))
    weight = icnr(inner, stride=stride)(KEY, (3, 2, *kernel))
    drawn = inner(KEY, (3, 2, *small))
    x = np.random.default_rng(0).normal(size=(2, 3, *(4, 3, 2)[: len(kernel)]))
    one = [1] * len(kernel)
    nothing = [(0, 0)] * len(kernel)
    expected = oracles.scatter(x, drawn, stride=one, crop=nothing, dilation=one)
    for axis, s in enumerate(strides, start=2):
        expected = expected.repeat(s, axis)
    y = oracles.scatter(x, weight, stride=strides, crop=nothing, dilation=one)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


def checkerboard(init, k, s):
    """How much a constant input's output varies where every tap is in reach.

    Over two axes, the second with a kernel of 3 and a stride of 2.
    """
    weight = np.asarray(init(KEY, (3, 2, k, 3)), np.float64)
    x = np.ones((1, 3, 4, 3))
    options = {"stride": (s, 2), "crop": [(k - 1, k - 1), (2, 2)], "dilation": (1, 1)}
    y = oracles.scatter(x, weight, **options)
    assert y.shape[2] >= s  # every phase is there
    assert y.shape[3] >= 2
    return np.abs(y - y.mean((2, 3), keepdims=True)).max() / np.abs(y).max()


@pytest.mark.parametrize(
    ("k", "s"), [(2, 2), (3, 2), (4, 2), (5, 2), (5, 3), (7, 3), (4, 4), (6, 4), (7, 4)]
)
def test_icnr_draws_no_checkerboard(k, s):
    """At step 0, of any kernel no smaller than the stride; `inner` alone does."""
    assert checkerboard(icnr(NORMAL, stride=(s, 2)), k, s) < 1e-6
    assert checkerboard(NORMAL, k, s) > 0.05


@pytest.mark.parametrize(("k", "s"), [(3, 2), (5, 2), (5, 3), (7, 4)])
def test_icnr_of_other_kernels_is_smoothed(k, s):
    """By a box of k % s + 1: the mean of all places where the repeated kernel fits."""
    weight = np.asarray(icnr(NORMAL, stride=s)(KEY, (1, 1, k)), np.float64)[0, 0]
    repeated = np.asarray(NORMAL(KEY, (1, 1, k // s)), np.float64)[0, 0].repeat(s)
    shifts = [np.pad(repeated, (i, k % s - i)) for i in range(k % s + 1)]
    np.testing.assert_allclose(weight, np.mean(shifts, 0), rtol=0, atol=1e-7)
    assert (weight != 0).all()


def test_icnr_keeps_the_fan_in():
    """An output element sees as many taps as `inner` was asked for."""
    weight = icnr(NORMAL, stride=2)(KEY, (500, 20, 4))
    assert np.var(weight) == pytest.approx(2 / (500 * 2), rel=0.05)


# Both ---------------------------------------------------------------------------------


@pytest.mark.parametrize("init", [bilinear(), icnr(NORMAL, stride=2)], ids=["b", "i"])
def test_in_a_layer(init):
    layer = jconvt.nnx.ConvTranspose2d(
        3, 3, 4, 2, 1, weight_init=init, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0)
    )
    assert layer.weight.shape == (3, 3, 4, 4)
    assert layer.weight.dtype == jnp.bfloat16
    shape = jax.eval_shape(lambda key: init(key, (2, 2, 4)), KEY)
    assert (shape.shape, shape.dtype) == ((2, 2, 4), jnp.result_type(float))


def test_sharded():
    mesh = jax.make_mesh((2,), ("c",), axis_types=(jax.sharding.AxisType.Explicit,))
    spec = jax.sharding.PartitionSpec("c")
    with jax.set_mesh(mesh):
        for init in (bilinear(), icnr(NORMAL, stride=2)):
            weight = init(KEY, (4, 4, 4), jnp.float32, spec)
            assert weight.sharding.spec[0] == "c"
            np.testing.assert_array_equal(weight, init(KEY, (4, 4, 4), jnp.float32))


# Errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: torch_uniform(fan_in=2.0),
            TypeError,
            "torch_uniform: `fan_in` must be an int; got 2.0 of type float.",
        ),
        (
            lambda: torch_uniform(fan_in=-1),
            ValueError,
            "torch_uniform: `fan_in` must be at least 0; got -1.",
        ),
        (
            lambda: torch_uniform()(KEY, (3,)),
            ValueError,
            "torch_uniform: `shape` must be a weight's, (C_in, C_out/groups, *kernel),"
            " to tell the fan-in; got (3,). For a bias give `fan_in`.",
        ),
        (
            lambda: torch_uniform()(KEY, (3, 4), jnp.int32),
            ValueError,
            "torch_uniform: `dtype` must be floating or complex; got int32.",
        ),
        (
            lambda: bilinear(factor=2.0),
            TypeError,
            "bilinear: `factor` must be an int or a tuple or list of 1 ints; got 2.0 "
            "of type float.",
        ),
        (
            lambda: bilinear(groups=0),
            ValueError,
            "bilinear: `groups` must be at least 1; got 0.",
        ),
        (
            lambda: bilinear()(KEY, (3, 4, 5)),
            ValueError,
            "bilinear: `shape` must be (C, C/groups, *kernel), with as many channels "
            "out as in; got (3, 4, 5) with groups=1.",
        ),
        (
            lambda: bilinear(factor=2)(KEY, (3, 3, 2)),
            ValueError,
            "bilinear: `shape` must have at least 2*factor - 1 taps an axis if odd, "
            "2*factor if even; got 2 for a factor of 2.",
        ),
        (
            lambda: bilinear(factor=(2, 2))(KEY, (3, 3, 4)),
            ValueError,
            "bilinear: `factor` must hold 1 ints, one for each spatial axis; got 2: "
            "(2, 2).",
        ),
        (
            lambda: bilinear()(KEY, (3,)),
            ValueError,
            "bilinear: `shape` must be a weight's, (C_in, C_out/groups, *kernel); got "
            "(3,).",
        ),
        (
            lambda: bilinear(dtype=jnp.int32)(KEY, (3, 3, 4)),
            ValueError,
            "bilinear: `dtype` must be floating or complex; got int32.",
        ),
        (
            lambda: icnr("he_normal", stride=2),
            TypeError,
            "icnr: `inner` must be an initializer, called with key, shape and dtype; "
            "got 'he_normal' of type str.",
        ),
        (
            lambda: icnr(NORMAL, stride=0),
            ValueError,
            "icnr: `stride` must be at least 1; got 0.",
        ),
        (
            lambda: icnr(NORMAL, stride=3)(KEY, (3, 4, 6, 2)),
            ValueError,
            "icnr: `shape` must have a kernel of at least `stride` taps on every axis; "
            "got (3, 4, 6, 2) with stride (3, 3).",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
