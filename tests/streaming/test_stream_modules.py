"""`Streaming` as a module: its state, transformations, dtypes, norms and messages."""

import re

import flax.errors
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jconvt.linen
import jconvt.nnx
from jconvt import streaming
from jconvt.nnx import StreamState

KEY = jax.random.key(0)


def whole(seed, shape, dtype=np.float32):
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


def whole_tree(tree):
    leaves, treedef = jax.tree.flatten(tree)
    return treedef.unflatten([whole(i, a.shape) for i, a in enumerate(leaves)])


X = whole(7, (2, 4, 12))
OPTIONS = {"stride": 2, "padding": 2}


def layer_of(seed=0, **fields):
    """ConvTranspose1d from 4 to 3 channels, of whole numbers."""
    layer = jconvt.nnx.ConvTranspose1d(4, 3, 6, **OPTIONS | fields, rngs=nnx.Rngs(0))
    for i, parameter in enumerate([layer.weight, layer.bias]):
        new = whole(seed + i, parameter.shape)
        parameter[...] = jnp.asarray(new, parameter[...].dtype)
    return layer


def linen_of(**fields):
    """The same layer of Linen, and its parameters."""
    parameters = {"weight": whole(0, (4, 3, 6)), "bias": whole(1, (3,))}
    return jconvt.linen.ConvTranspose1d(4, 3, 6, **OPTIONS | fields), parameters


def feed(stream, x, lengths=(5, 4, 3)):
    """What a stream gives of a signal, without the delay."""
    chunks = np.split(np.asarray(x), np.cumsum(lengths)[:-1], 2)
    y = jnp.concatenate([*map(stream, chunks), stream.flush()], 2)
    return y[..., stream.delay :]


def equal(actual, desired):
    assert actual.dtype == desired.dtype
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(desired))


# State --------------------------------------------------------------------------------


def test_the_state_is_of_its_own_kind_and_parameters_keep_their_paths():
    layer = layer_of()
    stream = jconvt.nnx.Streaming(layer, batch=2)
    assert stream.layer is layer
    _, parameters, state, rest = nnx.split(stream, nnx.Param, StreamState, ...)
    assert not jax.tree.leaves(rest)
    assert {path for path, _ in nnx.to_flat_state(parameters)} == {
        ("layer", "bias"),
        ("layer", "weight"),
    }
    assert {path for path, _ in nnx.to_flat_state(state)} == {
        ("sums",),
        ("heard",),
        ("missing",),
    }
    saved = nnx.state(layer_of(seed=5))
    nnx.update(stream.layer, saved)
    equal(feed(stream, X), layer_of(seed=5)(X))


def test_split_and_merge_in_the_middle_of_a_signal():
    stream = jconvt.nnx.Streaming(layer_of(), batch=2)
    first = stream(X[..., :5])
    again = nnx.merge(*nnx.split(stream, nnx.Param, StreamState))
    y = jnp.concatenate([first, again(X[..., 5:]), again.flush()], 2)
    equal(y[..., again.delay :], layer_of()(X))


def test_a_pure_dict_of_the_state_goes_on_in_another_module():
    stream = jconvt.nnx.Streaming(layer_of(), batch=2)
    first = stream(X[..., :5])
    saved = nnx.to_pure_dict(nnx.state(stream, StreamState))
    assert {name: value.shape for name, value in saved.items()} == {
        "heard": (2,),
        "missing": (2,),
        "sums": (2, 3, 4),
    }
    other = jconvt.nnx.Streaming(layer_of(), batch=2)
    state = nnx.state(other, StreamState)
    nnx.replace_by_pure_dict(state, saved)
    nnx.update(other, state)
    y = jnp.concatenate([first, other(X[..., 5:]), other.flush()], 2)
    equal(y[..., other.delay :], layer_of()(X))


def test_the_state_is_that_of_the_functions():
    stream = jconvt.nnx.Streaming(layer_of(), batch=2)
    stream(X[..., :5])
    weight, bias = stream.layer.weight[...], stream.layer.bias[...]
    state = streaming.init(weight.shape, batch=2, **OPTIONS)
    state, _ = streaming.step(state, X[..., :5], weight, bias, **OPTIONS)
    jax.tree.map(equal, stream.state, state)
    equal(stream.flush(), streaming.flush(state, weight, bias, **OPTIONS))


def test_a_flush_begins_a_new_signal():
    stream = jconvt.nnx.Streaming(layer_of(), batch=2)
    equal(feed(stream, X), layer_of()(X))
    equal(feed(stream, -X), layer_of()(-X))


def test_reset_of_all_and_of_single_items():
    stream = jconvt.nnx.Streaming(layer_of(), batch=2)
    stream(X[..., :5])
    stream.reset()
    equal(feed(stream, X), layer_of()(X))
    first = stream(X[..., :5])
    stream.reset(np.array([True, False]))
    y = jnp.concatenate([stream(X[..., 5:]), stream.flush()], 2)
    equal(y[:1, :, stream.delay :], layer_of()(X[:1, :, 5:]))
    both = jnp.concatenate([first, y], 2)
    equal(both[1:, :, stream.delay :], layer_of()(X[1:]))


def test_signals_of_different_lengths():
    stream, lengths = jconvt.nnx.Streaming(layer_of(), batch=2), (12, 7)
    mask = np.arange(12) < np.array(lengths)[:, None]
    parts = [
        stream.masked_step(X[..., :8], mask[:, :8]),
        stream.masked_step(X[..., 8:], mask[:, 8:]),
        stream.masked_flush(),
    ]
    y, valid = (jnp.concatenate(part, -1) for part in zip(*parts, strict=True))
    for i, n in enumerate(lengths):
        desired = layer_of()(X[i, :, :n])
        equal(y[i, :, valid[i]].T[:, stream.delay :], desired)
    assert not any(map(jnp.any, stream.state))


def test_a_layer_on_top_knows_the_delay():
    top = jconvt.nnx.ConvTranspose1d(3, 2, 4, 2, 1, rngs=nnx.Rngs(0))
    top.weight[...], top.bias[...] = whole(2, (3, 2, 4)), whole(3, (2,))
    below = jconvt.nnx.Streaming(layer_of(), batch=2)
    above = jconvt.nnx.Streaming(top, batch=2, input_delay=below.delay)
    parts = [above(nnx.relu(below(X[..., :5]))), above(nnx.relu(below(X[..., 5:])))]
    parts += [above(nnx.relu(below.flush())), above.flush()]
    y = jnp.concatenate(parts, 2)[..., above.delay :]
    equal(y, top(nnx.relu(layer_of()(X))))


# Transformations ----------------------------------------------------------------------


def test_jit_keeps_the_state():
    traces = []

    @nnx.jit
    def step(stream, x):
        traces.append(x.shape)
        return stream(x)

    stream = jconvt.nnx.Streaming(layer_of(), batch=2)
    parts = [step(stream, X[..., i : i + 4]) for i in (0, 4, 8)]
    y = jnp.concatenate([*parts, nnx.jit(lambda stream: stream.flush())(stream)], 2)
    equal(y[..., stream.delay :], layer_of()(X))
    assert traces == [(2, 4, 4)]


def chunks_of(x, m):
    """(count, N, C, m)"""
    n, channels, length = x.shape
    return jnp.moveaxis(jnp.reshape(x, (n, channels, length // m, m)), 2, 0)


def unscanned(ys, last, delay):
    count, n, channels, m = ys.shape
    y = jnp.moveaxis(ys, 0, 2).reshape(n, channels, count * m)
    return jnp.concatenate([y, last], 2)[..., delay:]


def scanned(stream, x, m=3):
    axes = nnx.StateAxes({StreamState: nnx.Carry, ...: None})

    @nnx.scan(in_axes=(axes, 0), out_axes=0)
    def step(stream, chunk):
        return stream(chunk)

    return unscanned(step(stream, chunks_of(x, m)), stream.flush(), stream.delay)


def test_scan_over_chunks():
    stream = jconvt.nnx.Streaming(layer_of(), batch=2)
    equal(scanned(stream, X), layer_of()(X))
    assert not any(map(jnp.any, stream.state))


@pytest.mark.parametrize("through", [feed, scanned])
def test_gradients_of_parameters_through_a_stream(through):
    def loss(y):
        return jnp.square(y).sum()

    stream = jconvt.nnx.Streaming(layer_of(), batch=2)
    found = nnx.grad(lambda stream: loss(through(stream, X)))(stream)
    desired = nnx.grad(lambda layer: loss(layer(X)))(layer_of())
    equal(found["layer"]["weight"][...], desired["weight"][...])
    equal(found["layer"]["bias"][...], desired["bias"][...])


def test_an_optimizer_trains_parameters_alone():
    stream = jconvt.nnx.Streaming(layer_of(), batch=2)
    optimizer = nnx.Optimizer(stream, optax.sgd(1.0), wrt=nnx.Param)

    @nnx.jit
    def train(stream, optimizer, x):
        gradient = nnx.grad(lambda stream: stream(x).sum())(stream)
        optimizer.update(stream, gradient)

    before = nnx.clone(stream)
    train(stream, optimizer, X)
    before(X)
    jax.tree.map(equal, stream.state, before.state)
    equal(stream.layer.bias[...], before.layer.bias[...] - 2 * (24 - 2))


# Linen --------------------------------------------------------------------------------


def test_the_collection_and_the_parameters_of_linen():
    layer, parameters = linen_of()
    stream = jconvt.linen.Streaming(layer)
    variables = stream.init(KEY, X[..., :1])
    assert jax.tree.map(jnp.shape, variables) == {
        "params": {"layer": {"weight": (4, 3, 6), "bias": (3,)}},
        "stream": {"sums": (2, 3, 4), "heard": (2,), "missing": (2,)},
    }
    # Without a state a call begins a signal.
    variables = {"params": {"layer": parameters}}
    first, state = stream.apply(variables, X[..., :5], mutable=["stream"])
    saved = flax.serialization.to_bytes(state)
    state = flax.serialization.from_bytes(jax.tree.map(jnp.zeros_like, state), saved)
    variables |= state
    second, state = stream.apply(variables, X[..., 5:], mutable=["stream"])
    last, state = stream.apply(variables | state, method="flush", mutable=["stream"])
    y = jnp.concatenate([first, second, last], 2)[..., stream.delay :]
    equal(y, layer.apply({"params": parameters}, X))
    assert not any(map(jnp.any, jax.tree.leaves(state)))


def test_masks_and_reset_of_linen():
    layer, parameters = linen_of()
    stream = jconvt.linen.Streaming(layer)
    variables = {"params": {"layer": parameters}}

    def call(*args, method):
        nonlocal variables
        result, state = stream.apply(variables, *args, method=method, mutable="stream")
        variables |= state
        return result

    mask = np.arange(12) < np.array([[12], [7]])
    parts = [call(X, mask, method="masked_step"), call(method="masked_flush")]
    y, valid = (jnp.concatenate(part, -1) for part in zip(*parts, strict=True))
    desired = layer.apply({"params": parameters}, X[1, :, :7])
    equal(y[1, :, valid[1]].T[:, stream.delay :], desired)
    first = call(X[..., :5], method="__call__")
    call(np.array([True, False]), method="reset")
    y = jnp.concatenate([call(X[..., 5:], method="__call__"), call(method="flush")], 2)
    equal(y[0, :, 2:], layer.apply({"params": parameters}, X[0, :, 5:]))
    y = jnp.concatenate([first, y], 2)
    equal(y[1, :, 2:], layer.apply({"params": parameters}, X[1]))
    call(X, method="__call__")
    call(method="reset")
    assert not any(map(jnp.any, jax.tree.leaves(variables["stream"])))


def test_gradients_of_linen_through_a_scan():
    layer, parameters = linen_of()
    stream = jconvt.linen.Streaming(layer)
    start = stream.init(KEY, X[..., :3])["stream"]

    def streamed(parameters):
        params = {"params": {"layer": parameters}}

        def step(state, chunk):
            y, new = stream.apply(params | {"stream": state}, chunk, mutable=["stream"])
            return new["stream"], y

        state, ys = jax.lax.scan(step, start, chunks_of(X, 3))
        last = stream.apply(params | {"stream": state}, method="flush")
        return jnp.square(unscanned(ys, last, stream.delay)).sum()

    def at_once(parameters):
        return jnp.square(layer.apply({"params": parameters}, X)).sum()

    desired = jax.grad(at_once)(parameters)
    jax.tree.map(equal, jax.jit(jax.grad(streamed))(parameters), desired)


class Decoder(nn.Module):
    """Two streamed layers, scanned over chunks inside of a module."""

    def setup(self):
        first = jconvt.linen.ConvTranspose(3, (6,), 2)
        self.below = jconvt.linen.Streaming(first)
        top = jconvt.linen.ConvTranspose(2, (4,), 2)
        self.above = jconvt.linen.Streaming(top, input_delay=self.below.delay)

    def __call__(self, chunk):
        return self.above(nn.relu(self.below(chunk)))

    def flush(self):
        rest = self.above(nn.relu(self.below.flush()))
        return jnp.concatenate([rest, self.above.flush()], 1)


def test_nested_modules_under_scan_of_linen():
    x = np.moveaxis(X, 1, 2)
    model = Decoder()
    variables = model.init(KEY, x)
    scan = nn.scan(
        lambda model, _, chunk: (None, model(chunk)),
        variable_broadcast="params",
        variable_carry="stream",
        split_rngs={"params": False},
        in_axes=1,
        out_axes=1,
    )
    chunks = jnp.reshape(x, (2, 4, 3, 4))

    def run(model):
        _, ys = scan(model, None, chunks)
        return ys.reshape(2, -1, 2), model.flush()

    (y, last), _ = nn.apply(run, model, mutable=["stream"])(variables)
    delay = model.bind(variables).above.delay
    found = jnp.concatenate([y, last], 1)[:, delay:]
    below = jconvt.linen.ConvTranspose(3, (6,), 2)
    above = jconvt.linen.ConvTranspose(2, (4,), 2)
    inner = [variables["params"][name]["layer"] for name in ("below", "above")]
    middle = nn.relu(below.apply({"params": inner[0]}, x))
    desired = above.apply({"params": inner[1]}, middle)
    np.testing.assert_allclose(found, desired, rtol=1e-5, atol=1e-5)


def test_a_table_of_linen():
    stream = jconvt.linen.Streaming(linen_of()[0])
    table = nn.tabulate(stream, KEY, console_kwargs={"width": 200})(X)
    assert "ConvTranspose1d" in table
    assert "103" in table  # 75 parameters, 28 elements of state


# Dtypes -------------------------------------------------------------------------------


def test_a_layer_that_computes_in_16_bits():
    layer = layer_of(dtype=jnp.bfloat16)
    stream = jconvt.nnx.Streaming(layer, batch=2)
    assert stream.sums.dtype == np.float32
    equal(feed(stream, X), layer(X))
    assert feed(stream, X).dtype == jnp.bfloat16


def test_parameters_of_16_bits_and_chunks_of_32():
    layer = layer_of(param_dtype=jnp.bfloat16)
    stream = jconvt.nnx.Streaming(layer, batch=2, dtype=np.float32)
    equal(feed(stream, X), layer(X))
    assert feed(stream, X).dtype == np.float32
    x = X.astype(jnp.bfloat16)
    equal(feed(jconvt.nnx.Streaming(layer, batch=2), x), layer(x))


def test_integers_are_heard_in_the_layers_dtype():
    x = X.astype(np.int32)
    equal(feed(jconvt.nnx.Streaming(layer_of(), batch=2), x), layer_of()(x))


def test_a_preferred_element_type():
    fields = {"dtype": jnp.bfloat16, "preferred_element_type": jnp.float32}
    layer = layer_of(**fields)
    equal(feed(jconvt.nnx.Streaming(layer, batch=2), X), layer(X))
    assert layer(X).dtype == np.float32


# Norms --------------------------------------------------------------------------------

NORMS = {"weight": "WeightNorm", "spectral": "SpectralNorm"}
LAYERS = {
    "torch": ("ConvTranspose1d", (6, 2, 2), X),
    "drop-in": ("ConvTranspose", ((6,), 2), np.moveaxis(X, 1, 2)),
}
norms = pytest.mark.parametrize("norm", NORMS)
layers = pytest.mark.parametrize("kind", LAYERS)


@norms
@layers
def test_normalized_layers_of_nnx(norm, kind):
    name, args, x = LAYERS[kind]
    time = x.shape.index(12)
    layer = getattr(jconvt.nnx, name)(4, 3, *args, rngs=nnx.Rngs(0))
    rngs = {"rngs": nnx.Rngs(1)} if norm == "spectral" else {}
    normed = getattr(jconvt.nnx, NORMS[norm])(layer, **rngs)
    if norm == "weight":
        normed.scale[...] *= 3
    stream = jconvt.nnx.Streaming(normed, batch=2)
    chunks = np.split(x, [5], time)
    y = np.concatenate([*map(stream, chunks), stream.flush()], time)
    _, found = np.split(y, [stream.delay], time)
    desired = normed.normalized()(x)
    np.testing.assert_allclose(found, desired, rtol=1e-5, atol=1e-5)
    assert not np.allclose(found, layer(x))


@norms
@layers
def test_normalized_layers_of_linen(norm, kind):
    name, args, x = LAYERS[kind]
    time = x.shape.index(12)
    channels = (4, 3) if kind == "torch" else (3,)
    layer = getattr(jconvt.linen, name)(*channels, *args)
    normed = getattr(jconvt.linen, NORMS[norm])(layer)
    stream = jconvt.linen.Streaming(normed)
    variables = stream.init(KEY, x)
    parameters = variables["params"]["layer"]
    if norm == "weight":
        parameters["scale"] *= 3
    else:
        parameters["layer_instance"] = whole_tree(parameters["layer_instance"])
    parts = []
    for chunk in np.split(x, [5], time):
        y, state = stream.apply(variables, chunk, mutable=["stream"])
        parts.append(y)
        variables = variables | state
    parts.append(stream.apply(variables, method="flush"))
    _, found = np.split(np.concatenate(parts, time), [stream.delay], time)
    own = {col: variables[col]["layer"] for col in variables if col != "stream"}
    options = {"update_stats": False} if norm == "spectral" else {}
    desired = normed.apply(own, x, **options)
    np.testing.assert_allclose(found, desired, rtol=1e-5, atol=1e-5)
    plain = layer.apply({"params": own["params"]["layer_instance"]}, x)
    assert not np.allclose(found, plain)


# Messages -----------------------------------------------------------------------------


def stream_of(layer=None, **options):
    return jconvt.nnx.Streaming(layer or layer_of(), **options)


def linen_stream(x=X, mutable="stream", layer=None, method=None, **fields):
    stream = jconvt.linen.Streaming(layer or linen_of()[0], **fields)
    variables = {"params": {"layer": linen_of()[1]}}
    args = () if x is None else (x,)
    return stream.apply(variables, *args, mutable=mutable, method=method)


def mixed(arrays, *, dtype):
    x, kernel, bias = arrays
    return x, kernel, bias.astype(jnp.bfloat16)


PERIODIC = "Streaming: `padding` must not be periodic along the streamed axis"
MESSAGES = [  # call, error, text
    (
        lambda: stream_of(nnx.ConvTranspose(4, 3, (6,), rngs=nnx.Rngs(0))),
        TypeError,
        "Streaming: `layer` must be a ConvTranspose or ConvTranspose1d, 2d or 3d of "
        "jconvt.nnx, or a norm of one; got ConvTranspose. Layers of Flax become ones "
        "by jconvt.nnx.replace_conv_transpose.",
    ),
    (
        lambda: linen_stream(layer=nn.Dense(3)),
        TypeError,
        "Streaming: `layer` must be a ConvTranspose or ConvTranspose1d, 2d or 3d of "
        "jconvt.linen, or a norm of one; got Dense.",
    ),
    (lambda: stream_of(layer_of(padding="CIRCULAR")), ValueError, PERIODIC),
    (
        lambda: linen_stream(layer=linen_of(padding="CIRCULAR")[0]),
        ValueError,
        PERIODIC,
    ),
    (
        lambda: stream_of(
            jconvt.nnx.ConvTranspose(4, 3, 6, padding="CIRCULAR", rngs=nnx.Rngs(0))
        ),
        ValueError,
        PERIODIC,
    ),
    (lambda: stream_of(axis=1), ValueError, "Streaming: `axis` must be smaller than 1"),
    (lambda: linen_stream(axis="time"), TypeError, "Streaming: `axis` must be an int"),
    (lambda: stream_of(input_delay=-1), ValueError, "`input_delay` must be at least 0"),
    (lambda: linen_stream(dtype="fp16"), TypeError, "Streaming: `dtype` must be a dty"),
    (lambda: stream_of(batch=-1), ValueError, "`batch` must be at least 0; got -1."),
    (lambda: stream_of(space=(3,)), ValueError, "`space` must hold 0 sizes"),
    (
        lambda: stream_of(batch=2)(X[:, :, :, None]),
        ValueError,
        "Streaming: `x` must have 3 axes, or 2 without a batch; got shape "
        "(2, 4, 12, 1).",
    ),
    (lambda: linen_stream(X[0, 0]), ValueError, "`x` must have 3 axes, or 2 without"),
    (lambda: stream_of()([1.0]), TypeError, "Streaming: `x` must be a JAX or NumPy"),
    (lambda: stream_of(batch=3)(X), ValueError, "sums of shape (2, 3, 4)"),
    (
        lambda: stream_of(layer_of(param_dtype=jnp.bfloat16), batch=2)(X),
        TypeError,
        "Streaming: `x` must be of a dtype for which the layer computes in bfloat16, "
        "as this stream does; got float32, for which it is float32. Write "
        "dtype='float32' where Streaming is made, or .astype('bfloat16').",
    ),
    (
        lambda: stream_of(
            jconvt.nnx.ConvTranspose(4, 3, 6, promote_dtype=mixed, rngs=nnx.Rngs(0))
        ),
        TypeError,
        "Streaming: the layer's `promote_dtype` must cast inputs, kernel and bias to "
        "one dtype; got bfloat16, float32.",
    ),
    (
        lambda: stream_of(batch=2).masked_step(X, np.ones(12, bool)),
        ValueError,
        "`mask` must have shape (2, 12); got (12,).",
    ),
    (
        lambda: stream_of(batch=2).reset(np.array([True])),
        ValueError,
        "`where` must have shape (2,); got (1,).",
    ),
    (
        lambda: linen_stream(mutable=False),
        ValueError,
        "Streaming: the collection 'stream', the state of the stream, must be mutable. "
        "Write module.apply(variables, x, mutable=['stream']), which gives the output "
        "and the next state.",
    ),
    (
        lambda: linen_stream(None, method="flush"),
        ValueError,
        "Streaming: the variables must hold the collection 'stream', the state of a "
        "stream that has begun; got none. A call makes it: module.apply(variables, x, "
        "mutable=['stream']).",
    ),
    (lambda: linen_stream(None, method="reset"), ValueError, "got none. A call makes"),
]


@pytest.mark.parametrize(("call", "error", "text"), MESSAGES)
def test_messages(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()


def test_missing_variables_of_linen_are_named_as_flax_does():
    stream = jconvt.linen.Streaming(linen_of()[0])
    found = pytest.raises(flax.errors.ScopeVariableNotFoundError, match="weight")
    with found:
        stream.apply({}, X, mutable=["stream"])
