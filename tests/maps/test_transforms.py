"""JAX's transformations and settings leave the meaning alone.

The arrays hold small integers, so each sum is exact and two results are equal or not.
"""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jconvt
from configurations import counts_traces, is_about_jit, keeps_traces
from jconvt._lowerings.table import LOWERINGS

LAYERS = {  # weight without channels, options
    "overlap": ((3,), {"stride": 2, "padding": 1, "output_padding": 1}),
    "blocks": ((2, 2), {"stride": 2}),
    "grouped": ((3,), {"stride": 2, "groups": 2}),
    "circular": ((4,), {"stride": 2, "padding": "CIRCULAR"}),
}
CHANNELS = 4
layers = pytest.mark.parametrize("layer", LAYERS)


def integers(seed, *shape):
    values = np.random.default_rng(seed).integers(-3, 4, shape)
    return jnp.asarray(values, jnp.float32)


def operands(layer, *more):
    """Input, weight and bias, each with more leading axes."""
    kernel, options = LAYERS[layer]
    space, outputs = (3, 2)[: len(kernel)], CHANNELS // options.get("groups", 1)
    shapes = ((2, CHANNELS, *space), (CHANNELS, outputs, *kernel), (CHANNELS,))
    return [integers(i, *more, *shape) for i, shape in enumerate(shapes)]


def apply(layer, **more):
    return functools.partial(jconvt.conv_transpose, **LAYERS[layer][1], **more)


def loss(f):
    """Curved, so that a gradient depends on everything."""
    return lambda *arrays: jnp.sum(f(*arrays) ** 2)


def assert_equal(actual, desired):
    same = functools.partial(np.testing.assert_allclose, rtol=1e-6)
    jax.tree.map(same, actual, desired)


# Vectorization ------------------------------------------------------------------------

VMAPS = {  # in_axes of input, weight and bias; out_axes
    "input": ((0, None, None), 0),
    "input_at_1": ((1, None, None), 1),
    "input_at_last": ((-1, None, None), -1),
    "weight": ((None, 0, None), 0),
    "weight_at_1": ((None, 1, None), -1),
    "weight_at_last": ((None, -1, None), 1),
    "bias": ((None, None, 0), 0),
    "bias_at_last": ((None, None, -1), 1),
    "input_and_weight": ((1, 0, None), 0),
    "input_and_bias": ((0, None, 1), -1),
    "weight_and_bias": ((None, -1, 0), 1),
    "all": ((0, 0, 0), 0),
    "all_uneven": ((-1, 1, 0), 1),
}


def stacked(arrays, in_axes, size=3):
    """Arrays with one more axis where `in_axes` says so, and the lists of its parts."""
    parts = [
        [a] * size if axis is None else [a + i for i in range(size)]
        for a, axis in zip(arrays, in_axes, strict=True)
    ]
    whole = [
        p[0] if axis is None else jnp.stack(p, axis)
        for p, axis in zip(parts, in_axes, strict=True)
    ]
    return whole, list(zip(*parts, strict=True))


@layers
@pytest.mark.parametrize(("in_axes", "out_axes"), VMAPS.values(), ids=VMAPS)
def test_vmap(layer, in_axes, out_axes):
    f = apply(layer)
    whole, parts = stacked(operands(layer), in_axes)
    desired = jnp.stack([f(*part) for part in parts], out_axes)
    assert_equal(jax.vmap(f, in_axes, out_axes)(*whole), desired)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("rows", ["input_at_last", "weight_at_1", "all_uneven"])
def test_vmap_of_each_lowering(lowering, rows):
    in_axes, out_axes = VMAPS[rows]
    layer = "overlap" if lowering == "winograd" else "blocks"
    f = apply(layer, lowering=lowering)
    whole, parts = stacked(operands(layer), in_axes)
    desired = jnp.stack([apply(layer)(*part) for part in parts], out_axes)
    assert_equal(jax.vmap(f, in_axes, out_axes)(*whole), desired)


@layers
def test_vmap_within_vmap(layer):
    """Every input with every weight."""
    f = apply(layer)
    x, w, b = operands(layer)
    xs, ws = jnp.stack([x, x + 1]), jnp.stack([w, w - 1, w + 2], -1)
    inner = jax.vmap(f, (0, None, None))
    actual = jax.vmap(inner, (None, -1, None), out_axes=1)(xs, ws, b)
    desired = [[f(x, ws[..., i], b) for i in range(3)] for x in xs]
    assert_equal(actual, jnp.asarray(desired))


@layers
def test_gradients_per_example(layer):
    """vmap of grad, of unbatched calls."""
    gradient = jax.jit(jax.grad(loss(apply(layer)), (0, 1, 2)))
    x, w, b = operands(layer)
    desired = [gradient(one, w, b) for one in x]
    desired = jax.tree.map(lambda *parts: np.stack(parts), *desired)
    assert_equal(jax.vmap(gradient, (0, None, None))(x, w, b), desired)


@layers
def test_gradient_of_vmap(layer):
    f = apply(layer)
    x, w, b = operands(layer)
    rows = jax.vmap(f, (0, None, None))
    desired = jax.jit(jax.grad(loss(f), (0, 1, 2)))(x, w, b)
    assert_equal(jax.jit(jax.grad(loss(rows), (0, 1, 2)))(x, w, b), desired)


# Control flow -------------------------------------------------------------------------

TWICE = {
    "jit": lambda step, x: jax.jit(lambda x: step(step(x)))(x),
    "remat": lambda step, x: jax.checkpoint(jax.checkpoint(lambda x: step(step(x))))(x),
    "remat_policy": lambda step, x: jax.checkpoint(
        lambda x: step(step(x)), policy=jax.checkpoint_policies.dots_saveable
    )(x),
    "scan": lambda step, x: lax.scan(lambda x, _: (step(x), None), x, length=2)[0],
    "scan_unrolled": lambda step, x: lax.scan(
        lambda x, _: (step(x), None), x, length=2, unroll=2
    )[0],
    "scan_of_remat": lambda step, x: lax.scan(
        lambda x, _: (jax.checkpoint(step)(x), None), x, length=2
    )[0],
    "fori_loop": lambda step, x: lax.fori_loop(0, 2, lambda _, x: step(x), x),
    "cond": lambda step, x: lax.cond(x.sum() < 1e9, lambda x: step(step(x)), step, x),
    "switch": lambda step, x: lax.switch(
        jnp.int32(x.sum() < 1e9), [step, lambda x: step(step(x))], x
    ),
}


def step_and_input():
    """One that keeps the shape, so that it can be repeated."""
    x, w, _ = operands("overlap")
    return functools.partial(jconvt.conv_transpose1d, weight=w, padding=1), x


def with_derivatives(f, x):
    y, pull = jax.vjp(f, x)
    return y, pull(x), jax.jvp(f, (x,), (x,))[1]


@functools.cache
def stepped_twice():
    step, x = step_and_input()
    return jax.jit(functools.partial(with_derivatives, lambda x: step(step(x))))(x)


@pytest.mark.parametrize("twice", TWICE.values(), ids=TWICE)
def test_control_flow(twice):
    step, x = step_and_input()
    f = functools.partial(twice, step)
    assert_equal(jax.jit(functools.partial(with_derivatives, f))(x), stepped_twice())


def test_while_loop():
    step, x = step_and_input()

    def twice(x):
        def again(state):
            return state[0] < 2

        def body(state):
            return state[0] + 1, step(state[1])

        return lax.while_loop(again, body, (0, x))[1]

    y, _, tangent = stepped_twice()
    assert_equal(jax.jvp(twice, (x,), (x,)), (y, tangent))


def test_scan_over_inputs_sums_the_weight_gradients():
    f = apply("overlap")
    x, w, b = operands("overlap")
    xs = jnp.stack([x, x + 1, x - 1])

    def total(w):
        return lax.scan(lambda c, x: (c + loss(f)(x, w, b), None), 0.0, xs)[0]

    gradient = jax.jit(jax.grad(loss(f), 1))
    desired = sum(gradient(x, w, b) for x in xs)
    assert_equal(jax.jit(jax.grad(total))(w), desired)


# Settings -----------------------------------------------------------------------------

SETTINGS = {
    "disable_jit": jax.disable_jit,
    "strict_dtypes": functools.partial(jax.numpy_dtype_promotion, "strict"),
    "strict_ranks": functools.partial(jax.numpy_rank_promotion, "raise"),
    "debug_nans": functools.partial(jax.debug_nans, True),
    "debug_infs": functools.partial(jax.debug_infs, True),
    "enable_checks": functools.partial(jax.enable_checks, True),
    "checking_leaks": jax.checking_leaks,
    "transfer_guard": functools.partial(jax.transfer_guard, "disallow"),
    "highest_precision": functools.partial(jax.default_matmul_precision, "highest"),
    "double": functools.partial(jax.enable_x64, True),
}


def value_and_gradients(layer, arrays):
    y, pull = jax.vjp(apply(layer), *arrays)
    return y, pull(y)


@functools.cache
def without_setting(layer):
    return jax.jit(value_and_gradients, static_argnums=0)(layer, operands(layer))


@is_about_jit
@pytest.mark.parametrize("layer", ["overlap", "circular"])
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_setting(layer, setting):
    arrays, desired = operands(layer), without_setting(layer)
    jax.clear_caches()  # traces of before, which would go unchecked
    with setting():
        actual = jax.jit(value_and_gradients, static_argnums=0)(layer, arrays)
    assert_equal(actual, desired)
    assert {a.dtype for a in jax.tree.leaves(actual)} == {np.dtype(np.float32)}


def test_strict_promotion_refuses_mixed_dtypes():
    x, w, b = operands("overlap")
    with (
        jax.numpy_dtype_promotion("strict"),
        pytest.raises(ValueError, match="no available implicit dtype promotion"),
    ):
        apply("overlap")(x.astype(jnp.bfloat16), w, b)


def test_debug_nans_sees_a_nan():
    x, w, b = operands("overlap")
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        apply("overlap")(x.at[0, 0, 0].set(jnp.nan), w, b)


# Arguments ----------------------------------------------------------------------------


@layers
def test_numpy_arrays(layer):
    arrays = operands(layer)
    desired = apply(layer)(*arrays)
    actual = apply(layer)(*map(np.asarray, arrays))
    assert isinstance(actual, jax.Array)
    assert_equal(actual, desired)
    x, *constants = map(np.asarray, arrays)
    assert_equal(jax.jit(lambda x: apply(layer)(x, *constants))(x), desired)


@layers
def test_eval_shape(layer):
    arrays = operands(layer)
    shapes = [jax.ShapeDtypeStruct(a.shape, jnp.bfloat16) for a in arrays]
    shape = jax.eval_shape(apply(layer), *shapes)
    assert shape.dtype == jnp.bfloat16
    assert shape.shape == apply(layer)(*arrays).shape
    x, w, _ = arrays
    assert shape.shape == jconvt.output_shape(x.shape, w.shape, **LAYERS[layer][1])


def test_weak_types_give_way():
    """An array made of Python's numbers takes the other operand's dtype."""
    weak = jnp.broadcast_to(jnp.asarray(1.0), (1, 2, 4))
    assert weak.weak_type
    f = functools.partial(jconvt.conv_transpose1d, stride=2)
    y, pull = jax.vjp(f, weak, jnp.ones((2, 3, 2), jnp.bfloat16))
    dx, dw = pull(y)
    assert (y.dtype, dx.dtype, dw.dtype) == (jnp.bfloat16, jnp.float32, jnp.bfloat16)


@is_about_jit
def test_donated_input_is_used_up_and_others_are_not():
    step, x = step_and_input()
    desired = step(x)
    assert not x.is_deleted()
    copy = jnp.array(x, copy=True)
    assert_equal(jax.jit(step, donate_argnums=0)(copy), desired)
    assert copy.is_deleted()


# Programs -----------------------------------------------------------------------------


@pytest.fixture
def compilations():
    """Counts JAX's tracings and compilations, by name; nothing is cached at first."""
    seen = collections.Counter()

    def listen(event, duration, **details):
        seen[event.rpartition("/")[2]] += 1

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


COMPILED = "backend_compile_duration"


def call(layer="overlap", change=lambda x, w, b: (x, w, b), **options):
    return lambda: (apply(layer, **options), change(*operands(layer)))


CALLS = {
    **{layer: call(layer) for layer in LAYERS},
    "unbatched": call(change=lambda x, w, b: (x[0], w, b)),
    "numpy": call(change=lambda *arrays: tuple(map(np.asarray, arrays))),
    "mixed": call(change=lambda x, w, b: (x.astype("float16"), w, b.astype(int))),
    "no_bias": call(change=lambda x, w, b: (x, w)),
    "no_batch": call(change=lambda x, w, b: (x[:0], w, b)),
    "channels_last": call(
        change=lambda x, w, b: (x.transpose(0, 2, 1), w, b),
        dimension_numbers=("NWC", "IOW", "NWC"),
    ),
    "integers": call(change=lambda *arrays: tuple(a.astype(int) for a in arrays)),
}


@is_about_jit
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_eager_call_is_one_program_compiled_once(call, compilations):
    f, arrays = call()
    jax.block_until_ready(arrays)
    compilations.clear()
    f(*arrays)
    assert compilations[COMPILED] == 1
    compilations.clear()
    for _ in range(3):
        f(*arrays)
    assert not compilations


@is_about_jit
def test_other_spellings_of_the_options_share_the_program(compilations):
    x, w, _ = operands("overlap")
    jconvt.conv_transpose1d(x, w, stride=2, padding=1)
    compilations.clear()
    jconvt.conv_transpose1d(x, w, stride=[2], padding=(1,), dilation=(1,))
    jconvt.conv_transpose1d(x, w, stride=np.int64(2), padding=[1], groups=np.int8(1))
    jconvt.conv_transpose1d(x, w, None, (2,), 1, output_size=5)
    jconvt.conv_transpose(x, w, stride=2, padding=[(1, 1)])
    assert not compilations


@pytest.mark.parametrize(
    "transform",
    [
        pytest.param(lambda f: jax.grad(loss(f), (0, 1, 2)), id="grad"),
        pytest.param(lambda f: jax.vmap(f, (0, None, None)), id="vmap"),
        pytest.param(lambda f: lambda *a: jax.jvp(f, a, a), id="jvp"),
    ],
)
@keeps_traces
def test_repeated_eager_transforms_compile_nothing_new(transform, compilations):
    arrays = operands("overlap")
    f = transform(apply("overlap"))
    f(*arrays)
    compilations.clear()
    f(*arrays)
    assert not compilations[COMPILED]


@counts_traces
def test_a_jitted_step_is_traced_once(compilations):
    traces = []

    @jax.jit
    def step(x, w, b):
        traces.append(x.shape)
        gradients = jax.grad(loss(apply("overlap")), (0, 1, 2))(x, w, b)
        return jax.tree.map(jnp.subtract, (x, w, b), gradients)

    state = step(*operands("overlap"))
    compilations.clear()
    for _ in range(3):
        state = step(*state)
    assert not compilations
    assert len(traces) == 1


@pytest.mark.parametrize("in_axes", [(0, None), (None, 0), (0, 0)], ids=str)
@layers
def test_vmap_over_nothing(layer, in_axes):
    """An axis of length 0 gives results and gradients without elements."""
    f = apply(layer)
    x, w, _ = operands(layer)
    x, w = (
        a if axis is None else jnp.zeros((0, *a.shape))
        for a, axis in zip((x, w), in_axes, strict=True)
    )
    run = jax.vmap(jax.value_and_grad(loss(f), (0, 1)), in_axes)
    y, (dx, dw) = run(x, w)
    assert y.shape == (0,)
    assert dx.shape == (0, *operands(layer)[0].shape)
    assert dw.shape == (0, *operands(layer)[1].shape)


def test_symbolic_vmap_over_kernels():
    """More output channels, and their number is not known."""
    (n,) = jax.export.symbolic_shape("n")
    x, w, b = operands("overlap")
    run = jax.jit(jax.vmap(apply("overlap"), (None, 0, None)))
    shapes = [x.shape, (n, *w.shape), b.shape]
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    exported = jax.export.export(run, platforms=["cpu"])(*arrays)
    ws = jnp.stack([w, w + 1])
    assert_equal(exported.call(x, ws, b), run(x, ws, b))
