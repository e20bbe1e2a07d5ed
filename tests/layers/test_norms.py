"""Weight and spectral norm of the layers, against PyTorch's parametrizations.

In float64. The tolerance is that of a sum of so many terms as a weight has, a few times
over: norm, quotient, and the layer itself.
"""

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jconvt.linen
import jconvt.nnx
from configurations import mixes_dtypes
from jconvt._layers.flax import settle_fields

IN, OUT, KERNEL, STRIDE = 4, 6, (3, 2), (2, 1)
EPSILON = np.finfo(np.float64).eps


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch")


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def draw(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


def near(actual, desired, terms=IN * OUT * 6):
    """Within the error of sums of `terms` numbers, relative to the largest.

    Norm and quotient double it; a gradient sums over the output on top.
    """
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape
    bound = 8 * terms * EPSILON * np.abs(desired).max()
    np.testing.assert_allclose(actual, desired, rtol=0, atol=bound)


# The layers of each kind: how they are made, what their weight is called, and their
# parameter as PyTorch's weight and back. All compute the same function.
TORCH_OPTIONS = {"stride": STRIDE, "padding": 1}
FLAX_FIELDS = {
    "strides": STRIDE,
    "padding": tuple(k - 2 for k in KERNEL),
    "param_dtype": jnp.float64,
}
KINDS = {
    "torch": ("ConvTranspose2d", {}),
    "plain": ("ConvTranspose", {"transpose_kernel": False}),
    "transposed": ("ConvTranspose", {"transpose_kernel": True}),
}
kinds = pytest.mark.parametrize("kind", KINDS)


class Layer:
    """A layer of either API with PyTorch's weight put into it."""

    def __init__(self, package, kind, groups=1, init=None, **options):
        name, fields = KINDS[kind]
        made = getattr(package, name)
        self.name = "weight" if kind == "torch" else "kernel"
        if kind == "torch":
            args = (IN, OUT, KERNEL)
            options |= {**TORCH_OPTIONS, "groups": groups, "param_dtype": jnp.float64}
            self.last = False
        else:
            args = (IN, OUT, KERNEL) if package is jconvt.nnx else (OUT, KERNEL)
            options |= {**FLAX_FIELDS, **fields, "groups": groups}
            self.last = True
        if package is jconvt.nnx:
            options["rngs"] = nnx.Rngs(0)
        if init is not None:
            options[f"{self.name}_init"] = init
        self.module = made(*args, **options)

    def parameter(self, weight):
        """PyTorch's weight as the layer's parameter."""
        weight = jnp.asarray(np.asarray(weight))
        if self.last:
            return settle_fields(self.module).kernel.kernel(weight)
        return weight

    def weight(self, parameter):
        """The inverse, for gradients too."""
        if self.last:
            return settle_fields(self.module).kernel.weight(jnp.asarray(parameter))
        return parameter

    def data(self, x):
        return jnp.moveaxis(jnp.asarray(x), 1, -1) if self.last else jnp.asarray(x)


def torch_layer(torch, groups=1):
    layer = torch.nn.ConvTranspose2d(
        IN, OUT, KERNEL, **TORCH_OPTIONS, groups=groups, dtype=torch.float64
    )
    with torch.no_grad():
        layer.weight[:] = torch.tensor(draw(1, layer.weight.shape))
        layer.bias[:] = torch.tensor(draw(2, OUT))
    return layer


X = draw(0, (2, IN, 4, 3))


# Weight norm --------------------------------------------------------------------------


def torch_weight_norm(torch, groups, dim):
    """The normed layer, another magnitude, and (output, gradients of g, v, bias)."""
    layer = torch.nn.utils.parametrizations.weight_norm(
        torch_layer(torch, groups), dim=dim
    )
    norm = layer.parametrizations.weight
    with torch.no_grad():
        norm.original0.mul_(torch.tensor(draw(3, norm.original0.shape) + 3))
    y = layer(torch.tensor(X))
    (y * torch.tensor(draw(4, y.shape))).sum().backward()
    gradients = (norm.original0.grad, norm.original1.grad, layer.bias.grad)
    return norm, layer.bias, y.detach(), gradients


weight_cases = pytest.mark.parametrize(
    ("kind", "groups", "dim"),
    [
        ("torch", 1, 0),
        ("torch", 2, 0),
        ("torch", 1, None),
        ("plain", 1, 0),
        ("plain", 2, 0),
        ("plain", 2, 1),
        ("plain", 1, 3),
        ("transposed", 2, 0),
        ("transposed", 2, 1),
        ("transposed", 1, None),
    ],
)


@weight_cases
def test_nnx_weight_norm_is_torchs(torch, kind, groups, dim):
    norm, bias, y, gradients = torch_weight_norm(torch, groups, dim)
    layer = Layer(jconvt.nnx, kind, groups)
    normed = jconvt.nnx.WeightNorm(layer.module, dim=dim)
    assert normed.scale.shape == norm.original0.shape
    normed.scale[...] = jnp.asarray(norm.original0.detach().numpy())
    parameter = layer.parameter(norm.original1.detach())
    setattr(layer.module, layer.name, nnx.Param(parameter))
    layer.module.bias[...] = jnp.asarray(bias.detach().numpy())

    @nnx.jit
    def run(normed, x):
        y = normed(x)
        cotangent = layer.data(draw(4, (2, OUT, *X_OUT)))
        return y, nnx.grad(lambda m: jnp.sum(m(x) * cotangent))(normed)

    found, state = run(normed, layer.data(X))
    near(found, layer.data(y.numpy()))
    scale, direction = state["scale"][...], state["layer_instance"][layer.name][...]
    near(scale, gradients[0].numpy())
    near(layer.weight(direction), gradients[1].numpy())
    near(state["layer_instance"]["bias"][...], gradients[2].numpy())
    # Calls leave the parameters alone, and the plain layer does the same.
    np.testing.assert_array_equal(getattr(layer.module, layer.name)[...], parameter)
    near(normed.normalized()(layer.data(X)), layer.data(y.numpy()))
    assert type(normed.normalized()) is type(layer.module)


@weight_cases
def test_linen_weight_norm_is_torchs(torch, kind, groups, dim):
    norm, bias, y, gradients = torch_weight_norm(torch, groups, dim)
    layer = Layer(jconvt.linen, kind, groups)
    normed = jconvt.linen.WeightNorm(layer.module, dim=dim)
    x = layer.data(X)
    parameters = {
        layer.name: layer.parameter(norm.original1.detach()),
        "bias": jnp.asarray(bias.detach().numpy()),
    }
    scale = jnp.asarray(norm.original0.detach().numpy())
    params = {"layer_instance": parameters, "scale": scale}

    made = normed.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, {"params": params})
    same = layer.module.apply({"params": made["params"]["layer_instance"]}, x)
    near(normed.apply(made, x), same)  # nothing changes at first

    def loss(params):
        y = normed.apply({"params": params}, x)
        return jnp.sum(y * layer.data(draw(4, (2, OUT, *X_OUT)))), y

    slopes, found = jax.jit(jax.grad(loss, has_aux=True))(params)
    near(found, layer.data(y.numpy()))
    near(slopes["scale"], gradients[0].numpy())
    near(layer.weight(slopes["layer_instance"][layer.name]), gradients[1].numpy())
    near(slopes["layer_instance"]["bias"], gradients[2].numpy())


X_OUT = (
    (X.shape[2] - 1) * STRIDE[0] + KERNEL[0] - 2,
    (X.shape[3] - 1) * STRIDE[1] + KERNEL[1] - 2,
)


@kinds
def test_nnx_weight_norm_changes_nothing_at_first(kind):
    layer = Layer(jconvt.nnx, kind)
    x = layer.data(X)
    near(jconvt.nnx.WeightNorm(layer.module)(x), layer.module(x))


@kinds
def test_linen_weight_norm_leaves_the_initializer_its_weight(kind):
    """Its scale, made while the layer is, is the norm of that."""
    layer = Layer(jconvt.linen, kind, init=nn.initializers.constant(0.5))
    made = jconvt.linen.WeightNorm(layer.module).init(jax.random.key(0), layer.data(X))
    np.testing.assert_array_equal(made["params"]["layer_instance"][layer.name], 0.5)
    near(made["params"]["scale"], np.full((IN, 1, 1, 1), 0.5 * np.sqrt(OUT * 6)))


@kinds
@pytest.mark.parametrize("name", ["WeightNorm", "SpectralNorm"])
def test_linen_keeps_the_parameter_where_parameters_are_mutable(name, kind):
    """As in PyTorch it is stored as it was; what is applied is normalized."""
    layer = Layer(jconvt.linen, kind, init=nn.initializers.constant(0.5))
    normed, x = getattr(jconvt.linen, name)(layer.module), layer.data(X)
    options = {"update_stats": True} if name == "SpectralNorm" else {}
    variables = normed.init(jax.random.key(0), x, **options)
    params = variables["params"]
    np.testing.assert_array_equal(params["layer_instance"][layer.name], 0.5)
    if name == "WeightNorm":
        params["scale"] = 3 * params["scale"]
    y, after = normed.apply(variables, x, mutable=True, **options)
    np.testing.assert_array_equal(after["params"]["layer_instance"][layer.name], 0.5)
    # All weights are equal, of norm 0.5*sqrt(OUT*6) for each input channel and of first
    # singular value 0.5*sqrt(IN*OUT*6).
    factor = {"WeightNorm": 3, "SpectralNorm": 2 / np.sqrt(IN * OUT * 6)}[name]
    applied = dict(params["layer_instance"])
    applied[layer.name] = factor * applied[layer.name]
    near(y, layer.module.apply({"params": applied}, x))


@mixes_dtypes  # inside of Flax's own norm
@kinds
def test_linen_weight_norm_of_flax_is_torchs(torch, kind):
    """With the feature axis that the documentation names."""
    norm, bias, y, gradients = torch_weight_norm(torch, 1, 0)
    layer = Layer(jconvt.linen, kind)
    axis = {"torch": 0, "plain": -2, "transposed": -1}[kind]
    normed = nn.WeightNorm(
        layer.module, feature_axes=axis, variable_filter={layer.name}, epsilon=0
    )
    scale = norm.original0.detach().numpy().ravel()
    params = {
        "layer_instance": {
            layer.name: layer.parameter(norm.original1.detach()),
            "bias": jnp.asarray(bias.detach().numpy()),
        },
        f"layer_instance/{layer.name}/scale": jnp.asarray(scale),
    }
    x = layer.data(X)
    shapes = jax.tree.map(jnp.shape, normed.init(jax.random.key(0), x)["params"])
    assert shapes == jax.tree.map(jnp.shape, params)

    @jax.jit
    def run(params):
        def f(params):
            return normed.apply({"params": params}, x)

        y, pull = jax.vjp(f, params)
        return y, pull(layer.data(draw(4, (2, OUT, *X_OUT))))[0]

    found, gradient = run(params)
    near(found, layer.data(y.numpy()))
    scale = gradient[f"layer_instance/{layer.name}/scale"]
    near(scale, gradients[0].numpy().ravel())
    direction = gradient["layer_instance"][layer.name]
    near(layer.weight(direction), gradients[1].numpy())


def test_nnx_weight_norm_trains():
    """The scale is a parameter: an optimizer sees it."""
    layer = Layer(jconvt.nnx, "plain")
    normed = jconvt.nnx.WeightNorm(layer.module)
    assert set(nnx.state(normed, nnx.Param)) == {"scale", "layer_instance"}
    optimizer = nnx.Optimizer(normed, optax.sgd(1e-3), wrt=nnx.Param)
    x, before = layer.data(X), normed.scale[...]

    @nnx.jit
    def step(normed, optimizer):
        loss, gradients = nnx.value_and_grad(lambda m: jnp.mean(m(x) ** 2))(normed)
        optimizer.update(normed, gradients)
        return loss

    losses = [float(step(normed, optimizer)) for _ in range(3)]
    assert losses[2] < losses[1] < losses[0]
    assert not np.array_equal(normed.scale[...], before)


# Spectral norm ------------------------------------------------------------------------


def torch_spectral_norm(torch, groups, steps, dim=None):
    """What three calls in training and one in evaluation give.

    Each a tuple: output, gradient of the weight, the two vectors afterwards; and first
    the vectors before all.
    """
    torch.manual_seed(0)
    layer = torch.nn.utils.parametrizations.spectral_norm(
        torch_layer(torch, groups), n_power_iterations=steps, dim=dim
    )
    norm = layer.parametrizations.weight

    def vectors():
        return norm[0]._u.numpy().copy(), norm[0]._v.numpy().copy()

    start, calls = vectors(), []
    for training in (True, True, True, False):
        layer.train(training)
        norm.original.grad = None
        y = layer(torch.tensor(X))
        (y * torch.tensor(draw(4, y.shape))).sum().backward()
        calls.append((y.detach().numpy(), norm.original.grad.numpy(), vectors()))
    weight, bias = norm.original.detach().numpy(), layer.bias.detach().numpy()
    return weight, bias, start, calls


spectral_cases = pytest.mark.parametrize(
    ("kind", "groups", "steps", "dim"),
    [
        ("torch", 1, 1, None),
        ("torch", 2, 2, None),
        ("plain", 1, 1, None),
        ("plain", 2, 1, None),
        ("plain", 2, 1, 0),
        ("transposed", 1, 3, None),
        ("transposed", 2, 1, 3),
    ],
)


@spectral_cases
def test_nnx_spectral_norm_is_torchs(torch, kind, groups, steps, dim):
    weight, bias, start, calls = torch_spectral_norm(torch, groups, steps, dim)
    layer = Layer(jconvt.nnx, kind, groups)
    parameter = layer.parameter(weight)
    setattr(layer.module, layer.name, nnx.Param(parameter))
    layer.module.bias[...] = jnp.asarray(bias)
    options = {} if dim is None else {"dim": dim}
    normed = jconvt.nnx.SpectralNorm(
        layer.module, n_steps=steps, **options, rngs=nnx.Rngs(0)
    )
    assert (normed.u.shape, normed.v.shape) == tuple(v.shape for v in start)
    normed.u[...], normed.v[...] = map(jnp.asarray, start)
    x = layer.data(X)

    @nnx.jit
    def run(normed, x):
        def loss(normed):
            y = normed(x)
            return jnp.sum(y * layer.data(draw(4, (2, OUT, *X_OUT)))), y

        (_, y), state = nnx.value_and_grad(loss, has_aux=True)(normed)
        return y, state["layer_instance"][layer.name][...]

    for i, (y, gradient, (u, v)) in enumerate(calls):
        if i == 3:
            normed.eval()
        found, slope = run(normed, x)
        near(found, layer.data(y))
        near(layer.weight(slope), gradient)
        near(normed.u[...], u)
        near(normed.v[...], v)
    np.testing.assert_array_equal(getattr(layer.module, layer.name)[...], parameter)
    near(normed.normalized()(x), layer.data(calls[-1][0]))


@spectral_cases
def test_linen_spectral_norm_is_torchs(torch, kind, groups, steps, dim):
    weight, bias, start, calls = torch_spectral_norm(torch, groups, steps, dim)
    layer = Layer(jconvt.linen, kind, groups)
    options = {} if dim is None else {"dim": dim}
    normed = jconvt.linen.SpectralNorm(layer.module, n_steps=steps, **options)
    params = {
        "layer_instance": {
            layer.name: layer.parameter(weight),
            "bias": jnp.asarray(bias),
        }
    }
    stats = dict(zip("uv", map(jnp.asarray, start), strict=True))
    x = layer.data(X)
    made = normed.init(jax.random.key(0), x, update_stats=True)
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(
        jnp.shape, {"params": params, "batch_stats": stats}
    )

    def run(params, stats, training):
        def loss(params):
            variables = {"params": params, "batch_stats": stats}
            mutable = ["batch_stats"] if training else []
            y, updates = normed.apply(
                variables, x, update_stats=training, mutable=mutable
            )
            loss = jnp.sum(y * layer.data(draw(4, (2, OUT, *X_OUT))))
            return loss, (y, updates.get("batch_stats", stats))

        (_, kept), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return *kept, gradient["layer_instance"][layer.name]

    steps_of = {flag: jax.jit(lambda p, s, f=flag: run(p, s, f)) for flag in (0, 1)}
    for i, (y, gradient, (u, v)) in enumerate(calls):
        found, stats, slope = steps_of[int(i < 3)](params, stats)
        near(found, layer.data(y))
        near(layer.weight(slope), gradient)
        near(stats["u"], u)
        near(stats["v"], v)


def dominated(key, shape, dtype):
    """An initializer of a weight with one large singular value, soon found."""
    return jax.random.normal(key, shape, dtype) + 1


@kinds
@pytest.mark.parametrize("package", [jconvt.nnx, jconvt.linen], ids=["nnx", "linen"])
def test_new_vectors_are_near_the_singular_ones(package, kind):
    """15 iterations are done; 200 more find the first singular value."""
    layer = Layer(package, kind, init=dominated)
    x = layer.data(X)
    if package is jconvt.nnx:
        normed = jconvt.nnx.SpectralNorm(layer.module, n_steps=200, rngs=nnx.Rngs(1))
        parameter = getattr(layer.module, layer.name)[...]
        first = normed.normalized()
        normed(x)
        last = normed.normalized()
        weights = [layer.weight(getattr(m, layer.name)[...]) for m in (first, last)]
    else:
        normed = jconvt.linen.SpectralNorm(layer.module, n_steps=200)
        variables = normed.init(jax.random.key(1), x, update_stats=False)
        parameter = variables["params"]["layer_instance"][layer.name]
        _, updates = normed.apply(
            variables, x, update_stats=True, mutable=["batch_stats"]
        )
        matrix = matrix_of(layer.weight(parameter))
        weights = [
            layer.weight(parameter) / (stats["u"] @ matrix @ stats["v"])
            for stats in (variables["batch_stats"], updates["batch_stats"])
        ]
    values = np.linalg.svd(matrix_of(layer.weight(parameter)), compute_uv=False)
    assert values[1] / values[0] < 0.9  # or else the iteration would be slow
    for weight, bound in zip(weights, (0.9**29, 1e-12), strict=True):
        sigma = np.linalg.svd(matrix_of(weight), compute_uv=False)[0]
        assert 1 - 1e-12 <= sigma < 1 + bound


def matrix_of(weight):
    return np.moveaxis(np.asarray(weight), 1, 0).reshape(weight.shape[1], -1)


def test_linen_spectral_norm_of_flax_fits_a_plain_kernel():
    """And no other: the first singular value of the right matrix becomes one."""
    sigmas = {}
    for kind in KINDS:
        layer = Layer(jconvt.linen, kind, init=dominated)
        normed = nn.SpectralNorm(layer.module, n_steps=50, param_dtype=jnp.float64)
        # An input of one element, channel by channel, shows the weight.
        pixels = np.zeros((IN, IN, 3, 3))
        pixels[range(IN), range(IN), 1, 1] = 1
        x = layer.data(pixels)
        variables = normed.init(jax.random.key(0), x, update_stats=False)
        shown, bias = (
            normed.apply(variables, x, update_stats=False) for x in (x, 0 * x)
        )
        weight = np.asarray(shown - bias)
        weight = np.moveaxis(weight, -1, 1) if layer.last else weight
        sigmas[kind] = np.linalg.svd(matrix_of(weight), compute_uv=False)[0]
    assert sigmas["plain"] == pytest.approx(1)
    assert sigmas["transposed"] != pytest.approx(1, abs=1e-3)
    assert sigmas["torch"] != pytest.approx(1, abs=1e-3)


def test_nnx_spectral_norm_iterates_as_the_call_says():
    """Whatever the constructor, `train` and `eval` said."""
    layer = Layer(jconvt.nnx, "torch")
    x = layer.data(X)
    normed = jconvt.nnx.SpectralNorm(layer.module, rngs=nnx.Rngs(1))
    for training in (True, False):
        normed.train() if training else normed.eval()
        for update in (True, False):
            before = normed.u[...]
            normed(x, update_stats=update)
            assert bool((normed.u[...] != before).any()) == update


def test_a_missing_parameter_is_the_error_of_flax():
    layer = Layer(jconvt.linen, "torch")
    normed = jconvt.linen.WeightNorm(layer.module)
    variables = normed.init(jax.random.key(0), layer.data(X))
    del variables["params"]["layer_instance"]["weight"]
    with pytest.raises(flax.errors.ScopeParamNotFoundError, match="weight"):
        normed.apply(variables, layer.data(X))


# With Flax's tools --------------------------------------------------------------------


def test_partitioned_weights():
    init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, None, "a", "b"))
    layer = jconvt.linen.ConvTranspose(OUT, KERNEL, kernel_init=init)
    normed = jconvt.linen.SpectralNorm(layer)
    x = jnp.ones((1, 3, 3, IN), jnp.float32)
    variables = normed.init(jax.random.key(0), x, update_stats=False)
    spec = nn.get_partition_spec(variables)["params"]["layer_instance"]["kernel"]
    assert spec == jax.sharding.PartitionSpec(None, None, "a", "b")
    plain = nn.meta.unbox(variables)
    np.testing.assert_array_equal(
        normed.apply(variables, x, update_stats=False),
        normed.apply(plain, x, update_stats=False),
    )


def test_a_normed_layer_survives_split_and_merge():
    rngs = nnx.Rngs(0)
    layer = jconvt.nnx.ConvTranspose1d(IN, OUT, 3, rngs=rngs)
    x = jnp.ones((1, IN, 5), jnp.float32)
    for normed in (
        jconvt.nnx.WeightNorm(layer),
        jconvt.nnx.SpectralNorm(layer, update_stats=False, rngs=rngs),
    ):
        merged = nnx.merge(*nnx.split(normed))
        np.testing.assert_array_equal(merged(x), normed(x))
        y = nnx.jit(lambda m, x: m(x, output_size=7))(normed, x)
        np.testing.assert_allclose(y, normed(x), rtol=1e-5)


# Errors -------------------------------------------------------------------------------

AXIS = "`dim` must be an axis of the weight (C_in, C_out/groups, *kernel), from 0 to 2"


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("WeightNorm", {"dim": 3}, ValueError, f"{AXIS}; got 3."),
        ("WeightNorm", {"dim": -1}, ValueError, f"{AXIS}; got -1."),
        ("WeightNorm", {"dim": "0"}, TypeError, f"{AXIS}; got '0' of type str."),
        ("SpectralNorm", {"dim": 3}, ValueError, f"{AXIS}; got 3."),
        ("SpectralNorm", {"dim": None}, TypeError, f"{AXIS}; got None of type None"),
        ("SpectralNorm", {"n_steps": 0}, ValueError, "`n_steps` must be at least 1"),
        ("SpectralNorm", {"n_steps": 1.0}, TypeError, "`n_steps` must be an int"),
    ],
)
def test_errors(name, options, error, message):
    layer = jconvt.nnx.ConvTranspose1d(2, 3, 4, rngs=nnx.Rngs(0))
    rngs = {"rngs": nnx.Rngs(0)} if name == "SpectralNorm" else {}
    with pytest.raises(error) as caught:
        getattr(jconvt.nnx, name)(layer, **options, **rngs)
    assert str(caught.value).startswith(f"{name}: {message}")
    normed = getattr(jconvt.linen, name)(
        jconvt.linen.ConvTranspose1d(2, 3, 4), **options
    )
    stats = {"update_stats": False} if name == "SpectralNorm" else {}
    with pytest.raises(error) as caught:
        normed.init(jax.random.key(0), jnp.ones((1, 2, 3), jnp.float32), **stats)
    assert str(caught.value).startswith(f"{name}: {message}")


def test_layers_of_others_are_refused():
    with pytest.raises(TypeError, match=r"^WeightNorm: `layer_instance` must be"):
        jconvt.nnx.WeightNorm(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    flax_layer = nnx.ConvTranspose(2, 3, (3,), rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"jconvt\.nnx\.replace_conv_transpose\.$"):
        jconvt.nnx.SpectralNorm(flax_layer, rngs=nnx.Rngs(0))
    normed = jconvt.linen.SpectralNorm(nn.Dense(3))
    with pytest.raises(TypeError, match=r"^SpectralNorm: `layer_instance` must be a"):
        normed.init(jax.random.key(0), jnp.ones((1, 2)), update_stats=False)
