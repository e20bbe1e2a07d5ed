"""Keras, lax, Flax, ONNX, Equinox and Haiku: the same values, element for element.

All arrays hold small whole numbers, so that every sum is exact in float32 and equal
means equal. Where a framework is not installed its tests say so and are skipped.
"""

import itertools

import jax
import numpy as np
import pytest

import jconvt
import oracles
from interop import onnx_node_tests

SPACE = ["", "W", "HW", "DHW"]


def whole(*shape):
    """Whole numbers, the same for the same shape."""
    rng = np.random.default_rng(abs(hash(shape)) % 2**32)
    return rng.integers(-4, 5, shape).astype(np.float32)


def flipped(kernel, rank):
    """A kernel whose spatial axes come first, reversed in them."""
    return np.flip(kernel, tuple(range(rank)))


def channels_last(rank, weight):
    """Dimension numbers for channels-last data and that order of weight channels."""
    space = SPACE[rank]
    return f"N{space}C", f"{space}{weight}", f"N{space}C"


def call(x, w, b=None, **options):
    """`conv_transpose`, with a kernel that may be a flipped view."""
    return jconvt.conv_transpose(x, np.ascontiguousarray(w), b, **options)


def same(actual, desired):
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.dtype == desired.dtype
    np.testing.assert_array_equal(actual, desired)


# lax ----------------------------------------------------------------------------------

LAX = [
    *(((7,), (k,), (s,), (1,)) for k, s in itertools.product((1, 2, 3, 4), (1, 2, 3))),
    *(((5,), (k,), (s,), (2,)) for k, s in itertools.product((2, 3), (1, 2, 4))),
    ((9, 10), (3, 4), (1, 2), (1, 1)),
    ((9, 10), (5, 3), (3, 2), (1, 1)),
    ((4, 5), (4, 3), (2, 3), (2, 2)),
    ((2, 3, 4), (2, 3, 1), (2, 2, 3), (1, 2, 1)),
]


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("space", "kernel", "stride", "dilation"), LAX)
def test_lax_strings(space, kernel, stride, dilation, padding):
    rank = len(space)
    x, w = whole(2, *space, 3), whole(*kernel, 2, 3)
    desired = jax.lax.conv_transpose(
        x,
        w,
        stride,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=channels_last(rank, "IO"),  # lax swaps them itself
        transpose_kernel=True,
    )
    options = {"stride": stride, "dilation": dilation, "padding": padding}
    numbers = channels_last(rank, "OI")
    same(call(x, w, dimension_numbers=numbers, **options), desired)


PAIRS = [
    [(0, 0), (0, 0)],
    [(1, 2), (2, 1)],
    [(0, 2), (1, 0)],
    [(2, 2), (1, 1)],
    [(4, 3), (5, 6)],
]


@pytest.mark.parametrize("pads", PAIRS, ids=str)
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_lax_pairs(pads, stride):
    """Pads of the dilated input: the crop is what the kernel's span leaves of them."""
    x, w = whole(2, 5, 4, 3), whole(3, 4, 2, 3)
    numbers = channels_last(2, "OI")
    desired = jax.lax.conv_transpose(
        x,
        w,
        stride,
        pads,
        dimension_numbers=channels_last(2, "IO"),
        transpose_kernel=True,
    )
    crop = [
        (k - 1 - low, k - 1 - high) for k, (low, high) in zip((3, 4), pads, strict=True)
    ]
    same(call(x, w, stride=stride, padding=crop, dimension_numbers=numbers), desired)


def test_lax_consistent_padding():
    """What lax calls consistent is the crop itself."""
    x, w, crop = whole(2, 5, 4, 3), whole(3, 4, 2, 3), ((1, 0), (2, 1))
    try:
        desired = jax.lax.conv_transpose(
            x, w, (2, 3), crop, transpose_kernel=True, use_consistent_padding=True
        )
    except TypeError as error:
        pytest.skip(f"this JAX has no use_consistent_padding: {error}")
    numbers = channels_last(2, "OI")
    same(call(x, w, stride=(2, 3), padding=crop, dimension_numbers=numbers), desired)


# Keras --------------------------------------------------------------------------------

KERAS = [
    *(((5,), (k,), (s,), 1) for k, s in itertools.product(range(1, 6), range(1, 5))),
    *(((5,), (k,), (1,), d) for k, d in itertools.product((2, 3), (2, 3))),
    *(((3, 4), (k, 2), (s, 3), 1) for k, s in itertools.product((1, 3, 4), (1, 2, 3))),
    ((14, 14), (7, 7), (16, 16), 1),
    ((4, 5), (2, 3), (2, 1), 1),
    *(((2, 3, 2), (k, 2, 3), (s, 1, 2), 1) for k, s in [(1, 2), (3, 2), (4, 3)]),
]


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras", reason="compares with Keras")


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("space", "kernel", "stride", "dilation"), KERAS)
def test_keras(keras, space, kernel, stride, dilation, padding):
    rank = len(space)
    x, w = whole(2, *space, 3), whole(*kernel, 2, 3)
    desired = keras.ops.conv_transpose(
        x,
        w,
        strides=stride,
        padding=padding,
        data_format="channels_last",
        dilation_rate=dilation,
    )
    options = {"stride": stride, "dilation": dilation, "padding": padding.upper()}
    numbers = channels_last(rank, "OI")
    same(call(x, w, dimension_numbers=numbers, **options), desired)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_keras_layer(keras, rank):
    """The layer too: its kernel is (*k, out, in), not flipped."""
    layer = getattr(keras.layers, f"Conv{rank}DTranspose")(2, 3, 2, padding="same")
    x = whole(2, *(4, 3, 2)[:rank], 3)
    layer.build(x.shape)
    w, b = whole(*(3,) * rank, 2, 3), whole(2)
    layer.set_weights([w, b])
    numbers = channels_last(rank, "OI")
    options = {"stride": 2, "padding": "SAME", "dimension_numbers": numbers}
    same(call(x, w, b, **options), np.asarray(layer(x)))


# Flax ---------------------------------------------------------------------------------


def nnx_layer(padding, w, b, stride, dilation, transpose_kernel):
    nnx = pytest.importorskip("flax.nnx", reason="compares with Flax NNX")
    features = w.shape[-2:][:: -1 if transpose_kernel else 1]
    layer = nnx.ConvTranspose(
        *features,
        w.shape[:-2],
        strides=stride,
        padding=padding,
        kernel_dilation=dilation,
        transpose_kernel=transpose_kernel,
        rngs=nnx.Rngs(0),
    )
    layer.kernel[...], layer.bias[...] = w, b
    return layer


def linen_layer(padding, w, b, stride, dilation, transpose_kernel):
    linen = pytest.importorskip("flax.linen", reason="compares with Flax Linen")
    layer = linen.ConvTranspose(
        len(b),
        w.shape[:-2],
        strides=stride,
        padding=padding,
        kernel_dilation=dilation,
        transpose_kernel=transpose_kernel,
    )
    return lambda x: layer.apply({"params": {"kernel": w, "bias": b}}, x)


FLAX = [
    ((8,), (3,), (1,), (1,)),
    ((5,), (4,), (2,), (1,)),
    ((5,), (3,), (3,), (1,)),
    ((2,), (5,), (1,), (1,)),
    ((4,), (2,), (3,), (1,)),
    ((5,), (5,), (2,), (1,)),
    ((4,), (3,), (2,), (3,)),
    ((6, 5), (3, 4), (2, 3), (1, 1)),
    ((3, 3), (3, 2), (1, 1), (2, 3)),
    ((2, 3, 2), (3, 2, 1), (2, 1, 2), (1, 1, 1)),
]


@pytest.mark.parametrize("transpose_kernel", [False, True], ids=["plain", "transposed"])
@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", 2, "pairs"])
@pytest.mark.parametrize(("space", "kernel", "stride", "dilation"), FLAX)
def test_flax(space, kernel, stride, dilation, padding, transpose_kernel):
    """A kernel not transposed is flipped, and a circular one starts elsewhere."""
    rank = len(space)
    order = "OI" if transpose_kernel else "IO"
    channels = (2, 3) if transpose_kernel else (3, 2)
    x, w, b = whole(2, *space, 3), whole(*kernel, *channels), whole(2)
    if padding == "pairs":
        padding = tuple((2 + i, 3 - i) for i in range(rank))
    crop = padding
    if not isinstance(padding, str):
        pairs = [(p, p) if isinstance(p, int) else p for p in (padding,) * rank]
        pairs = padding if isinstance(padding, tuple) else pairs
        spans = oracles.extent(kernel, dilation)
        crop = [(e - 1 - p, e - 1 - q) for e, (p, q) in zip(spans, pairs, strict=True)]
    elif padding == "CIRCULAR" and transpose_kernel:
        crop = "CIRCULAR_LOWER"
    y = call(
        x,
        w if transpose_kernel else flipped(w, rank),
        b,
        stride=stride,
        dilation=dilation,
        padding=crop,
        dimension_numbers=channels_last(rank, order),
    )
    for layer in (nnx_layer, linen_layer):
        same(y, layer(padding, w, b, stride, dilation, transpose_kernel)(x))


@pytest.mark.parametrize(
    ("n", "k", "s"), list(itertools.product((1, 2, 5), (1, 4, 7), (1, 3)))
)
def test_flax_circular_is_the_oracle_of_the_value_tests(n, k, s):
    """The rule on paper, to which the value tests hold, is Flax's."""
    x, w, b = whole(2, n, 3), whole(k, 3, 2), whole(2)
    desired = nnx_layer("CIRCULAR", w, b, (s,), (1,), False)(x)
    canonical = np.transpose(flipped(w, 1), (1, 2, 0))
    y = oracles.circular(np.moveaxis(x, -1, 1), canonical, b, stride=[s], dilation=[1])
    np.testing.assert_array_equal(np.moveaxis(y, 1, -1), desired)


# ONNX ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def onnx():
    return pytest.importorskip("onnx", reason="compares with ONNX")


def onnx_options(space, kernel, attributes):
    """The attributes of a ConvTranspose node as options, by the standard's formulas."""
    rank = len(space)
    one = [1] * rank
    stride = list(attributes.get("strides", one))
    dilation = list(attributes.get("dilations", one))
    pads = list(attributes.get("pads", [0] * 2 * rank))
    more = attributes.get("output_padding", [0] * rank)
    size = attributes.get("output_shape", [None] * rank)
    auto_pad = attributes.get("auto_pad", "NOTSET")
    auto_pad = auto_pad.decode() if isinstance(auto_pad, bytes) else auto_pad
    crop = [
        oracles.onnx_crop(n, k, s, d, (pads[i], pads[rank + i]), a, o, auto_pad)
        for i, (n, k, s, d, a, o) in enumerate(
            zip(space, kernel, stride, dilation, more, size, strict=True)
        )
    ]
    groups = attributes.get("group", 1)
    return {"stride": stride, "dilation": dilation, "padding": crop, "groups": groups}


def onnx_model(onnx, attributes, x, w, b):
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    inputs = {"X": x, "W": w} | ({} if b is None else {"B": b})
    node = helper.make_node("ConvTranspose", list(inputs), ["Y"], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(n, real, a.shape) for n, a in inputs.items()],
        [helper.make_tensor_value_info("Y", real, [None] * x.ndim)],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8), inputs


ONNX = {
    "1d": ((5,), (3,), {}),
    "1d strides": ((5,), (4,), {"strides": [2], "pads": [1, 1]}),
    "uneven pads": ((5,), (5,), {"strides": [3], "pads": [0, 3]}),
    "output_padding": ((3, 3), (3, 3), {"strides": [3, 2], "output_padding": [1, 1]}),
    "pads": ((3, 3), (3, 3), {"strides": [3, 2], "pads": [1, 2, 1, 2]}),
    "pads and output_padding": (
        (3, 4),
        (3, 4),
        {"strides": [2, 3], "pads": [1, 0, 0, 2], "output_padding": [1, 2]},
    ),
    "dilations": ((3, 3), (2, 2), {"dilations": [2, 2]}),
    "strides and dilations": ((4,), (3,), {"strides": [2], "dilations": [3]}),
    "output_shape over": ((3, 3), (3, 3), {"strides": [3, 2], "output_shape": [10, 8]}),
    "output_shape under": ((3, 3), (3, 3), {"strides": [3, 2], "output_shape": [8, 6]}),
    "same upper": ((4,), (5,), {"strides": [2], "auto_pad": "SAME_UPPER"}),
    "same lower": ((4,), (5,), {"strides": [2], "auto_pad": "SAME_LOWER"}),
    "same upper even": ((4, 3), (4, 3), {"strides": [2, 1], "auto_pad": "SAME_UPPER"}),
    "same lower 2d": ((4, 3), (6, 4), {"strides": [3, 3], "auto_pad": "SAME_LOWER"}),
    "same lower dilated": (
        (4,),
        (3,),
        {"strides": [2], "dilations": [3], "auto_pad": "SAME_LOWER"},
    ),
    "valid": ((4,), (3,), {"strides": [2], "auto_pad": "VALID"}),
    "3d": ((2, 3, 2), (3, 2, 3), {"strides": [2, 1, 2], "pads": [1, 0, 1, 0, 1, 1]}),
    "groups": ((4,), (3,), {"strides": [2], "group": 2}),
    "groups 2d": (
        (3, 3),
        (3, 2),
        {"strides": [2, 2], "pads": [1, 0, 1, 0], "group": 2},
    ),
    "depthwise": ((3, 3), (4, 4), {"strides": [2, 2], "pads": [1] * 4, "group": 4}),
}
STRINGS = {"SAME_UPPER": "SAME", "SAME_LOWER": "SAME_LOWER"}


def onnx_case(name):
    space, kernel, attributes = ONNX[name]
    groups = attributes.get("group", 1)
    x, w = whole(2, 4, *space), whole(4, 4 // groups, *kernel)
    options = onnx_options(space, kernel, attributes)
    return x, w, whole(4), attributes, options


@pytest.mark.parametrize("name", ONNX)
def test_onnxruntime(onnx, name):
    runtime = pytest.importorskip("onnxruntime", reason="compares with ONNX Runtime")
    x, w, b, attributes, options = onnx_case(name)
    model, inputs = onnx_model(onnx, attributes, x, w, b)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (desired,) = session.run(None, inputs)
    same(call(x, w, b, **options), desired)
    if attributes.get("auto_pad") in STRINGS:
        options["padding"] = STRINGS[attributes["auto_pad"]]
        same(call(x, w, b, **options), desired)


# The reference slices groups wrongly, and with NOTSET splits no padding.
REFERENCE = [n for n in ONNX if "group" not in ONNX[n][2] and n != "output_shape under"]


@pytest.mark.parametrize("name", REFERENCE)
def test_onnx_reference(onnx, name):
    reference = pytest.importorskip("onnx.reference", reason="compares with ONNX")
    x, w, b, attributes, options = onnx_case(name)
    model, inputs = onnx_model(onnx, attributes, x, w, b)
    (desired,) = reference.ReferenceEvaluator(model).run(None, inputs)
    same(call(x, w, b, **options), desired)


def test_onnx_node_tests(onnx, monkeypatch):
    """Every ConvTranspose among the standard's node tests, with its literal values."""
    value = onnx.helper.get_attribute_value
    for node, (x, w), (desired,) in onnx_node_tests(monkeypatch):
        attributes = {each.name: value(each) for each in node.attribute}
        options = onnx_options(x.shape[2:], w.shape[2:], attributes)
        same(call(x, w, **options), desired)


# Equinox ------------------------------------------------------------------------------

EQUINOX = [
    ((32,), (3,), {}),
    ((5,), (4,), {"stride": 2, "padding": 1}),
    ((31,), (3,), {"stride": 2, "padding": 1, "output_padding": 1, "dilation": 2}),
    ((3, 3), (3, 3), {"padding": 1}),
    ((3, 3), (3, 3), {"padding": 1, "groups": 2}),
    ((7, 8), (1, 1), {"stride": 2, "padding": ((0, 1), (0, 3))}),
    ((4, 5), (4, 3), {"stride": (2, 3), "padding": ((1, 2), (0, 1)), "groups": 2}),
    ((4, 5), (5, 4), {"stride": (2, 3), "padding": "SAME"}),
    ((4, 5), (5, 6), {"stride": (2, 3), "padding": "SAME_LOWER"}),
    ((2, 2, 2), (2, 2, 2), {}),
    ((2, 3, 3), (3, 3, 3), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}),
]


@pytest.mark.parametrize(("space", "kernel", "options"), EQUINOX)
def test_equinox(space, kernel, options):
    """Its kernel (out, in/groups, *k) is a convolution's: flipped, regrouped."""
    equinox = pytest.importorskip("equinox", reason="compares with Equinox")
    rank, groups = len(space), options.get("groups", 1)
    class_ = getattr(equinox.nn, f"ConvTranspose{rank}d")
    layer = class_(4, 6, kernel, **options, key=jax.random.key(0))
    w, b = whole(6, 4 // groups, *kernel), whole(6)
    where = lambda layer: (layer.weight, layer.bias)  # noqa: E731
    layer = equinox.tree_at(where, layer, (w, b.reshape(6, *[1] * rank)))
    x = whole(4, *space)
    ours = np.concatenate(
        [np.swapaxes(part, 0, 1) for part in np.split(w, groups)], axis=0
    )
    ours = np.flip(ours, tuple(range(2, 2 + rank)))
    same(call(x, ours, b, **options), layer(x))


# Haiku --------------------------------------------------------------------------------

HAIKU = [
    ((5,), (4,), (2,)),
    ((4,), (2,), (3,)),
    ((3, 4), (3, 4), (2, 3)),
    ((3, 4), (5, 1), (1, 2)),
    ((2, 3, 2), (2, 3, 2), (2, 1, 3)),
]


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("space", "kernel", "stride"), HAIKU)
def test_haiku(space, kernel, stride, padding):
    """Its kernel is (*k, out, in), flipped."""
    haiku = pytest.importorskip("haiku", reason="compares with Haiku")
    rank = len(space)
    x, w, b = whole(2, *space, 3), whole(*kernel, 2, 3), whole(2)
    layer = haiku.without_apply_rng(
        haiku.transform(
            lambda x: haiku.ConvNDTranspose(
                rank, 2, kernel, stride, padding=padding, name="layer"
            )(x)
        )
    )
    desired = layer.apply({"layer": {"w": w, "b": b}}, x)
    options = {"stride": stride, "padding": padding}
    numbers = channels_last(rank, "OI")
    same(call(x, flipped(w, rank), b, dimension_numbers=numbers, **options), desired)
