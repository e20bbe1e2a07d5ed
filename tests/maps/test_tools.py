"""Tools that work on traced programs: JAX's own, and others that know lax.

With `lowering="lhs_dilation"` a call is one convolution of lax, which every tool knows.
JAX's own tools know the primitives that other calls are. What a tool makes of either
is the same. The arrays hold small integers, so every sum is exact.
"""

import functools
import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify, jet, roofline

import jconvt
import jconvt.linen
from jconvt._call.problem import Map
from jconvt._maps.primitive import PRIMITIVES
from jconvt._shapes import call_of_shapes
from programs import equations

OURS = [primitive.name for primitive in PRIMITIVES.values()]

LAYERS = {  # weight, options
    "plain": ((4, 3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "grouped": ((4, 2, 2, 3), {"stride": 2, "groups": 2}),
    "dilated": ((4, 2, 3, 2), {"stride": (1, 2), "dilation": 2, "padding": 1}),
    "circular": ((4, 3, 3, 3), {"stride": 2, "padding": "CIRCULAR"}),
    "trimmed": ((4, 3, 2, 2), {"stride": 2, "padding": [(3, -1), (0, 4)]}),
    "taken_for_groups": ((4, 3, 2, 2), {"stride": 2, "padding": 1, "dilation": 2}),
    "channels_last": (
        (3, 3, 4, 3),
        {"stride": 2, "dimension_numbers": ("NHWC", "HWIO", "NHWC")},
    ),
}
layers = pytest.mark.parametrize("layer", LAYERS)


def integers(seed, *shape, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).integers(-3, 4, shape), dtype)


def operands(layer, seed=0, dtype=jnp.float32):
    weight, options = LAYERS[layer]
    last = "dimension_numbers" in options
    shape = (2, 3, 4, 4) if last else (2, 4, 3, 4)
    return integers(seed, *shape, dtype=dtype), integers(seed + 1, *weight, dtype=dtype)


def up(layer, lowering="auto", **more):
    return functools.partial(
        jconvt.conv_transpose, **LAYERS[layer][1], lowering=lowering, **more
    )


def both(layer, **more):
    """As primitives, and as lax."""
    return up(layer, **more), up(layer, "lhs_dilation", **more)


def loss(f):
    return lambda *arrays: jnp.sum(f(*arrays) ** 2)


def assert_equal(actual, desired):
    jax.tree.map(np.testing.assert_array_equal, actual, desired)


def assert_close(actual, desired):
    """`jet` multiplies by rounded factorials."""
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-2)
    jax.tree.map(close, actual, desired)


# Plain lax ----------------------------------------------------------------------------

DERIVATIVES = {  # function of a layer's function -> convolutions
    "output": (lambda f: f, 1),
    "tangent": (lambda f: lambda x, w: jax.jvp(f, (x, w), (x, w)), 3),
    "gradients": (lambda f: jax.grad(loss(f), (0, 1)), 3),
}


@layers
@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_named_it_is_one_convolution_of_lax(layer, derivative):
    derive, count = DERIVATIVES[derivative]
    ours, lax = map(derive, both(layer))
    arrays = operands(layer)
    found = len(equations("conv_general_dilated", lax, *arrays))
    assert found == count
    assert not any(equations(name, lax, *arrays) for name in OURS)
    assert any(equations(name, ours, *arrays) for name in OURS)
    assert_equal(lax(*arrays), ours(*arrays))


@pytest.mark.parametrize(
    ("lowering", "apart"),
    [("auto", 1), (jconvt.Lowerings(forward="lhs_dilation"), 1), ("lhs_dilation", 2)],
    ids=str,
)
def test_plain_lax_alone_keeps_a_common_divisor(lowering, apart):
    """Of stride and dilation, which are both 2; the others compute the layer of 1."""
    x, w = operands("taken_for_groups")
    options = LAYERS["taken_for_groups"][1]
    call, *_ = call_of_shapes("test", x.shape, w.shape, **options, lowering=lowering)
    geometry = call.problem(x.shape, w.shape).geometry
    assert (geometry.stride, geometry.dilation) == ((apart, apart),) * 2
    found = equations("conv_general_dilated", up("taken_for_groups", lowering), x, w)
    distances = [(e.params["lhs_dilation"], e.params["rhs_dilation"]) for e in found]
    assert distances == ([((2, 2), (2, 2))] if apart == 2 else [])


@layers
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=str)
def test_vmap_of_plain_lax(layer, axes):
    arrays = [
        a if axis is None else jnp.stack([a, a + 1, 2 * a])
        for a, axis in zip(operands(layer), axes, strict=True)
    ]
    derive, _ = DERIVATIVES["gradients"]
    ours, lax = (
        [jax.vmap(g, axes)(*arrays) for g in (f, derive(f))] for f in both(layer)
    )
    assert_equal(lax, ours)


@layers
def test_plain_lax_inside_shard_map(layer):
    x, w = operands(layer)
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    derive, _ = DERIVATIVES["gradients"]
    for f in (up(layer, "lhs_dilation"), derive(up(layer, "lhs_dilation"))):
        # A weight's gradient is summed over the devices, and an output is not.
        outs = spec("i") if f.__class__ is functools.partial else (spec("i"), spec())
        mapped = jax.shard_map(
            f, mesh=mesh, in_specs=(spec("i"), spec()), out_specs=outs
        )
        assert_equal(mapped(x, w), f(x, w))


@pytest.mark.parametrize("sizes", [(0, 4, 3, 4), (2, 0, 3, 4), (2, 4, 0, 4)], ids=str)
def test_plain_lax_of_nothing(sizes):
    x, w = jnp.ones(sizes), jnp.ones((sizes[1], 3, 2, 2))
    ours, lax = (
        jconvt.conv_transpose(x, w, stride=2, padding=[(-3, -3)] * 2, lowering=lowering)
        for lowering in ("auto", "lhs_dilation")
    )
    assert_equal(lax, ours)


# JAX's own tools ----------------------------------------------------------------------


@layers
@pytest.mark.parametrize("derivative", ["output", "gradients"])
def test_taylor_mode(layer, derivative):
    derive, _ = DERIVATIVES[derivative]
    arrays = operands(layer)
    series = [[operands(layer, 10 * order)[i] for order in (1, 2, 3)] for i in (0, 1)]
    ours, lax = (jet.jet(derive(f), arrays, series) for f in both(layer))
    assert_close(ours, lax)


def test_taylor_mode_of_a_product_along_a_line():
    """The n-th derivative of f(x + t*x, w + t*w) = (1 + t)^2 f(x, w) at 0."""
    x, w = operands("plain")
    f = up("plain")
    zero = jnp.zeros_like
    series = ([x, zero(x), zero(x)], [w, zero(w), zero(w)])
    value, (first, second, third) = jet.jet(f, (x, w), series)
    y = f(x, w)
    assert_close((value, first, second, third), (y, 2 * y, 2 * y, zero(y)))


@pytest.mark.parametrize("derivative", ["output", "gradients"])
@pytest.mark.parametrize("lowering", ["auto", "lhs_dilation"])
def test_checkify_finds_nan(lowering, derivative):
    derive, _ = DERIVATIVES[derivative]
    f = checkify.checkify(derive(up("plain", lowering)), errors=checkify.float_checks)
    x, w = operands("plain")
    error, _ = f(x, w)
    error.throw()
    # No operand is NaN, so that no other primitive finds one first.
    error, _ = f(x.at[0, 0, 0, 0].set(jnp.inf), w.at[0, 0, 1, 1].set(0))
    with pytest.raises(checkify.JaxRuntimeError, match="nan generated by primitive"):
        error.throw()


@layers
@pytest.mark.parametrize("made", list(Map))
def test_roofline_counts_as_for_lax(layer, made):
    x, w = operands(layer)
    ours, lax = (_operation(made, f, x, w) for f in both(layer))
    (_, ours), (_, lax) = (roofline.roofline(f)(*arrays) for f, arrays in (ours, lax))
    assert ours.unfused_flops == lax.unfused_flops > 0


def test_roofline_counts_bytes():
    x, w = operands("plain")
    y, found = roofline.roofline(up("plain"))(x, w)
    assert found.unfused_hbm_bytes == 4 * (x.size + w.size + math.prod(y.shape))


def _operation(made, f, x, w):
    """One of the three maps alone, and its operands."""
    y = jnp.ones_like(f(x, w))
    if made == Map.OUTPUT:
        return f, (x, w)
    if made == Map.INPUT:
        return lambda w, y: jax.linear_transpose(lambda x: f(x, w), x)(y), (w, y)
    return lambda x, y: jax.linear_transpose(lambda w: f(x, w), w)(y), (x, y)


LATE = """
import sys, jax, jax.numpy as jnp, jconvt
tools = ("jax.experimental.jet", "jax._src.checkify", "jax.experimental.roofline")
assert not any(tool in sys.modules for tool in tools)
f = jax.jit(lambda x, w: jconvt.conv_transpose1d(x, w, stride=2))
x, w = jnp.ones((1, 1, 3)), jnp.ones((1, 1, 2))
f(x, w)
from jax.experimental import jet
jet.jet(f, (x, w), ([x], [w]))
from jax.experimental import checkify
g = lambda x, w: jconvt.conv_transpose1d(x, w, stride=2)
error, _ = checkify.checkify(g, errors=checkify.float_checks)(x / 0, w * 0)
assert "conv_transpose" in error.get(), error
"""


def test_tools_are_not_loaded_and_may_be_loaded_late():
    subprocess.run([sys.executable, "-W", "error", "-c", LATE], check=True)


# Tools that know lax ------------------------------------------------------------------


def test_functions_of_lax_may_be_replaced_during_a_call(monkeypatch):
    """No trace from before is found, and none is left."""
    x, w = operands("plain")
    f = up("plain", "lhs_dilation")
    y, convolve = f(x, w), jax.lax.conv_general_dilated

    def twice(*arrays, **options):
        return 2 * convolve(*arrays, **options)

    with monkeypatch.context() as patch:
        patch.setattr(jax.lax, "conv_general_dilated", twice)
        assert_equal(f(x, w), 2 * y)
    assert_equal(f(x, w), y)


@pytest.mark.parametrize("by", ["lowering", "policy"])
def test_checkpoint_may_keep_results(by):
    policies = jax.checkpoint_policies
    known = policies.dots_saveable
    if by == "policy":
        known = policies.save_from_both_policies(
            known, lambda primitive, *_, **__: primitive.name == "conv_transpose"
        )
    x, w = operands("plain")

    def computed(lowering, policy):
        f = jax.checkpoint(
            lambda x, w: jnp.sin(up("plain", lowering)(x, w)).sum(), policy=policy
        )
        names = ("conv_general_dilated", *OURS)
        slopes = jax.grad(f, (0, 1))
        return sum(len(equations(name, slopes, x, w)) for name in names)

    lowering = "lhs_dilation" if by == "lowering" else "auto"
    assert computed(lowering, known) == 3
    assert computed(lowering, policies.nothing_saveable) == 4


@pytest.mark.filterwarnings("ignore:'VariableState' was removed")  # qwix asks for it
def test_quantized():
    qwix = pytest.importorskip("qwix", reason="a quantizer that replaces lax")
    rules = [qwix.QuantizationRule(weight_qtype=jnp.int8, act_qtype=jnp.int8)]
    x = jnp.linspace(-1, 1, 2 * 8 * 8 * 3).reshape(2, 8, 8, 3)
    layer = jconvt.linen.ConvTranspose(4, (3, 3), 2, lowering="lhs_dilation")
    variables = layer.init(jax.random.key(0), x)
    exact = layer.apply(variables, x)
    quantized = qwix.quantize_model(layer, qwix.QtProvider(rules))
    error = jnp.abs(quantized.apply(variables, x) - exact).max()
    # Sums of 12 products at most, each of two numbers of 8 bits.
    assert 0 < error < 12 * 2 / 127
    assert_equal(layer.apply(variables, x), exact)


@pytest.mark.parametrize("layer", ["plain", "grouped", "channels_last"])
def test_exported_to_onnx(layer):
    exporter = pytest.importorskip("jax2onnx", reason="an exporter that knows lax")
    runtime = pytest.importorskip("onnxruntime", reason="runs the model")
    x, w = operands(layer)
    f = functools.partial(up(layer, "lhs_dilation"), weight=w)
    model = exporter.to_onnx(f, inputs=[("n", *x.shape[1:])])
    assert [node.op_type for node in model.graph.node].count("ConvTranspose") == 1
    session = runtime.InferenceSession(model.SerializeToString())
    given = {session.get_inputs()[0].name: np.asarray(x)}
    assert_equal(session.run(None, given)[0], f(x))
