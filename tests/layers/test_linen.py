"""The Linen layers among Linen's own tools: variables, transformations, sharding."""

import copy
import pickle

import flax.errors
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jconvt.linen import ConvTranspose1d, ConvTranspose2d

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 4)), "float32")


class Compact(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.relu(ConvTranspose2d(3, 4, 2, stride=2)(x))
        y = ConvTranspose2d(4, 2, 3, stride=2, padding=1, bias=False)(
            y, output_size=x.shape[-1] * 4
        )
        return ConvTranspose2d(2, 2, 1, name="last")(y)


class Setup(nn.Module):
    def setup(self):
        self.first = ConvTranspose2d(3, 4, 2, stride=2)
        self.rest = [ConvTranspose2d(4, 4, 3, padding=1) for _ in range(2)]

    def __call__(self, x):
        y = self.first(x)
        for layer in self.rest:
            y = layer(y)
        return y


def shapes(variables):
    return jax.tree.map(jnp.shape, variables)


def test_variables_of_modules(x):
    assert shapes(Compact().init(KEY, x)) == {
        "params": {
            "ConvTranspose2d_0": {"weight": (3, 4, 2, 2), "bias": (4,)},
            "ConvTranspose2d_1": {"weight": (4, 2, 3, 3)},
            "last": {"weight": (2, 2, 1, 1), "bias": (2,)},
        }
    }
    layer = {"weight": (4, 4, 3, 3), "bias": (4,)}
    variables = Setup().init(KEY, x)
    assert shapes(variables) == {
        "params": {
            "first": {"weight": (3, 4, 2, 2), "bias": (4,)},
            "rest_0": layer,
            "rest_1": layer,
        }
    }
    assert Setup().apply(variables, x).shape == (2, 4, 8, 8)
    # Shared under the hood, the same layer may run twice in one call.
    bound = Setup().bind(variables)
    np.testing.assert_array_equal(bound.first(x), bound.first(x))


def test_fields_are_canonical_and_modules_compare():
    layer = ConvTranspose2d(2, 3, [3, 2], stride=2, padding=[1, 0])
    assert layer.kernel_size == (3, 2)
    assert layer.stride == (2, 2)
    assert layer.padding == (1, 0)
    assert layer.output_padding == (0, 0)
    assert layer.dilation == (1, 1)
    assert layer.bias is True
    same = ConvTranspose2d(2, 3, (3, 2), (2, 2), (1, 0))
    assert layer == same
    assert hash(layer) == hash(same)
    assert layer != ConvTranspose2d(2, 3, (3, 2), (2, 2), 1)


def test_copies_and_clones(x):
    layer = ConvTranspose2d(3, 4, 3, stride=2)
    variables = layer.init(KEY, x)
    for other in [
        layer.clone(),
        layer.copy(),
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
    ]:
        assert other == layer
        np.testing.assert_array_equal(
            other.apply(variables, x), layer.apply(variables, x)
        )
    wider = layer.copy(stride=3)
    assert wider.apply(variables, x).shape == (2, 4, 12, 12)
    with pytest.raises(
        ValueError, match=r"^ConvTranspose2d: `stride` must be at least"
    ):
        layer.copy(stride=0)


def test_jit_and_gradients(x):
    model = Compact()
    variables = jax.jit(model.init)(KEY, x)
    assert jax.jit(model.apply)(variables, x).shape == (2, 2, 16, 16)
    gradients = jax.jit(jax.grad(lambda v: jnp.sum(model.apply(v, x) ** 2)))(variables)
    assert shapes(gradients) == shapes(variables)
    assert all(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(gradients))


def test_sequential(x):
    model = nn.Sequential(
        [ConvTranspose2d(3, 4, 2, 2), nn.relu, ConvTranspose2d(4, 3, 2, 2)]
    )
    y, variables = model.init_with_output(KEY, x)
    assert set(variables["params"]) == {"layers_0", "layers_2"}
    assert y.shape == (2, 3, 16, 16)


def test_remat_keeps_the_variables_and_values(x):
    plain = ConvTranspose2d(3, 4, 3)
    remat = nn.remat(ConvTranspose2d)(3, 4, 3)
    variables = plain.init(KEY, x)
    assert shapes(remat.init(KEY, x)) == shapes(variables)

    def gradient(module):
        return jax.jit(jax.grad(lambda v: jnp.sum(module.apply(v, x) ** 2)))(variables)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        gradient(remat),
        gradient(plain),
    )


def test_scan_over_layers(x):
    class Step(nn.Module):
        @nn.compact
        def __call__(self, carry, _):
            return ConvTranspose2d(3, 3, 3, padding=1, name="up")(carry), None

    stack = nn.scan(
        Step, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
    )()
    variables = stack.init(KEY, x, None)
    stacked = variables["params"]["up"]
    assert shapes(stacked) == {"weight": (3, 3, 3, 3, 3), "bias": (3, 3)}
    assert not jnp.array_equal(stacked["weight"][0], stacked["weight"][1])

    y, _ = jax.jit(stack.apply)(variables, x, None)
    one_by_one, layer = x, ConvTranspose2d(3, 3, 3, padding=1)
    for i in range(3):
        part = jax.tree.map(lambda leaf, i=i: leaf[i], stacked)
        one_by_one = layer.apply({"params": part}, one_by_one)
    np.testing.assert_allclose(y, one_by_one, rtol=1e-5, atol=1e-5)


def test_vmap_over_an_ensemble(x):
    ensemble = nn.vmap(
        ConvTranspose2d,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=None,
        axis_size=3,
    )(3, 4, 2, stride=2)
    y, variables = ensemble.init_with_output(KEY, x)
    assert shapes(variables["params"]) == {"weight": (3, 3, 4, 2, 2), "bias": (3, 4)}
    for i in range(3):
        part = jax.tree.map(lambda leaf, i=i: leaf[i], variables)
        one = ConvTranspose2d(3, 4, 2, stride=2).apply(part, x)
        np.testing.assert_allclose(y[i], one, rtol=1e-5, atol=1e-5)


def test_tabulate(x):
    table = ConvTranspose2d(3, 4, 2, stride=2).tabulate(
        KEY, x, console_kwargs={"width": 160, "color_system": None}
    )
    assert "ConvTranspose2d" in table
    assert "float32[3,4,2,2]" in table
    assert "float32[2,4,8,8]" in table
    assert "52 (208 B)" in table


def test_checkpoints_as_dicts(x):
    model = Compact()
    variables = model.init(KEY, x)
    state = flax.serialization.to_state_dict(variables)
    blank = jax.tree.map(jnp.zeros_like, variables)
    restored = flax.serialization.from_state_dict(blank, state)
    data = flax.serialization.to_bytes(variables)
    for other in (restored, flax.serialization.from_bytes(blank, data)):
        jax.tree.map(np.testing.assert_array_equal, other, variables)


def test_partitioning_boxes(x):
    axes = (None, "model", None, None)
    layer = ConvTranspose2d(
        3,
        4,
        3,
        weight_init=nn.with_partitioning(nn.initializers.ones_init(), axes),
        bias_init=nn.with_partitioning(nn.initializers.zeros_init(), ("model",)),
    )
    variables = layer.init(KEY, x)
    assert isinstance(variables["params"]["weight"], nn.Partitioned)
    spec = jax.sharding.PartitionSpec
    assert nn.get_partition_spec(variables)["params"] == {
        "weight": spec(*axes),
        "bias": spec("model"),
    }
    boxed = layer.apply(variables, x)
    np.testing.assert_array_equal(boxed, layer.apply(nn.unbox(variables), x))


def test_a_training_step_lowers_the_loss(x):
    model, optimizer = Compact(), optax.sgd(0.1)
    variables = model.init(KEY, x)
    target = jax.image.resize(x[:, :2], (2, 2, 16, 16), "linear")

    def loss(variables):
        return jnp.mean((model.apply(variables, x) - target) ** 2)

    @jax.jit
    def step(variables, state):
        error, gradients = jax.value_and_grad(loss)(variables)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(variables, updates), state, error

    state, errors = optimizer.init(variables), []
    for _ in range(5):
        variables, state, error = step(variables, state)
        errors.append(float(error))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]


def test_eval_shape_makes_no_array():
    layer = ConvTranspose1d(2**20, 2**20, 9)
    x = jax.ShapeDtypeStruct((1, 2**20, 1), jnp.float32)
    y, variables = jax.eval_shape(layer.init_with_output, KEY, x)
    assert y.shape == (1, 2**20, 9)
    assert variables["params"]["weight"].shape == (2**20, 2**20, 9)


# What it says -------------------------------------------------------------------------


def test_errors_come_from_the_constructor_inside_a_module_too():
    class Wrong(nn.Module):
        @nn.compact
        def __call__(self, x):
            return ConvTranspose2d(3, 4, 3, groups=2)(x)

    with pytest.raises(ValueError, match=r"^ConvTranspose2d: `in_channels` must be"):
        Wrong().init(KEY, jnp.ones((1, 3, 2, 2)))


def test_parameters_of_another_shape_and_none_at_all(x):
    layer = ConvTranspose2d(3, 4, 3)
    variables = ConvTranspose2d(3, 4, 2).init(KEY, x)
    with pytest.raises(flax.errors.ScopeParamShapeError, match="weight"):
        layer.apply(variables, x)
    with pytest.raises(flax.errors.ScopeParamNotFoundError, match="bias"):
        layer.apply({"params": {"weight": jnp.ones((3, 4, 3, 3))}}, x)


def test_a_subclass_speaks_in_its_own_name():
    class Upsample(ConvTranspose2d):
        pass

    layer = Upsample(2, 3, 4)
    assert repr(layer) == "Upsample(2, 3, kernel_size=(4, 4), stride=(1, 1))"
    with pytest.raises(ValueError, match=r"^Upsample: `groups` must be at least 1"):
        layer.copy(groups=0)
