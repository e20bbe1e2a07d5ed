"""Parameters that Flax's metadata places over devices stay there through training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jconvt.linen
import jconvt.nnx

P = PartitionSpec
WEIGHT, BIAS = (None, "model", None, None), ("model",)
OPTIONS = {"stride": 2, "padding": 1}


@pytest.fixture
def mesh():
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices")
    return jax.make_mesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def batch(mesh=None):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 5, 5)), jnp.float32)
    return x if mesh is None else jax.device_put(x, NamedSharding(mesh, P("data")))


def assert_placed(mesh, arrays):
    weight, bias = arrays
    for array, axes in ((weight, WEIGHT), (bias, BIAS)):
        placed = NamedSharding(mesh, P(*axes))
        assert array.sharding.is_equivalent_to(placed, array.ndim)
        assert array.addressable_shards[0].data.size == array.size // 4


def assert_same(actual, desired):
    for a, b in zip(actual, desired, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def partitioned(wrap):
    return {
        "weight_init": wrap(jconvt.initializers.torch_uniform(), WEIGHT),
        "bias_init": wrap(nnx.initializers.zeros_init(), BIAS),
    }


def not_at_all(init, axes):
    return init


def test_nnx_layers(mesh):
    def make(**more):
        return jconvt.nnx.ConvTranspose2d(3, 8, 4, **OPTIONS, **more, rngs=nnx.Rngs(0))

    @nnx.jit
    def sharded():
        layer = make(**partitioned(nnx.with_partitioning))
        state = nnx.state(layer)
        specs = nnx.get_partition_spec(state)
        nnx.update(layer, jax.lax.with_sharding_constraint(state, specs))
        return layer

    @nnx.jit
    def step(layer, x):
        gradients = nnx.grad(lambda layer: jnp.mean(layer(x) ** 2))(layer)
        descend = lambda w, g: w - g  # noqa: E731
        nnx.update(layer, jax.tree.map(descend, nnx.state(layer, nnx.Param), gradients))

    def parameters(layer):
        return layer.weight[...], layer.bias[...]

    with jax.set_mesh(mesh):
        layer = sharded()
        assert_placed(mesh, parameters(layer))
        x = batch(mesh)
        step(layer, x)
        assert_placed(mesh, parameters(layer))
        assert layer(x).shape == (4, 8, 10, 10)
    alone = make(**partitioned(not_at_all))
    step(alone, batch())
    assert_same(parameters(layer), parameters(alone))


def test_linen_layers(mesh):
    def make(**more):
        return jconvt.linen.ConvTranspose2d(3, 8, 4, **OPTIONS, **more)

    def step(layer, variables, x):
        loss = lambda v: jnp.mean(layer.apply(v, x) ** 2)  # noqa: E731
        gradients = jax.grad(loss)(variables)
        return jax.tree.map(lambda w, g: w - g, variables, gradients)

    def parameters(variables):
        found = nn.unbox(variables)["params"]
        return found["weight"], found["bias"]

    key, x = jax.random.key(0), batch(mesh)
    layer = make(**partitioned(nn.with_partitioning))
    init = functools.partial(layer.init, key)
    specs = nn.get_partition_spec(jax.eval_shape(init, x))
    placed = jax.tree.map(functools.partial(NamedSharding, mesh), specs)
    variables = jax.jit(init, out_shardings=placed)(x)
    assert_placed(mesh, parameters(variables))
    variables = jax.jit(functools.partial(step, layer))(variables, x)
    assert_placed(mesh, parameters(variables))
    plain = make(**partitioned(not_at_all))
    alone = step(plain, plain.init(key, batch()), batch())
    assert_same(parameters(variables), parameters(alone))
