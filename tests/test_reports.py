"""What users of other libraries reported about their convolutions, tried here.

Each test names the tracker, and says in one sentence what was reported. The expected
values come from the definition in `oracles`, or from counting by hand.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jconvt
import oracles

NHWC = ("NHWC", "HWIO", "NHWC")


@pytest.fixture(autouse=True)
def wide():
    """Small whole numbers in float64, so that sums are exact in any order."""
    with jax.enable_x64(True):
        yield


def whole(*shape, seed=0):
    rng = np.random.default_rng([seed, *shape])
    return rng.integers(-4, 5, shape).astype(np.float64)


def scatter(x, w, bias=None, *, stride=1, crop=(0, 0), dilation=1, groups=1):
    """The definition, with one number for every axis."""
    rank = w.ndim - 2
    per_axis = {"stride": stride, "dilation": dilation}
    per_axis = {
        name: (value,) * rank if np.ndim(value) == 0 else value
        for name, value in per_axis.items()
    }
    crop = [crop] * rank if np.ndim(crop) == 1 else crop
    return oracles.scatter(x, w, bias, crop=crop, groups=groups, **per_axis)


def dense(w, space, **geometry):
    """The layer as a matrix, from one image of each unit vector."""
    size = w.shape[0] * int(np.prod(space))
    units = np.eye(size).reshape(size, w.shape[0], *space)
    return scatter(units, w, **geometry).reshape(size, -1).T


# Sizes and paddings -------------------------------------------------------------------


def test_no_padding_is_valid_where_the_kernel_fills_the_stride():
    """Padding 0 gave less than VALID at kernel 4, stride 4: jax-ml/jax#17618."""
    x, w = whole(1, 5, 5, 3), whole(4, 4, 3, 2)
    layer = partial(jconvt.conv_transpose, x, w, stride=4, dimension_numbers=NHWC)
    valid, none = layer(padding="VALID"), layer(padding=[(0, 0), (0, 0)])
    expected = scatter(x.transpose(0, 3, 1, 2), w.transpose(2, 3, 0, 1), stride=4)
    assert valid.shape == (1, 20, 20, 2)
    np.testing.assert_array_equal(valid, expected.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(none, valid)


@pytest.mark.parametrize("pair", [(0, 0), (1, 1), (2, 1), (0, 3)])
def test_explicit_padding_is_that_of_the_forward_convolution(pair):
    """Number pairs did not mean the forward convolution's padding: jax-ml/jax#32267."""
    x, w = whole(2, 3, 5), whole(3, 2, 4)
    geometry = {"stride": (2,), "dilation": (2,), "crop": [pair]}
    expected = oracles.adjoint_of_forward(x, w, **geometry)
    actual = jconvt.conv_transpose(x, w, stride=2, dilation=2, padding=[pair])
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("size", range(15, 18))
def test_every_size_that_a_convolution_shrinks_can_be_restored(size):
    """There was no argument for the wanted output size: jax-ml/jax#4592."""
    x, w = whole(1, 2, 5), whole(2, 3, 5)
    assert (size + 2 * 1 - 5) // 3 + 1 == x.shape[-1]
    actual = jconvt.conv_transpose(x, w, stride=3, padding=1, output_size=size)
    expected = scatter(x, w, stride=3, crop=[(1, 1 - (size - 15))])
    assert actual.shape == (1, 3, size)
    np.testing.assert_array_equal(actual, expected)


def test_output_size_counts_the_dilation():
    """The valid sizes were calculated without the dilation: pytorch/pytorch#14272."""
    x, w = whole(1, 2, 4, 3), whole(2, 2, 3, 3)
    options = {"stride": 2, "padding": 1, "dilation": (3, 2)}
    actual = jconvt.conv_transpose2d(x, w, **options, output_size=(12, 7))
    expected = scatter(x, w, stride=2, dilation=(3, 2), crop=[(1, 0), (1, 1)])
    np.testing.assert_array_equal(actual, expected)
    with pytest.raises(ValueError, match="output_size"):
        jconvt.conv_transpose2d(x, w, **options, output_size=(8, 7))


def test_output_size_of_an_unbatched_input():
    """An input without batch got another size than it asked: pytorch/pytorch#75889."""
    x, w = whole(1, 8, 7), whole(1, 1, 32, 32)
    layer = partial(
        jconvt.conv_transpose2d, stride=32, padding=15, output_size=(240, 200)
    )
    geometry = {"stride": (32, 32), "dilation": (1, 1), "crop": [(15, 1), (15, 9)]}
    g = whole(1, 240, 200)

    def gradients(x, w, g):
        return jax.vjp(layer, x, w)[1](g)

    np.testing.assert_array_equal(
        layer(x, w), oracles.scatter(x[None], w, **geometry)[0]
    )
    dx, dw = jax.jit(gradients)(x, w, g)
    np.testing.assert_array_equal(
        dx, oracles.gradient_of_input(g[None], w, space=(8, 7), **geometry)[0]
    )
    np.testing.assert_array_equal(
        dw, oracles.gradient_of_weight(g[None], x[None], kernel=(32, 32), **geometry)
    )
    # A program with a line for each of 1,024 residues takes long to compile.
    assert len(jax.jit(gradients).lower(x, w, g).as_text().splitlines()) < 500


def test_output_padding_holds_sums_and_not_zeros():
    """The elements of output_padding were thought to be zeros: pytorch/pytorch#8816."""
    x, w = np.ones((1, 1, 1, 1)), np.arange(9.0).reshape(1, 1, 3, 3)
    actual = jconvt.conv_transpose2d(x, w, None, 2, 1, 1)
    np.testing.assert_array_equal(actual[0, 0], [[4, 5], [7, 8]])


def test_length_is_kept_at_stride_one_by_an_even_kernel():
    """Stride 1 and an even kernel could not keep the length: pytorch/pytorch#106450."""
    x, w = whole(2, 3, 7), whole(3, 2, 4)
    expected = scatter(x, w, crop=[(1, 2)])
    for padding in ("SAME", [(1, 2)]):
        actual = jconvt.conv_transpose(x, w, padding=padding)
        np.testing.assert_array_equal(actual, expected)
    with pytest.raises(ValueError, match="output_padding"):
        jconvt.conv_transpose1d(x, w, padding=2, output_padding=1)


@pytest.mark.parametrize("stride", [3, 7])
def test_same_where_the_kernel_is_smaller_than_the_stride(stride):
    """SAME asked for a padding below zero and failed: keras-team/keras-core#488."""
    x, w = whole(2, 2, 4, 3), whole(2, 3, 2, 1)
    actual = jconvt.conv_transpose(x, w, stride=stride, padding="SAME")
    crop = [(0, 2 - stride), (0, 1 - stride)]
    assert actual.shape == (2, 3, 4 * stride, 3 * stride)
    np.testing.assert_array_equal(actual, scatter(x, w, stride=stride, crop=crop))


def test_another_dilation_on_each_axis():
    """Different dilations on two axes were refused: tensorflow/tensorflow#48469."""
    x, w = whole(1, 2, 3, 4), whole(2, 3, 5, 4)
    actual = jconvt.conv_transpose2d(x, w, None, (3, 2), dilation=(1, 2))
    np.testing.assert_array_equal(actual, scatter(x, w, stride=(3, 2), dilation=(1, 2)))


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_odd_crop_of_auto_pad(auto_pad):
    """The odd element was cropped at the wrong end: microsoft/onnxruntime#9370."""
    helper = pytest.importorskip("onnx", reason="reads ONNX").helper
    from jconvt.interop import from_onnx

    x, w = whole(1, 2, 3, 4), whole(2, 1, 5, 4)
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], strides=[2, 1], auto_pad=auto_pad
    )
    pairs = {"SAME_UPPER": [(1, 2), (1, 2)], "SAME_LOWER": [(2, 1), (2, 1)]}
    actual = from_onnx(node, w).apply(x)
    assert actual.shape == (1, 1, 6, 4)
    expected = scatter(x, w, stride=(2, 1), crop=pairs[auto_pad])
    np.testing.assert_array_equal(actual, expected)


# Empty arrays -------------------------------------------------------------------------


def test_crop_of_a_whole_axis():
    """A padding that leaves no rows had no defined result: pytorch/pytorch#127734."""
    x, w, bias = whole(1, 8, 14, 14), whole(8, 1, 3, 3), whole(8)
    layer = partial(jconvt.conv_transpose2d, padding=(8, 0), groups=8)
    y, pull = jax.vjp(layer, x, w, bias)
    assert y.shape == (1, 8, 0, 16)
    for gradient, operand in zip(pull(y), (x, w, bias), strict=True):
        np.testing.assert_array_equal(gradient, np.zeros_like(operand))


def test_no_image_with_channels_last():
    """A batch of none failed with channels last: pytorch/pytorch#63299."""
    x, w = np.zeros((0, 5, 4, 3)), whole(3, 2, 3, 3)
    layer = partial(jconvt.conv_transpose2d, stride=2, data_format="NHWC")
    y, pull = jax.vjp(layer, x, w)
    assert y.shape == (0, 11, 9, 2)
    dx, dw = pull(y)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dw, np.zeros_like(w))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_no_output_channels(rank):
    """No output channels worked on one device only: pytorch/pytorch#142466."""
    x, w = np.ones((2, 1, *[3] * rank)), np.zeros((1, 0, *[1] * rank))
    y, pull = jax.vjp(jconvt.conv_transpose, x, w)
    assert y.shape == (2, 0, *[3] * rank)
    np.testing.assert_array_equal(pull(y)[0], np.zeros_like(x))


@pytest.mark.parametrize("jacobian", [jax.jacrev, jax.jacfwd])
def test_jacobian_of_an_empty_output(jacobian):
    """The Jacobian of an empty output divided by zero: jax-ml/jax#10833."""
    x, w = np.ones((1, 1, 1)), np.ones((1, 1, 2))
    layer = partial(jconvt.conv_transpose, padding=1)
    dx, dw = jacobian(layer, (0, 1))(x, w)
    assert dx.shape == (1, 1, 0, 1, 1, 1)
    assert dw.shape == (1, 1, 0, 1, 1, 2)


# Gradients ----------------------------------------------------------------------------


def test_gradients_of_a_dilated_kernel_with_output_padding():
    """Dilation 2 with output_padding wrote past an array: pytorch/pytorch#5112."""
    x, w = whole(1, 4, 1, 1), whole(4, 1, 3, 3)
    y, pull = jax.vjp(
        partial(jconvt.conv_transpose2d, output_padding=1, dilation=2), x, w
    )
    geometry = {"stride": (1, 1), "dilation": (2, 2), "crop": [(0, -1)] * 2}
    g = whole(*y.shape)
    assert y.shape == (1, 1, 6, 6)
    dx, dw = pull(g)
    np.testing.assert_array_equal(
        dx, oracles.gradient_of_input(g, w, space=(1, 1), **geometry)
    )
    np.testing.assert_array_equal(
        dw, oracles.gradient_of_weight(g, x, kernel=(3, 3), **geometry)
    )


def test_gradient_skips_the_holes_between_elements():
    """The gradient read a hole and not the next element: pytorch/pytorch#63314."""
    x, w = np.ones((1, 1, 1, 2)), np.full((1, 1, 1, 1), 3.0)
    _, pull = jax.vjp(partial(jconvt.conv_transpose2d, stride=2), x, w)
    dx, dw = pull(np.array([[[[2.0, 100.0, 5.0]]]]))
    np.testing.assert_array_equal(dx, [[[[6, 15]]]])
    np.testing.assert_array_equal(dw, [[[[7]]]])


@pytest.mark.parametrize("channels", [23, 24, 25])
def test_weight_gradient_of_a_depthwise_layer(channels):
    """Weight gradients were wrong at just 24 channels: pytorch/pytorch#50042."""
    x, w = whole(1, channels, 3, 3), whole(channels, 1, 3, 3)
    layer = partial(jconvt.conv_transpose2d, x, stride=2, padding=1, groups=channels)
    y, pull = jax.vjp(lambda w: layer(w, output_padding=1), w)
    g = whole(*y.shape)
    expected = oracles.gradient_of_weight(
        g,
        x,
        kernel=(3, 3),
        stride=(2, 2),
        crop=[(1, 0)] * 2,
        dilation=(1, 1),
        groups=channels,
    )
    np.testing.assert_array_equal(pull(g)[0], expected)


def test_few_groups_of_many_channels_and_one_tap():
    """42 channels in two groups, with a single tap, failed: pytorch/pytorch#108676."""
    x, w = whole(9, 42, 1, 5), whole(42, 1, 1, 1)
    actual = jconvt.conv_transpose2d(x, w, dilation=(4, 3), groups=2)
    np.testing.assert_array_equal(actual, scatter(x, w, groups=2))


def test_hessian_of_two_layers():
    """Second derivatives of two layers in a row failed: jax-ml/jax#563."""
    x, v, w = whole(1, 2, 3), whole(2, 2, 3), whole(2, 1, 4)
    first = partial(jconvt.conv_transpose, weight=v, padding="SAME")
    second = partial(jconvt.conv_transpose, weight=w, stride=2, padding=1)
    matrix_v = dense(v, (3,), crop=(1, 1))
    matrix_w = dense(w, (3,), stride=2, crop=(1, 1))
    actual = jax.jit(jax.hessian(lambda x: jnp.sum(second(first(x) ** 2) ** 2)))(x)
    # f = |W h|^2 with h = (V x)^2: J = 2 diag(V x) V is the derivative of h, and the
    # second derivative of h_i adds 2 V_i V_i' times the slope of f along h_i.
    inner = matrix_v @ x.ravel()
    jacobian = 2 * inner[:, None] * matrix_v
    square = matrix_w.T @ matrix_w
    slope = 2 * square @ inner**2
    expected = 2 * jacobian.T @ square @ jacobian
    expected += matrix_v.T @ (2 * slope[:, None] * matrix_v)
    np.testing.assert_array_equal(actual.reshape(6, 6), expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("x_axis", "w_axis"), [(None, 3), (0, 1), (2, None), (3, 0)])
def test_vmap_over_weights_of_groups(x_axis, w_axis, groups):
    """vmap over the weights of groups gave wrong numbers: pytorch/pytorch#84938."""
    x, w = whole(3, 2, 4, 5), whole(3, 4, 2, 3)
    layer = partial(jconvt.conv_transpose, stride=2, padding=1, groups=groups)
    operands = [
        array[0] if axis is None else np.moveaxis(array, 0, axis)
        for array, axis in ((x, x_axis), (w, w_axis))
    ]
    actual = jax.vmap(layer, (x_axis, w_axis))(*operands)
    for i, found in enumerate(actual):
        one = x[0 if x_axis is None else i], w[0 if w_axis is None else i]
        expected = scatter(*one, stride=2, crop=(1, 1), groups=groups)
        np.testing.assert_array_equal(found, expected)


def test_weight_gradient_of_each_example():
    """The weight gradient of each example failed under vmap: jax-ml/jax#3289."""
    x, w = whole(5, 4, 3, 3), whole(4, 3, 3, 3)
    g = whole(5, 6, 6, 6)

    def loss(w, x, g):
        y = jconvt.conv_transpose2d(x, w, None, 2, 1, 1, groups=2)
        return jnp.vdot(y, g)

    actual = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))(w, x, g)
    geometry = {"stride": (2, 2), "crop": [(1, 0)] * 2, "dilation": (1, 1)}
    weight_gradient = partial(
        oracles.gradient_of_weight, kernel=(3, 3), groups=2, **geometry
    )
    expected = [weight_gradient(g[i, None], x[i, None]) for i in range(5)]
    np.testing.assert_array_equal(actual, expected)


def test_gradient_through_a_gradient_step():
    """Gradients through a step of descent on the weight failed: jax-ml/jax#380."""
    x, w, target = whole(3, 2, 2, 4), whole(2, 1, 3), whole(3, 2, 1, 9)

    def error(w, x, target):
        y = jconvt.conv_transpose(x, w, stride=2)
        return jnp.sum((y - target) ** 2)

    def after_a_step(w, x, target):
        stepped = w - jax.grad(error)(w, x, target) / 64
        return error(stepped, x, target)

    def total(w):
        return jnp.sum(jax.vmap(after_a_step, (None, 0, 0))(w, x, target))

    # With A the layer as a matrix that acts on w: r = A w - t, w' = w - A'r/32,
    # and the gradient of |A w' - t|^2 is 2 (1 - A'A/32) A'(A w' - t).
    expected = np.zeros(w.size)
    for images, wanted in zip(x, target, strict=True):
        units = np.eye(w.size).reshape(w.size, *w.shape)
        a = np.stack([scatter(images, unit, stride=2).ravel() for unit in units], 1)
        stepped = w.ravel() - a.T @ (a @ w.ravel() - wanted.ravel()) / 32
        error_of = a.T @ (a @ stepped - wanted.ravel())
        expected += 2 * (error_of - a.T @ (a @ error_of) / 32)
    np.testing.assert_array_equal(jax.jit(jax.grad(total))(w).ravel(), expected)


def test_recomputed_layers_in_a_scan():
    """The gradient of a scan over recomputed layers failed: jax-ml/jax#1963."""
    x, weights = whole(1, 2, 5), whole(3, 2, 2, 3)

    def last(layer, x, weights):
        return lax.scan(jax.checkpoint(lambda x, w: (layer(x, w), None)), x, weights)[0]

    def layer(x, w):
        return jconvt.conv_transpose(x, w, padding="SAME")

    actual = jax.grad(lambda *args: jnp.sum(last(layer, *args)), (0, 1))(x, weights)
    outputs = [x]
    for w in weights:
        outputs.append(scatter(outputs[-1], w, crop=(1, 1)))
    geometry = {"stride": (1,), "dilation": (1,), "crop": [(1, 1)]}
    g, dws = np.ones_like(x), []
    for y, w in zip(outputs[-2::-1], weights[::-1], strict=True):
        dws.insert(0, oracles.gradient_of_weight(g, y, kernel=(3,), **geometry))
        g = oracles.gradient_of_input(g, w, space=(5,), **geometry)
    np.testing.assert_array_equal(actual[0], g)
    np.testing.assert_array_equal(actual[1], dws)


def test_complex_gradient_is_that_of_real_and_imaginary_parts():
    """A complex layer had not the gradient of its parts: FluxML/Flux.jl#1876."""
    x = whole(1, 2, 4) + 1j * whole(1, 2, 4, seed=1)
    parts = np.stack([whole(2, 2, 3), whole(2, 2, 3, seed=1)])
    target = whole(1, 2, 9) + 1j * whole(1, 2, 9, seed=1)

    def loss(parts):
        y = jconvt.conv_transpose(x, parts[0] + 1j * parts[1], stride=2)
        return jnp.sum((y - target).real ** 2 + (y - target).imag ** 2)

    error = scatter(x, parts[0] + 1j * parts[1], stride=2) - target
    expected = oracles.gradient_of_weight(
        error.conj(), x, kernel=(3,), stride=(2,), crop=[(0, 0)], dilation=(1,)
    )
    np.testing.assert_array_equal(
        jax.grad(loss)(parts), [2 * expected.real, -2 * expected.imag]
    )


# Types --------------------------------------------------------------------------------


def test_eight_bits_summed_in_thirty_two():
    """Eight-bit operands could not give a wider result: jax-ml/jax#14585."""
    x = (31 * whole(2, 40, 3, 3)).astype(np.int8)
    w = (31 * whole(40, 2, 3, 3)).astype(np.int8)
    actual = jconvt.conv_transpose2d(x, w, stride=2, preferred_element_type=np.int32)
    assert actual.dtype == np.int32
    np.testing.assert_array_equal(actual, scatter(x, w, stride=2))


@pytest.mark.parametrize("narrow", [jnp.bfloat16, jnp.float16])
def test_gradients_where_the_result_is_wider(narrow):
    """Gradients failed where the result is wider than operands: jax-ml/jax#31592."""
    x, w = (jnp.asarray(a, narrow) for a in (whole(1, 4, 5), whole(4, 3, 3)))
    layer = partial(jconvt.conv_transpose, preferred_element_type=jnp.float32)
    y, pull = jax.vjp(layer, x, w)
    assert y.dtype == jnp.float32
    dx, dw = pull(jnp.ones_like(y))
    assert dx.dtype == dw.dtype == narrow
    geometry = {"stride": (1,), "dilation": (1,), "crop": [(0, 0)]}
    g = np.ones(y.shape)
    wide_dx = oracles.gradient_of_input(g, w, space=(5,), **geometry)
    wide_dw = oracles.gradient_of_weight(g, x, kernel=(3,), **geometry)
    np.testing.assert_array_equal(dx, wide_dx.astype(narrow))
    np.testing.assert_array_equal(dw, wide_dw.astype(narrow))


def test_overflow_of_sixteen_bits_is_infinite():
    """Sums too large for float16 were sometimes NaN: pytorch/pytorch#153700."""
    x = np.random.default_rng(2186).uniform(-4, 5, (3, 7, 6, 5)).astype(np.float16)
    w = np.full((7, 3, 5, 8), -9990, np.float16)
    actual = np.asarray(jconvt.conv_transpose2d(x, w, padding=2), np.float64)
    exact = scatter(x, w, crop=(2, 2))
    largest = float(np.finfo(np.float16).max)
    over = np.abs(exact) > 1.01 * largest
    assert 0 < over.sum() < over.size
    np.testing.assert_array_equal(actual[over], np.sign(exact[over]) * np.inf)
    assert not np.isnan(actual).any()


@pytest.mark.parametrize("narrow", [jnp.bfloat16, jnp.float16])
def test_bias_gradient_of_sixteen_bits(narrow):
    """A sum of 1600 ones in bfloat16 stopped at 256: pytorch/pytorch#68048."""
    x, w = jnp.ones((1, 1, 20, 20), narrow), jnp.ones((1, 2, 2, 2), narrow)

    def loss(bias):
        y = jconvt.conv_transpose2d(x, w, bias, stride=2)
        return jnp.sum(y.astype(jnp.float32))

    gradient = jax.grad(loss)(jnp.zeros(2, narrow))
    assert gradient.dtype == narrow
    np.testing.assert_array_equal(gradient.astype(jnp.float32), [1600, 1600])


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_no_nan_of_a_weight_is_lost(stride):
    """A layer with a NaN in its weight gave finite numbers: pytorch/pytorch#12484."""
    x, w = whole(2, 3, 4, 4), whole(3, 2, 3, 3)
    w[1, 0, 2, 1] = np.nan
    expected = scatter(x, w, stride=stride)
    actual = np.asarray(jconvt.conv_transpose2d(x, w, stride=stride))
    assert np.isnan(actual[np.isnan(expected)]).all()
    np.testing.assert_array_equal(actual[:, 1], expected[:, 1])


# Periodic borders and adjoints --------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2])
def test_periodic_layer_is_the_adjoint_of_a_periodic_convolution(stride):
    """No periodic layer was the adjoint of the convolution: google/flax#2577."""
    x, w, z = whole(1, 2, 6), whole(2, 3, 5), whole(1, 3, 6 * stride)
    y = jconvt.conv_transpose(x, w, stride=stride, padding="CIRCULAR")
    low = (5 - stride) // 2
    position = (np.arange(6)[:, None] * stride + np.arange(5) - low) % (6 * stride)
    forward = np.einsum("nmik,cmk->nci", z[:, :, position], w)
    assert np.vdot(y, z) == np.vdot(x, forward)


def test_same_is_the_adjoint_of_same():
    """SAME twice was not a pair of adjoint layers: patrick-kidger/equinox#728."""
    x, w, z = whole(1, 2, 6, 6), whole(2, 2, 3, 3), whole(1, 2, 6, 6, seed=1)
    y = jconvt.conv_transpose(x, w, padding="SAME")
    forward = lax.conv_general_dilated(z, w, (1, 1), "SAME")
    assert np.vdot(y, z) == np.vdot(x, forward)


# Devices and export -------------------------------------------------------------------


@pytest.fixture
def explicit_mesh():
    mesh = jax.make_mesh((4,), ("S",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        yield mesh


def gradients_1d(g, x, w):
    """Of input and weight, at stride 2 and padding 1."""
    geometry = {"stride": (2,), "dilation": (1,), "crop": [(1, 1)]}
    return (
        oracles.gradient_of_input(g, w, space=x.shape[2:], **geometry),
        oracles.gradient_of_weight(g, x, kernel=w.shape[2:], **geometry),
    )


def test_vjp_of_explicitly_sharded_arrays(explicit_mesh):
    """The gradients of explicitly sharded arrays had no sharding: jax-ml/jax#31798."""
    x, w, g = whole(8, 1, 6), whole(1, 3, 4), whole(8, 3, 12)
    rows = NamedSharding(explicit_mesh, P("S", None, None))
    sharded, cotangent = jax.device_put((x, g), rows)
    layer = partial(jconvt.conv_transpose, stride=2, padding=1)
    y, pull = jax.vjp(layer, sharded, jnp.asarray(w))
    dx, dw = pull(cotangent)
    assert y.sharding == dx.sharding == rows
    expected_dx, expected_dw = gradients_1d(g, x, w)
    np.testing.assert_array_equal(y, scatter(x, w, stride=2, crop=(1, 1)))
    np.testing.assert_array_equal(dx, expected_dx)
    np.testing.assert_array_equal(dw, expected_dw)


def test_shard_map_with_a_replicated_weight():
    """shard_map could not check what is replicated: jax-ml/jax#18737."""
    x, w, g = whole(8, 2, 5), whole(2, 3, 4), whole(8, 3, 10)
    mesh = jax.make_mesh((4,), ("S",), axis_types=(AxisType.Auto,))

    @partial(jax.shard_map, mesh=mesh, in_specs=(P("S"), P(), P("S")), out_specs=P())
    def loss(x, w, g):
        y = jconvt.conv_transpose(x, w, stride=2, padding=1)
        return lax.psum(jnp.vdot(y, g), "S")

    actual = jax.jit(jax.grad(loss, (0, 1)))(x, w, g)
    for got, expected in zip(actual, gradients_1d(g, x, w), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_batch_and_weight_sharded_over_one_axis(stride):
    """Strides above 1 gave other numbers where both are sharded: jax-ml/jax#16894."""
    x, w, bias = whole(8, 4, 3, 3), whole(4, 16, 3, 3), whole(16)
    mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
    place = (P("d"), P(None, "d"), P("d"))
    placed = [
        jax.device_put(array, NamedSharding(mesh, spec))
        for array, spec in zip((x, w, bias), place, strict=True)
    ]
    actual = jax.jit(partial(jconvt.conv_transpose2d, stride=stride))(*placed)
    np.testing.assert_array_equal(actual, scatter(x, w, bias, stride=stride))


def test_export_with_symbolic_batch_and_length():
    """Strided layers did not export with a free batch and length: jax-ml/jax#11402."""
    w = whole(2, 3, 4)
    layer = partial(jconvt.conv_transpose, weight=w, stride=3, padding="SAME")
    shape = jax.export.symbolic_shape("b, 2, t")
    free = jax.ShapeDtypeStruct(shape, np.float64)
    exported = jax.export.export(jax.jit(layer))(free)
    assert str(exported.out_avals[0].shape) == "(b, 3, 3*t)"
    for batch, length in ((1, 1), (2, 5)):
        x = whole(batch, 2, length)
        expected = scatter(x, w, stride=3, crop=[(0, 1)])
        np.testing.assert_array_equal(exported.call(x), expected)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_gradient_for_each_example_of_replicated_arrays(kind):
    """It failed for arrays placed whole on a mesh: jax-ml/jax#32157."""
    x, w = whole(3, 2, 4), whole(2, 2, 3)
    mesh = jax.make_mesh((jax.device_count(),), ("x",), axis_types=(kind,))
    placed = [jax.device_put(a, NamedSharding(mesh, P())) for a in (x, w)]

    def loss(w, x):
        return jconvt.conv_transpose(x, w, stride=2).sum()

    with jax.set_mesh(mesh):
        found = jax.vmap(jax.grad(loss), (None, 0))(placed[1], placed[0])
    # Each tap of a kernel sees each element of its input channel once.
    sums = np.broadcast_to(x.sum(-1)[:, :, None, None], (3, *w.shape))
    np.testing.assert_array_equal(found, sums)


def test_periodic_padding_under_vmap():
    """A periodic layer could not be mapped over a second batch: google/flax#2362."""
    x, w = whole(3, 2, 2, 6), whole(2, 2, 3)
    layer = partial(jconvt.conv_transpose, stride=2, padding="CIRCULAR")
    found = jax.vmap(layer, (0, None))(x, w)
    # Of three periods in a row, the one in the middle.
    several = scatter(np.tile(x.reshape(6, 2, 6), 3), w, stride=2, crop=(0, 1))
    np.testing.assert_array_equal(found.reshape(6, 2, 12), several[..., 12:24])


def test_gradient_in_the_input_at_a_symbolic_size():
    """A gradient could not be compiled for any size: pytorch/pytorch#181175."""
    x, w = whole(3, 2, 5, 6), whole(2, 2, 3, 3)

    def gradient(x):
        return jax.grad(lambda x: (jconvt.conv_transpose(x, w) ** 2).sum())(x)

    specs = jax.export.symbolic_args_specs((x,), ("n, 2, h, w",))
    stored = jax.export.export(jax.jit(gradient))(*specs)
    np.testing.assert_array_equal(stored.call(x), gradient(x))
    y = scatter(x, w)
    geometry = {"stride": (1, 1), "dilation": (1, 1), "crop": [(0, 0)] * 2}
    expected = oracles.gradient_of_input(2 * y, w, space=(5, 6), **geometry)
    np.testing.assert_array_equal(stored.call(x), expected)
