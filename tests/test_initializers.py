"""The initializers: bounds and moments, PyTorch's bounds, dtypes, errors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconvt.nnx
from jconvt.initializers import torch_uniform

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
    assert torch_uniform()(KEY, (1, 1)).dtype == jnp.float32
    with jax.enable_x64(True):
        assert torch_uniform()(KEY, (1, 1)).dtype == jnp.float64


def test_without_elements():
    assert torch_uniform()(KEY, (4, 0, 3)).shape == (4, 0, 3)
    assert torch_uniform(fan_in=0)(KEY, (0,)).shape == (0,)


def test_traces():
    shape = jax.eval_shape(lambda key: torch_uniform()(key, (2, 3, 4)), KEY)
    assert (shape.shape, shape.dtype) == ((2, 3, 4), jnp.float32)


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
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
