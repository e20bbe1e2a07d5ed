"""`fold_batch_norm`: one layer for a layer and the batch norm behind it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jconvt.interop import (
    fold_batch_norm,
    from_haiku,
    from_mindspore,
    from_torch,
    from_torch_model,
)

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape)


def norm_of(channels):
    """Mean, variance, scale and offset, as a batch norm has them after training."""
    return (
        normal(channels),
        RNG.uniform(0.1, 3, size=channels),
        normal(channels),
        normal(channels),
    )


def batch_norm(y, norm, epsilon, axis):
    """The definition, in NumPy, over the channels on an axis."""
    shape = [1] * np.ndim(y)
    shape[axis] = -1
    mean, variance, scale, offset = (np.reshape(a, shape) for a in norm)
    return (np.asarray(y) - mean) / np.sqrt(variance + epsilon) * scale + offset


# Rank, channels in and out, groups, bias, options
LAYERS = {
    "1d": (1, 4, 6, {"stride": 2}, True),
    "1d no bias": (1, 4, 6, {"stride": 3, "padding": 1}, False),
    "2d groups": (2, 4, 6, {"stride": 2, "groups": 2, "output_padding": 1}, True),
    "2d depthwise": (2, 4, 4, {"groups": 4}, True),
    "2d multiplier": (2, 3, 9, {"groups": 3, "dilation": 2}, False),
    "3d": (3, 2, 3, {"stride": (2, 1, 3), "groups": 1}, True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_pytorch_layer_and_batch_norm(name):
    """In evaluation mode, against the two modules in a row, in float64."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    rank, c_in, c_out, options, bias = LAYERS[name]
    conv = getattr(torch.nn, f"ConvTranspose{rank}d")(
        c_in, c_out, 3, bias=bias, **options
    )
    norm = getattr(torch.nn, f"BatchNorm{rank}d")(c_out, eps=1e-3)
    model = torch.nn.Sequential(conv, norm).double().eval()
    values = norm_of(c_out)
    with torch.no_grad(), jax.enable_x64(True):
        for into, value in zip(
            (norm.running_mean, norm.running_var, norm.weight, norm.bias),
            values,
            strict=True,
        ):
            into.copy_(torch.from_numpy(value))
        x = normal(2, c_in, *(5, 4, 3)[:rank])
        desired = model(torch.from_numpy(x)).numpy()
        (layer,) = from_torch_model(model).values()
        folded = fold_batch_norm(layer, *values, epsilon=1e-3)
        assert folded.options == layer.options
        np.testing.assert_allclose(folded(x), desired, rtol=1e-12, atol=1e-12)
        pair = fold_batch_norm((layer.weight, layer.bias), *values, epsilon=1e-3)
        for one, other in zip(pair, (folded.weight, folded.bias), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["1d", "1d no bias", "3d"])
def test_pytorch_fuses_the_same(name):
    """PyTorch's own folding, which is for one group."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    rank, c_in, c_out, options, bias = LAYERS[name]
    conv = getattr(torch.nn, f"ConvTranspose{rank}d")(
        c_in, c_out, 3, bias=bias, **options
    )
    norm = getattr(torch.nn, f"BatchNorm{rank}d")(c_out)
    values = norm_of(c_out)
    with torch.no_grad(), jax.enable_x64(True):
        conv, norm = conv.double().eval(), norm.double().eval()
        for into, value in zip(
            (norm.running_mean, norm.running_var, norm.weight, norm.bias),
            values,
            strict=True,
        ):
            into.copy_(torch.from_numpy(value))
        fused = from_torch(
            torch.nn.utils.fusion.fuse_conv_bn_eval(conv, norm, transpose=True)
        )
        folded = fold_batch_norm(from_torch(conv), *values)
        np.testing.assert_allclose(folded.weight, fused.weight, rtol=1e-12)
        np.testing.assert_allclose(folded.bias, fused.bias, rtol=1e-12)


def test_channels_last():
    """The weight of a ported layer has one layout, the data another."""
    with jax.enable_x64(True):
        layer = from_haiku({"w": normal(3, 2, 6, 4), "b": normal(6)}, stride=2)
        x, values = normal(2, 5, 4, 4), norm_of(6)
        desired = batch_norm(layer(x), values, 1e-5, axis=-1)
        folded = fold_batch_norm(layer, *values)
        np.testing.assert_allclose(folded(x), desired, rtol=1e-12, atol=1e-12)


def test_appended_outputs():
    """Where nothing falls, the output is the bias, which is normalized too."""
    with jax.enable_x64(True):
        params = {"weight": normal(2, 3, 2), "bias": normal(3)}
        layer = from_mindspore(params, stride=4)
        x, values = normal(1, 2, 3), norm_of(3)
        desired = batch_norm(layer(x), values, 1e-5, axis=1)
        np.testing.assert_allclose(
            fold_batch_norm(layer, *values)(x), desired, rtol=1e-12, atol=1e-12
        )


def test_defaults():
    """Without scale and offset they are 1 and 0, and epsilon is 1e-5."""
    with jax.enable_x64(True):
        layer = from_mindspore({"weight": normal(2, 3, 2)}, stride=2)
        mean, variance, *_ = norm_of(3)
        actual = fold_batch_norm(layer, mean, variance)
        desired = fold_batch_norm(
            layer, mean, variance, np.ones(3), np.zeros(3), epsilon=1e-5
        )
        np.testing.assert_array_equal(actual.weight, desired.weight)
        np.testing.assert_array_equal(actual.bias, desired.bias)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("promotion", ["standard", "strict"])
def test_dtypes(dtype, promotion):
    """The layer keeps its own; the sums are in float32, and rounded once."""
    mean, variance, scale, offset = (a.astype(np.float32) for a in norm_of(3))
    weight = jnp.asarray(normal(2, 3, 4), dtype)
    with jax.numpy_dtype_promotion(promotion):
        w, b = fold_batch_norm((weight, None), mean, variance, scale, offset)
    assert (w.dtype, b.dtype) == (dtype, dtype)
    factor = scale / np.sqrt(variance + np.float32(1e-5))
    desired = np.asarray(weight, np.float32) * factor[:, None]
    unit = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(w, np.float32), desired, rtol=2 * unit)
    desired = offset - mean * factor
    np.testing.assert_allclose(np.asarray(b, np.float32), desired, rtol=8 * unit)


def test_a_bias_of_whole_numbers_becomes_floats():
    weight, bias = np.ones((2, 3, 4), np.float32), np.array([1, 2, 3])
    mean, variance = np.full(3, 0.5), np.full(3, 4.0)
    _, b = fold_batch_norm((weight, bias), mean, variance, epsilon=0)
    np.testing.assert_array_equal(b, np.array([0.25, 0.75, 1.25], np.float32))


def test_under_jit_and_grad():
    weight, values = normal(2, 3, 4), norm_of(3)

    @jax.jit
    def total(variance):
        w, b = fold_batch_norm((weight, None), values[0], variance, *values[2:])
        return w.sum() + b.sum()

    w, b = fold_batch_norm((weight, None), *values)
    np.testing.assert_allclose(total(values[1]), w.sum() + b.sum(), rtol=1e-4)
    assert jax.grad(total)(jnp.asarray(values[1])).shape == (3,)


LAYER = from_mindspore({"weight": np.ones((4, 3, 2)), "bias": np.ones(6)}, groups=2)
SIX, THREE = np.ones(6), np.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: fold_batch_norm(LAYER, THREE, SIX),
            ValueError,
            "fold_batch_norm: `mean` must have shape (6,), one number for each output "
            "channel of the layer; got (3,).",
        ),
        (
            lambda: fold_batch_norm(LAYER, SIX, SIX, np.ones((6, 1))),
            ValueError,
            "`scale` must have shape (6,), one number for each output channel of the "
            "layer; got (6, 1).",
        ),
        (
            lambda: fold_batch_norm(LAYER, SIX, SIX, offset=THREE),
            ValueError,
            "`offset` must have shape (6,)",
        ),
        (
            lambda: fold_batch_norm(LAYER, SIX, np.array([1, 1, -2, 1, 1, 1.0])),
            ValueError,
            "fold_batch_norm: `variance` must be positive with `epsilon` added; got "
            "-1.99999 in channel 2 with epsilon=1e-05.",
        ),
        (
            lambda: fold_batch_norm(LAYER, SIX, 0 * SIX, epsilon=0),
            ValueError,
            "got 0.0 in channel 0 with epsilon=0.",
        ),
        (
            lambda: fold_batch_norm(LAYER, SIX, np.nan * SIX),
            ValueError,
            "got nan in channel 0",
        ),
        (
            lambda: fold_batch_norm(LAYER, SIX, SIX, epsilon=SIX),
            TypeError,
            "fold_batch_norm: `epsilon` must be a number; got ndarray.",
        ),
        (
            lambda: fold_batch_norm(LAYER, 0.0, SIX),
            TypeError,
            "fold_batch_norm: `mean` must be a JAX or NumPy array; got float.",
        ),
        (
            lambda: fold_batch_norm(LAYER, SIX, SIX * 1j),
            ValueError,
            "fold_batch_norm: `variance` must be real; got dtype complex64.",
        ),
        (
            lambda: fold_batch_norm(np.ones((4, 3, 2)), SIX, SIX),
            TypeError,
            "fold_batch_norm: `layer` must be a PortedLayer or a pair (weight, bias); "
            "got ndarray.",
        ),
        (
            lambda: fold_batch_norm((np.ones((4, 3, 2)), None), np.ones(7), np.ones(7)),
            ValueError,
            "fold_batch_norm: `mean` must have shape (C_out,), for a weight (4, 3, 2) "
            "as (C_in, C_out/groups, *K) a multiple of 3; got (7,).",
        ),
        (
            lambda: fold_batch_norm((np.ones((4, 3, 2)), None), np.ones(9), np.ones(9)),
            ValueError,
            "divisible by `groups`; got 4 channels and groups=3",
        ),
        (
            lambda: fold_batch_norm((np.ones((4, 3, 2)), THREE), SIX, SIX),
            ValueError,
            "fold_batch_norm: the layer's bias must have shape (6,)",
        ),
        (
            lambda: fold_batch_norm((np.ones((4, 3, 2), int), None), SIX, SIX),
            ValueError,
            "fold_batch_norm: the layer's weight must be of real floats",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
