"""The NNX layers among NNX's own tools: state, transformations, training, sharding."""

import copy
import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jconvt.nnx
from configurations import counts_traces
from jconvt.nnx import ConvTranspose, ConvTranspose1d, ConvTranspose2d, SpectralNorm


class UpAndUp(nnx.Module):
    """Two layers, as a network would hold them."""

    def __init__(self, *, rngs):
        self.first = ConvTranspose2d(3, 4, 2, stride=2, rngs=rngs)
        self.second = ConvTranspose2d(
            4, 2, 3, stride=2, padding=1, bias=False, rngs=rngs
        )

    def __call__(self, x):
        return self.second(nnx.relu(self.first(x)), output_size=x.shape[-1] * 4)


@pytest.fixture(scope="module")
def network():
    return UpAndUp(rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 4)), "float32")


def assert_same(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)
    assert jax.tree.structure(tree) == jax.tree.structure(other)


def test_parameters_are_the_only_state(network):
    graphdef, state = nnx.split(network)
    assert hash(graphdef) == hash(nnx.split(network)[0])
    assert {path: leaf[...].shape for path, leaf in nnx.to_flat_state(state)} == {
        ("first", "weight"): (3, 4, 2, 2),
        ("first", "bias"): (4,),
        ("second", "weight"): (4, 2, 3, 3),
    }
    assert nnx.state(network, nnx.Param) == state
    assert all(isinstance(leaf, nnx.Param) for _, leaf in nnx.to_flat_state(state))
    assert network.second.bias is None


def test_attributes_are_those_of_torch():
    torch = pytest.importorskip("torch")
    args, options = (4, 6, (3, 2), 2, 1), {"groups": 2, "dilation": 2}
    ours = ConvTranspose2d(*args, **options, rngs=nnx.Rngs(0))
    theirs = torch.nn.ConvTranspose2d(*args, **options)
    names = ["in_channels", "out_channels", "kernel_size", "stride", "padding"]
    for name in [*names, "output_padding", "groups", "dilation"]:
        assert getattr(ours, name) == getattr(theirs, name)
    with pytest.raises(AttributeError):  # or else it would be set without an effect
        ours.stride = (1, 1)


def test_split_merge_clone_and_copies(network, x):
    y = network(x)
    merged = nnx.merge(*nnx.split(network))
    shaken = jax.tree.map(lambda leaf: leaf, network)
    pickled = pickle.loads(pickle.dumps(nnx.split(network)))
    for other in [
        merged,
        nnx.clone(network),
        copy.deepcopy(network),
        shaken,
        nnx.merge(*pickled),
    ]:
        np.testing.assert_array_equal(other(x), y)
        assert repr(other.first) == repr(network.first)


def test_pure_dicts_restore_a_layer(x):
    layer = ConvTranspose2d(3, 4, 3, rngs=nnx.Rngs(0))
    saved = nnx.to_pure_dict(nnx.state(layer))
    assert {name: value.shape for name, value in saved.items()} == {
        "weight": (3, 4, 3, 3),
        "bias": (4,),
    }
    graphdef, state = nnx.split(nnx.eval_shape(lambda: nnx.clone(layer)))
    nnx.replace_by_pure_dict(state, saved)
    np.testing.assert_array_equal(nnx.merge(graphdef, state)(x), layer(x))


@counts_traces
def test_jit_traces_once(network, x):
    traces = []

    @nnx.jit
    def apply(network, x):
        traces.append(1)
        return network(x)

    np.testing.assert_allclose(apply(network, x), network(x), rtol=1e-6, atol=1e-6)
    apply(nnx.clone(network), x)
    assert traces == [1]


def test_gradients_of_every_parameter(network, x):
    gradients = nnx.jit(nnx.grad(lambda network, x: jnp.sum(network(x) ** 2)))(
        network, x
    )
    state = nnx.state(network, nnx.Param)
    assert jax.tree.structure(gradients) == jax.tree.structure(state)
    for gradient, value in zip(
        jax.tree.leaves(gradients), jax.tree.leaves(state), strict=True
    ):
        assert gradient.shape == value.shape
        assert float(jnp.abs(gradient).max()) > 0


def test_remat_and_scan(x):
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def make(rngs):
        return ConvTranspose2d(3, 3, 3, padding=1, rngs=rngs)

    layers = make(nnx.Rngs(0))
    assert layers.weight.shape == (3, 3, 3, 3, 3)
    assert not jnp.array_equal(layers.weight[0], layers.weight[1])

    @nnx.jit
    @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
    @nnx.remat
    def run(x, layer):
        return layer(x)

    graphdef, state = nnx.split(layers)
    one_by_one = x
    for i in range(3):
        layer = nnx.merge(graphdef, jax.tree.map(lambda leaf, i=i: leaf[i], state))
        one_by_one = layer(one_by_one)
    np.testing.assert_allclose(run(x, layers), one_by_one, rtol=1e-5, atol=1e-5)


def test_sequential(x):
    rngs = nnx.Rngs(0)
    first = ConvTranspose2d(3, 4, 2, 2, rngs=rngs)
    second = ConvTranspose2d(4, 3, 2, 2, rngs=rngs)
    y = nnx.Sequential(first, nnx.relu, second)(x)
    np.testing.assert_array_equal(y, second(nnx.relu(first(x))))


def test_eval_shape_makes_no_array():
    layer = nnx.eval_shape(lambda: ConvTranspose1d(2**20, 2**20, 9, rngs=nnx.Rngs(0)))
    assert layer.weight.shape == (2**20, 2**20, 9)
    y = nnx.eval_shape(lambda m, x: m(x), layer, jnp.ones((1, 2**20, 1)))
    assert y.shape == (1, 2**20, 9)


def test_a_training_step_lowers_the_loss(x):
    network = UpAndUp(rngs=nnx.Rngs(1))
    optimizer = nnx.Optimizer(network, optax.sgd(0.1), wrt=nnx.Param)
    target = jax.image.resize(x[:, :2], (2, 2, 16, 16), "linear")

    def loss(network):
        return jnp.mean((network(x) - target) ** 2)

    @nnx.jit
    def step(network, optimizer):
        error, gradients = nnx.value_and_grad(loss)(network)
        optimizer.update(network, gradients)
        return error

    errors = [float(step(network, optimizer)) for _ in range(5)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]


def test_the_bias_can_be_set_and_taken_away():
    layer = ConvTranspose1d(1, 2, 1, bias=False, rngs=nnx.Rngs(0))
    x = jnp.zeros((1, 3))
    layer.bias = nnx.Param(jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(layer(x), [[1, 1, 1], [2, 2, 2]])
    assert set(nnx.state(layer)) == {"weight", "bias"}
    layer.bias = None
    np.testing.assert_array_equal(layer(x), jnp.zeros((2, 3)))


def test_streams_are_drawn_from_once_a_parameter():
    rngs = nnx.Rngs(params=3)
    ConvTranspose1d(2, 3, 3, rngs=rngs)
    assert int(rngs.params.count[...]) == 2
    same = [ConvTranspose1d(2, 3, 3, rngs=nnx.Rngs(params=3)) for _ in range(2)]
    assert_same(*(nnx.to_pure_dict(nnx.state(layer)) for layer in same))


# Partitioning -------------------------------------------------------------------------


def test_partitioned_initializers():
    init = nnx.with_partitioning(
        jconvt.initializers.torch_uniform(), (None, "model", None, None)
    )
    bias_init = nnx.with_partitioning(nnx.initializers.zeros_init(), ("model",))
    mesh = jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.set_mesh(mesh):
        layer = ConvTranspose2d(
            3, 4, 3, weight_init=init, bias_init=bias_init, rngs=nnx.Rngs(0)
        )
        specs = nnx.to_pure_dict(nnx.get_partition_spec(nnx.state(layer)))
        y = layer(jnp.ones((1, 3, 2, 2)))
    spec = jax.sharding.PartitionSpec
    assert specs == {"weight": spec(None, "model", None, None), "bias": spec("model")}
    assert y.shape == (1, 4, 4, 4)
    plain = ConvTranspose2d(3, 4, 3, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(layer.weight[...], plain.weight[...])


def test_metadata():
    layer = ConvTranspose2d(
        3,
        4,
        3,
        weight_metadata={"decay": True},
        bias_metadata={"decay": False},
        rngs=nnx.Rngs(0),
    )
    assert layer.weight.get_metadata()["decay"] is True
    assert layer.bias.get_metadata()["decay"] is False


# What it says -------------------------------------------------------------------------


def test_trees_show_options_and_parameters(network, capsys):
    nnx.display(network)
    shown = capsys.readouterr().out
    for text in (str(network), shown):
        assert "ConvTranspose2d(3, 4, kernel_size=(2, 2), stride=(2, 2))" in text
        assert "(3, 4, 2, 2)" in text
        assert "Param" in text


def test_a_subclass_speaks_in_its_own_name():
    class Upsample(ConvTranspose1d):
        def __init__(self, channels, *, rngs):
            super().__init__(channels, channels, 4, stride=2, padding=1, rngs=rngs)

    layer = Upsample(2, rngs=nnx.Rngs(0))
    assert repr(layer).startswith("Upsample(2, 2, kernel_size=(4,)")
    with pytest.raises(ValueError, match=r"^Upsample: `input` must have as many"):
        layer(jnp.ones((1, 3, 4)))
    assert list(inspect.signature(Upsample).parameters) == ["channels", "rngs"]


def test_rngs_are_required():
    message = r"ConvTranspose2d\.__init__\(\) missing .*'rngs'"
    with pytest.raises(TypeError, match=rf"^{message}"):
        ConvTranspose2d(2, 3, 3)


LAYERS = {
    "ConvTranspose2d": lambda rngs: ConvTranspose2d(2, 3, 3, rngs=rngs),
    "ConvTranspose": lambda rngs: ConvTranspose(2, 3, (3,), rngs=rngs),
    "SpectralNorm": lambda rngs: SpectralNorm(
        ConvTranspose2d(2, 3, 3, rngs=nnx.Rngs(0)), rngs=rngs
    ),
}
KEY = jax.random.key(0)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    ("rngs", "error", "message"),
    [
        (0, TypeError, r"must be a flax\.nnx\.Rngs; got int\. nnx\.Rngs\(0\) makes"),
        (KEY, TypeError, rf"must be a flax\.nnx\.Rngs; got {type(KEY).__name__}\."),
        (nnx.Rngs(dropout=0), ValueError, r"must have a stream 'params', .*'dropout'"),
        (nnx.Rngs(), ValueError, r"must have a stream 'params', .*; got no stream\."),
    ],
)
def test_rngs_that_draw_no_parameters(name, rngs, error, message):
    with pytest.raises(error, match=f"^{name}: `rngs` {message}"):
        LAYERS[name](rngs)
