"""The drop-in layers among Flax's tools: each does with them what it does with Flax's.

Parameters and inputs are small integers in floating point, so results must be equal.
"""

import copy
import math
import pickle

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from jax.experimental import jet

import jconvt
import jconvt.linen
import jconvt.nnx
from flax_layers import assert_same, whole
from programs import equations

PACKAGES = {"nnx": (nnx, jconvt.nnx), "linen": (nn, jconvt.linen)}
KEY = jax.random.key(0)
spec = jax.sharding.PartitionSpec


def whole_init(key, shape, dtype=jnp.float32):
    """An initializer of small integers; random bits would take long to compile."""
    start = jax.random.key_data(key).sum()
    numbers = (start + jnp.arange(math.prod(shape), dtype=start.dtype)) * 3 % 5
    return numbers.reshape(shape).astype(dtype) - 2


INIT = {"kernel_init": whole_init, "bias_init": whole_init}


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(whole(0, (2, 4, 3, 3)))


def plain(tree):
    """A state or tree of variables as a tree of arrays."""
    return nnx.to_pure_dict(tree) if isinstance(tree, nnx.State) else tree


# NNX ----------------------------------------------------------------------------------


class Decoder(nnx.Module):
    """A network whose layers stand everywhere that NNX has a place for them."""

    def __init__(self, package, rngs):
        def layer(*args, **fields):
            return package.ConvTranspose(*args, **INIT, **fields, rngs=rngs)

        self.first = layer(3, 4, (2, 2), 2)
        self.rest = nnx.List([layer(4, 4, (3, 3), padding="CIRCULAR"), nnx.relu])
        self.named = nnx.Dict(up=layer(4, 4, (3, 3), (2, 1)), again=self.first)
        self.several = nnx.data((layer(4, 2, (1, 1), use_bias=False), {"k": 1}))
        self.chain = nnx.Sequential(layer(4, 4, (3, 3)), nnx.relu, self.rest[0])
        self.other = nnx.Conv(4, 4, (1, 1), kernel_init=whole_init, rngs=rngs)

    def __call__(self, x):
        x = self.chain(self.rest[1](self.rest[0](self.first(x))))
        return self.several[0](self.other(self.named["up"](x)))


PLACES = {
    ("first",),
    ("chain", "layers", 2),  # and in `rest`; the first path found
    ("named", "up"),
    ("several", 0),
    ("chain", "layers", 0),
}


def decoders():
    return [Decoder(package, nnx.Rngs(0)) for package in PACKAGES["nnx"]]


def gradients(model, x):
    return nnx.grad(lambda model, x: jnp.sum(model(x)))(model, x)


def test_split_merge_and_copies(x):
    theirs, ours = decoders()
    y = theirs(x)
    for other in (
        ours,
        nnx.merge(*nnx.split(ours)),
        nnx.clone(ours),
        copy.deepcopy(ours),
        nnx.merge(*pickle.loads(pickle.dumps(nnx.split(ours.first)))),
    ):
        if isinstance(other, Decoder):
            np.testing.assert_array_equal(other(x), y)
        else:
            np.testing.assert_array_equal(other(x), ours.first(x))
    assert_same(*(plain(nnx.state(model)) for model in (ours, theirs)))


def test_states_of_either_fit_the_other(x):
    theirs, ours = decoders()
    for model, other in ((theirs, ours), (ours, theirs)):
        nnx.update(model, jax.tree.map(lambda leaf: leaf + 1, nnx.state(model)))
        nnx.update(other, nnx.state(model))
        np.testing.assert_array_equal(other(x), model(x))


def test_jit_traces_once_and_gradients(x):
    theirs, ours = decoders()
    traces = []

    @nnx.jit
    def run(model, x):
        traces.append(type(model.first))
        return model(x), gradients(model, x)

    found, wanted = run(ours, x), run(theirs, x)
    run(nnx.clone(ours), x)
    assert traces == [jconvt.nnx.ConvTranspose, nnx.ConvTranspose]
    assert_same(found[0], wanted[0])
    assert_same(*(plain(g[1]) for g in (found, wanted)))


def nnx_scan(package, x):
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def make(rngs):
        return package.ConvTranspose(3, 3, (3, 3), **INIT, rngs=rngs)

    @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
    @nnx.remat
    def run(x, layer):
        return layer(x)

    layers = make(nnx.Rngs(0))
    assert layers.kernel.shape == (3, 3, 3, 3, 3)
    slopes = nnx.grad(lambda layers: jnp.sum(run(x, layers)))(layers)
    return run(x, layers), plain(slopes)


def nnx_vmap(package, x):
    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0)
    def make(rngs):
        return package.ConvTranspose(
            3, 2, (3, 2), 2, **INIT, transpose_kernel=True, rngs=rngs
        )

    @nnx.vmap(in_axes=(0, None))
    def run(layer, x):
        return layer(x)

    layers = make(nnx.Rngs(0))
    slopes = nnx.grad(lambda layers: jnp.sum(run(layers, x) ** 2))(layers)
    return run(layers, x), plain(slopes)


def linen_model(package):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x, _=None):
            return package.ConvTranspose(3, (3, 3), **INIT, name="up")(x), None

    return Model


def linen_scan(package, x):
    stack = nn.scan(
        nn.remat(linen_model(package)),
        variable_axes={"params": 0},
        split_rngs={"params": True},
        length=3,
    )()
    variables = stack.init(KEY, x, None)
    assert variables["params"]["up"]["kernel"].shape == (3, 3, 3, 3, 3)

    def f(variables):
        return stack.apply(variables, x, None)[0]

    return f(variables), jax.grad(lambda v: jnp.sum(f(v)))(variables)


def linen_remat(package, x):
    layer = nn.remat(package.ConvTranspose)(4, (3, 3), 2, "VALID", **INIT)
    variables = layer.init(KEY, x)
    slopes = jax.grad(lambda v: jnp.sum(layer.apply(v, x) ** 2))(variables)
    return layer.apply(variables, x), variables, slopes


def linen_vmap(package, x):
    layers = nn.vmap(
        package.ConvTranspose,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=None,
        axis_size=3,
    )(4, (3, 2), padding="CIRCULAR", **INIT)
    variables = layers.init(KEY, x)
    slopes = jax.grad(lambda v: jnp.sum(layers.apply(v, x) ** 2))(variables)
    return layers.apply(variables, x), variables, slopes


@pytest.mark.parametrize(
    "tool", [nnx_scan, nnx_vmap, linen_scan, linen_remat, linen_vmap]
)
def test_transformations(tool, x):
    theirs, ours = (
        jax.jit(lambda x, package=package: tool(package, x))(x)
        for package in PACKAGES[tool.__name__.split("_")[0]]
    )
    assert_same(ours, theirs)


def test_metadata_and_partitioning():
    """Metadata reaches the Variables as in Flax, and sharding by initializers too."""
    mesh = jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    init = nnx.with_partitioning(whole_init, (None, None, None, "model"))
    with jax.set_mesh(mesh):
        theirs, ours = (
            package.ConvTranspose(
                3,
                4,
                (3, 3),
                kernel_init=init,
                kernel_metadata={"decay": True},
                bias_metadata={"decay": False},
                rngs=nnx.Rngs(0),
            )
            for package in PACKAGES["nnx"]
        )
        specs = [
            nnx.to_pure_dict(nnx.get_partition_spec(nnx.state(layer)))
            for layer in (ours, theirs)
        ]
    assert specs[0] == specs[1]
    assert specs[0]["kernel"] == spec(None, None, None, "model")
    for name in ("kernel", "bias"):
        found, wanted = (getattr(m, name).get_metadata() for m in (ours, theirs))
        assert found.keys() == wanted.keys()
        assert found["decay"] is wanted["decay"]


def test_linen_partitioning(x):
    init = nn.with_partitioning(whole_init, (None, None, None, "model"))
    theirs, ours = (
        package.ConvTranspose(4, (3, 3), kernel_init=init).init(KEY, x)
        for package in PACKAGES["linen"]
    )
    assert_same(ours, theirs)
    found, wanted = map(nn.get_partition_spec, (ours, theirs))
    assert found == wanted
    assert found["params"]["kernel"] == spec(None, None, None, "model")
    y = jconvt.linen.ConvTranspose(4, (3, 3)).apply(nn.meta.unbox(ours), x)
    assert y.shape == (2, 4, 3, 4)


def test_linen_copies_hashes_and_tables(x):
    layer = jconvt.linen.ConvTranspose(4, (3, 3), (2, 1), groups=1)
    for other in (layer.clone(), copy.deepcopy(layer), layer.copy()):
        assert other == layer
        assert hash(other) == hash(layer)
    assert layer.copy(groups=3) != layer
    table = layer.tabulate(KEY, x, console_kwargs={"width": 160, "color_system": None})
    assert "float32[3,3,3,4]" in table


# Checkpoints --------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
def test_taylor_mode(transposed, x):
    """Of input and kernel; the kernel passes a barrier, of which JAX has no rule."""
    kernel = jnp.asarray(whole(1, (2, 2, 3, 3)))

    def coefficients(package):
        layer = package.ConvTranspose(
            3, (2, 2), strides=(2, 2), use_bias=False, transpose_kernel=transposed
        )

        def apply(kernel, x):
            return layer.apply({"params": {"kernel": kernel}}, x)

        return jet.jet(apply, (kernel, x), ([kernel, 2 * kernel], [3 * x, x]))

    assert_same(coefficients(jconvt.linen), coefficients(nn))


@pytest.mark.parametrize("first", [0, 1], ids=["from Flax", "to Flax"])
def test_orbax_nnx(first, tmp_path, x):
    ocp = pytest.importorskip("orbax.checkpoint", reason="saves and restores")
    saved, other = decoders()[:: -1 if first else 1]
    nnx.update(saved, jax.tree.map(lambda leaf: leaf + 1, nnx.state(saved)))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.state(saved))
        checkpointer.wait_until_finished()
        blank = jax.tree.map(jnp.zeros_like, nnx.state(other))
        nnx.update(other, checkpointer.restore(tmp_path / "state", blank))
    np.testing.assert_array_equal(other(x), saved(x))


@pytest.mark.parametrize("first", [0, 1], ids=["from Flax", "to Flax"])
def test_orbax_linen(first, tmp_path, x):
    ocp = pytest.importorskip("orbax.checkpoint", reason="saves and restores")
    saved, other = (
        nn.Sequential([package.ConvTranspose(4, (3, 3), 2, **INIT)])
        for package in PACKAGES["linen"][:: -1 if first else 1]
    )
    variables = saved.init(KEY, x)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "variables", variables)
        checkpointer.wait_until_finished()
        blank = jax.tree.map(jnp.zeros_like, other.init(KEY, x))
        restored = checkpointer.restore(tmp_path / "variables", blank)
    np.testing.assert_array_equal(other.apply(restored, x), saved.apply(variables, x))


def test_state_dicts(x):
    theirs, ours = (
        package.ConvTranspose(4, (3, 3), **INIT) for package in PACKAGES["linen"]
    )
    variables = theirs.init(KEY, x)
    blank = jax.tree.map(jnp.zeros_like, ours.init(KEY, x))
    restored = flax.serialization.from_bytes(
        blank, flax.serialization.to_bytes(variables)
    )
    assert_same(ours.apply(restored, x), theirs.apply(variables, x))


# The adapter --------------------------------------------------------------------------


def test_replaced_layers_keep_objects_and_values(x):
    model, new = decoders()
    y, slopes = model(x), gradients(model, x)
    layers = {
        path: node
        for path, node in nnx.iter_graph(model)
        if isinstance(node, nnx.ConvTranspose)
    }
    variables = {path: (node.kernel, node.bias) for path, node in layers.items()}

    changed = jconvt.nnx.replace_conv_transpose(model)
    assert set(changed) == PLACES
    assert {id(layer) for layer in changed.values()} == set(map(id, layers.values()))
    for path, layer in changed.items():
        assert type(layer) is jconvt.nnx.ConvTranspose
        assert layer is layers[path]
        kernel, bias = variables[path]
        assert layer.kernel is kernel
        assert layer.bias is bias
    assert model.first is model.named["again"]
    assert model.rest[0] is model.chain.layers[2]
    assert type(model.other) is nnx.Conv

    np.testing.assert_array_equal(model(x), y)
    assert_same(plain(gradients(model, x)), plain(slopes))
    # With the attributes of a layer that was made as one.
    assert vars(model.first).keys() == vars(new.first).keys()
    assert jconvt.nnx.replace_conv_transpose(model) == {}


def test_the_model_itself_is_replaced():
    layer = nnx.ConvTranspose(2, 3, (3,), rngs=nnx.Rngs(0))
    assert jconvt.nnx.replace_conv_transpose(layer) == {(): layer}
    assert type(layer) is jconvt.nnx.ConvTranspose


def test_replacing_with_a_lowering(x):
    theirs, ours = Decoder(nnx, nnx.Rngs(0)), Decoder(nnx, nnx.Rngs(0))
    found = jconvt.nnx.replace_conv_transpose(ours, lowering="lhs_dilation")
    assert {layer.lowering for layer in found.values()} == {"lhs_dilation"}
    np.testing.assert_array_equal(ours(x), theirs(x))
    for name in ("conv_general_dilated", "conv_transpose", "optimization_barrier"):
        made = [len(equations(name, model, x)) for model in (ours, theirs)]
        assert made[0] == made[1]


def test_replacing_with_a_lowering_for_each_map(x):
    """The layers and their clones compute with it, under `nnx.jit` too."""
    mine = jconvt.Lowerings(forward="gather", weight_gradient="role_swapped")
    theirs, ours = Decoder(nnx, nnx.Rngs(0)), Decoder(nnx, nnx.Rngs(0))
    found = jconvt.nnx.replace_conv_transpose(ours, lowering=mine)
    assert {layer.lowering for layer in found.values()} == {mine}
    run = nnx.jit(lambda model, x: model(x))
    np.testing.assert_array_equal(run(nnx.clone(ours), x), theirs(x))
    made = equations("conv_transpose", ours, x)
    assert {equation.params["call"].lowering for equation in made} == {mine}


@pytest.mark.parametrize(
    ("lowering", "error", "message"),
    [
        ("abacus", ValueError, "must be one of auto, lhs_dilation, "),
        (None, TypeError, "must be a string or a jconvt.Lowerings; got None"),
    ],
)
def test_replacing_with_no_lowering(lowering, error, message):
    layer = nnx.ConvTranspose(2, 3, (3,), rngs=nnx.Rngs(0))
    with pytest.raises(error, match=f"^replace_conv_transpose: `lowering` {message}"):
        jconvt.nnx.replace_conv_transpose(layer, lowering=lowering)
    assert type(layer) is nnx.ConvTranspose


def test_replacing_with_an_entry_that_is_no_lowering():
    layer, mine = nnx.ConvTranspose(2, 3, (3,), rngs=nnx.Rngs(0)), jconvt.Lowerings
    with pytest.raises(ValueError, match=r": `lowering.forward` must be one of auto, "):
        jconvt.nnx.replace_conv_transpose(layer, lowering=mine(forward="abacus"))
    assert type(layer) is nnx.ConvTranspose


def test_subclasses_are_left_alone():
    class Twice(nnx.ConvTranspose):
        def __call__(self, inputs):
            return 2 * super().__call__(inputs)

    model = nnx.Sequential(Twice(2, 3, (3,), rngs=nnx.Rngs(0)))
    with pytest.warns(UserWarning, match=r"Twice at \('layers', 0\)") as told:
        assert jconvt.nnx.replace_conv_transpose(model) == {}
    assert [warning.filename for warning in told] == [__file__]
    assert type(model.layers[0]) is Twice


def test_subclasses_of_ours_are_ours():
    class Twice(jconvt.nnx.ConvTranspose):
        pass

    model = nnx.Sequential(Twice(2, 3, (3,), rngs=nnx.Rngs(0)))
    assert jconvt.nnx.replace_conv_transpose(model) == {}


def test_only_models_are_taken():
    with pytest.raises(TypeError, match=r"^replace_conv_transpose: `model` must be an"):
        jconvt.nnx.replace_conv_transpose([nnx.Linear(1, 1, rngs=nnx.Rngs(0))])


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_replacing_around_an_optimizer_and_jit(when, x):
    """The same training whenever it happens: steps go on from where they are."""

    @nnx.jit
    def step(model, optimizer, x):
        loss, slopes = nnx.value_and_grad(lambda m: jnp.mean(m(x) ** 2))(model)
        optimizer.update(model, slopes)
        return loss

    losses = []
    for replace in ("never", when):
        model = nnx.Sequential(
            nnx.ConvTranspose(3, 4, (2, 2), 2, rngs=nnx.Rngs(0)),
            nnx.ConvTranspose(4, 2, (3, 3), rngs=nnx.Rngs(1)),
        )
        if replace == "before":
            jconvt.nnx.replace_conv_transpose(model)
        optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
        if replace == "after":
            jconvt.nnx.replace_conv_transpose(model)
        found = [step(model, optimizer, x)]
        if replace == "between":
            jconvt.nnx.replace_conv_transpose(model)
        found += [step(model, optimizer, x) for _ in range(3)]
        losses.append(found)
    assert losses[1][-1] < losses[1][0]
    # Four steps of float32: a mean of 128 squares of sums of 36 products, and Adam.
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


def test_replacing_inside_of_jit():
    """A model made inside may be changed there; one from outside Flax refuses."""
    x = jnp.ones((1, 4, 2))

    def make():
        return nnx.Sequential(nnx.ConvTranspose(2, 3, (3,), rngs=nnx.Rngs(0)))

    @nnx.jit
    def inside(x):
        model = make()
        assert jconvt.nnx.replace_conv_transpose(model)
        return model(x)

    np.testing.assert_allclose(inside(x), make()(x), rtol=1e-6, atol=1e-6)

    @nnx.jit
    def outside(model, x):
        jconvt.nnx.replace_conv_transpose(model)
        return model(x)

    with pytest.raises(ValueError, match="node of type"):
        outside(make(), x)
