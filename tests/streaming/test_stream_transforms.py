"""JAX's transformations of a stream, and programs of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jconvt
from configurations import counts_traces, is_about_jit
from jconvt import streaming
from streams import bound, overlap_add

OPTIONS = {"stride": 2, "padding": [(1, 2)]}
CROP = (1, 2)
init, step, masked_step, flush, masked_flush, delay = bound(**OPTIONS)


@pytest.fixture
def operands():
    """Whole numbers: a signal of 12 elements, a weight, a bias."""
    rng = np.random.default_rng(0)
    shapes = (2, 3, 12), (3, 2, 5), (2,)
    return [jnp.asarray(rng.integers(-3, 4, s), jnp.float32) for s in shapes]


def scanned(x, w, b, *, length=3, detached=False):
    """All of a signal in one `lax.scan` over chunks, and a flush."""
    chunks = jnp.moveaxis(x.reshape(*x.shape[:2], -1, length), 2, 0)

    def body(state, chunk):
        if detached:
            state = lax.stop_gradient(state)
        return step(state, chunk, w, b)

    state, y = lax.scan(body, init(w.shape, batch=len(x)), chunks)
    y = jnp.moveaxis(y, 0, 2).reshape(*y.shape[1:3], -1)
    y = jnp.concatenate([y, flush(state, w, b)], axis=-1)
    return y[..., delay(w.shape) :]


@pytest.mark.parametrize("length", [1, 3, 12])
def test_scan_under_jit(operands, length):
    found = jax.jit(functools.partial(scanned, length=length))(*operands)
    expected = overlap_add(*map(np.asarray, operands), stride=2, crop=CROP)
    np.testing.assert_array_equal(found, expected)


@counts_traces
def test_a_compiled_step_is_traced_once(operands):
    x, w, b = operands
    traces = []

    @jax.jit
    def chunk(state, part):
        traces.append(part.shape)
        return step(state, part, w, b)

    state = init(w.shape, batch=2)
    for start in range(0, 12, 3):
        state, _ = chunk(state, x[..., start : start + 3])
    assert traces == [(2, 3, 3)]


@is_about_jit
def test_an_eager_step_is_one_program(operands):
    x, w, b = operands
    state = init(w.shape, batch=2)
    jax.block_until_ready((state, operands))
    jax.clear_caches()
    seen = []

    def listen(event, duration, **details):
        seen.append(event.rpartition("/")[2])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        state, _ = step(state, x, w, b)
        flush(state, w, b)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert seen.count("backend_compile_duration") == 2


def test_vmap(operands):
    """Of streams, each with its own weight."""
    x, w, b = operands
    w = jnp.stack([w, -w, 2 * w])
    states = jax.vmap(lambda v: init(v.shape, batch=2))(w)
    states, y = jax.vmap(step, in_axes=(0, None, 0, None))(states, x, w, b)
    last = jax.vmap(flush, in_axes=(0, 0, None))(states, w, b)
    y = jnp.concatenate([y, last], -1)[..., delay(w.shape[1:]) :]
    for found, v in zip(y, w, strict=True):
        expected = overlap_add(*map(np.asarray, (x, v, b)), stride=2, crop=CROP)
        np.testing.assert_array_equal(found, expected)


def loss_of(run):
    """Not symmetric in the outputs, and a whole number for whole numbers."""

    def loss(x, w, b):
        y = run(x, w, b)
        return (y * y * (jnp.arange(y.size).reshape(y.shape) % 5)).sum()

    return loss


def test_gradients_through_a_stream_are_those_of_the_whole(operands):
    whole = loss_of(functools.partial(jconvt.conv_transpose, **OPTIONS))
    expected = jax.grad(whole, (0, 1, 2))(*operands)
    found = jax.jit(jax.grad(loss_of(scanned), (0, 1, 2)))(*operands)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_gradients_may_end_at_a_chunk(operands):
    """The value is the same; sums that a state carried have no gradient."""
    short = functools.partial(scanned, detached=True)
    np.testing.assert_array_equal(short(*operands), scanned(*operands))
    whole = jax.grad(loss_of(scanned), (0, 1, 2))(*operands)
    found = jax.jit(jax.grad(loss_of(short), (0, 1, 2)))(*operands)
    assert all(np.isfinite(g).all() for g in found)
    np.testing.assert_array_equal(found[2], whole[2])  # a bias is added at the end
    same = np.asarray(found[0] == whole[0]).all(axis=(0, 1))
    # Of three elements of a chunk, two go on into the next one.
    expected = [*[True, False, False] * 3, True, True, True]
    np.testing.assert_array_equal(same, expected)


def test_forward_mode(operands):
    tangents = [jnp.ones_like(a) for a in operands]
    found = jax.jvp(scanned, operands, tangents)
    whole = functools.partial(jconvt.conv_transpose, **OPTIONS)
    expected = jax.jvp(whole, operands, tangents)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_same_bits_each_time():
    rng = np.random.default_rng(1)
    x, w = (rng.normal(size=s).astype("f") for s in [(2, 3, 12), (3, 2, 5)])
    b = np.zeros(2, "f")
    once, again = (np.asarray(jax.jit(scanned)(x, w, b)) for _ in range(2))
    assert once.tobytes() == again.tobytes()


# Devices ------------------------------------------------------------------------------


@is_about_jit
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_a_batch_may_be_sharded(operands, kind):
    """The state and the outputs are sharded as the batch is."""
    x, w, b = operands
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(kind,))
    items = NamedSharding(mesh, P("batch"))
    expected = step(init(w.shape, batch=2), x, w, b)
    with jax.set_mesh(mesh):
        state, signal = jax.device_put((init(w.shape, batch=2), x), items)
        found = jax.jit(step)(state, signal, w, b)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert one.sharding.is_equivalent_to(items, one.ndim)
        np.testing.assert_array_equal(one, other)


@is_about_jit
def test_shard_map(operands):
    x, w, b = operands
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    items, whole = P("batch"), P()
    sharded = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(items, items, whole, whole),
        out_specs=(items, items),
    )
    state = init(w.shape, batch=2)
    for chunk in (x[..., :5], x[..., 5:]):
        found = sharded(state, chunk, w, b)
        state, y = step(state, chunk, w, b)
        jax.tree.map(np.testing.assert_array_equal, found, (state, y))


# Export -------------------------------------------------------------------------------


def test_a_step_is_exported_with_its_state(operands):
    x, w, b = operands
    state = init(w.shape, batch=2)
    made = export.export(jax.jit(step))(state, x[..., :3], w, b)
    loaded = export.deserialize(made.serialize())
    found = expected = state
    for start in range(0, 12, 3):
        chunk = x[..., start : start + 3]
        found, y = loaded.call(found, chunk, w, b)
        expected, z = step(expected, chunk, w, b)
        assert isinstance(found, streaming.State)
        np.testing.assert_array_equal(y, z)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_an_exported_chunk_may_have_any_length(operands):
    x, w, b = operands
    length, batch = export.symbolic_shape("m, n")
    spec = jax.ShapeDtypeStruct((batch, 3, length), jnp.float32)
    mask = jax.ShapeDtypeStruct((batch, length), bool)
    state = init(w.shape, batch=2)
    states = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((batch, *a.shape[1:]), a.dtype), state
    )
    made = export.export(jax.jit(masked_step))(states, spec, mask, w, b)
    for count in (1, 5, 12):
        real = jnp.ones((2, count), bool)
        found = made.call(state, x[..., :count], real, w, b)
        expected = masked_step(state, x[..., :count], real, w, b)
        jax.tree.map(np.testing.assert_array_equal, found, expected)
