"""ONNX: nodes against ONNX Runtime and the standard's own tests, and whole models."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
import oracles
from interop import onnx_node_tests, same, same_layers, whole, with_gradients
from jconvt.interop import from_mindspore, from_onnx, from_onnx_model, to_onnx

onnx = pytest.importorskip("onnx", reason="reads ONNX")
helper = onnx.helper

# name -> space, kernel, attributes
NODES = {
    "1d": ((5,), (3,), {}),
    "pads": ((5,), (5,), {"strides": [3], "pads": [0, 3]}),
    "output_padding": ((3, 3), (3, 3), {"strides": [3, 2], "output_padding": [1, 1]}),
    "pads and output_padding": (
        (3, 4),
        (3, 4),
        {"strides": [2, 3], "pads": [1, 0, 0, 2], "output_padding": [1, 2]},
    ),
    "dilations": ((4,), (3,), {"strides": [2], "dilations": [3], "kernel_shape": [3]}),
    "groups": ((3, 3), (3, 2), {"strides": [2, 2], "pads": [1, 0, 1, 0], "group": 2}),
    "depthwise": ((3, 3), (4, 4), {"strides": [2, 2], "pads": [1] * 4, "group": 4}),
    "valid": ((4,), (2,), {"strides": [3], "auto_pad": "VALID"}),
    "same upper": ((4, 3), (5, 4), {"strides": [2, 1], "auto_pad": "SAME_UPPER"}),
    "same lower": ((4, 3), (6, 5), {"strides": [3, 2], "auto_pad": "SAME_LOWER"}),
    "same upper holes": ((4,), (2,), {"strides": [3], "auto_pad": "SAME_UPPER"}),
    "same lower holes": (
        (4,),
        (1,),
        {"strides": [3], "auto_pad": "SAME_LOWER", "output_padding": [1]},
    ),
    "same upper, output_padding": (
        (4,),
        (5,),
        {"strides": [2], "auto_pad": "SAME_UPPER", "output_padding": [1]},
    ),
    "same lower, output_padding": (
        (4,),
        (4,),
        {"strides": [2], "auto_pad": "SAME_LOWER", "output_padding": [1]},
    ),
    "size above": ((3, 3), (3, 3), {"strides": [3, 2], "output_shape": [10, 8]}),
    "size below": ((3, 3), (3, 3), {"strides": [3, 2], "output_shape": [8, 6]}),
    "size upper": (
        (3, 3),
        (3, 3),
        {"strides": [3, 2], "output_shape": [8, 6], "auto_pad": "SAME_UPPER"},
    ),
    "size, output_padding": (
        (3,),
        (3,),
        {"strides": [2], "output_shape": [7], "output_padding": [1]},
    ),
    "3d": ((2, 3, 2), (3, 2, 3), {"strides": [2, 1, 2], "pads": [1, 0, 1, 0, 1, 1]}),
}


def node_of(attributes, inputs=("x", "w", "b"), name="up"):
    return helper.make_node("ConvTranspose", list(inputs), ["y"], name, **attributes)


def arrays_of(name):
    space, kernel, attributes = NODES[name]
    groups = attributes.get("group", 1)
    return whole(2, 4, *space), whole(4, 4 // groups, *kernel), whole(4)


def model_of(nodes, initializers, rank=1):
    """A model from `x` to `y` of any sizes."""
    real = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", real, [None] * (rank + 2))],
        [helper.make_tensor_value_info("y", real, [None] * (rank + 2))],
        [onnx.numpy_helper.from_array(a, name) for name, a in initializers.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def run(model, x):
    runtime = pytest.importorskip("onnxruntime", reason="compares with ONNX Runtime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # it warns where its own shape inference differs
    session = runtime.InferenceSession(
        model if isinstance(model, str) else model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    return session.run(None, {session.get_inputs()[0].name: x})


@pytest.mark.parametrize("name", NODES)
def test_onnxruntime(name):
    x, w, b = arrays_of(name)
    node = node_of(NODES[name][2])
    (desired,) = run(model_of([node], {"w": w, "b": b}, x.ndim - 2), x)
    ours = from_onnx(node, w, b)
    same(ours.apply(x), desired)
    bound = ours.for_input(x.shape[2:])
    y = jconvt.conv_transpose(x, bound.weight, bound.bias, **bound.options)
    same(y, desired)


@pytest.mark.parametrize("name", ["groups", "same lower", "size below", "size above"])
def test_gradients(name):
    """ONNX Runtime has none; these are the definition's."""
    x, w, b = arrays_of(name)
    attributes = NODES[name][2]
    ours = from_onnx(node_of(attributes), w, b)
    y, (dlayer, dx) = with_gradients(lambda layer, x: layer.apply(x), ours, x)
    ones, cotangent = [1] * (x.ndim - 2), whole(*y.shape)
    stride, groups = attributes["strides"], attributes.get("group", 1)
    pads = attributes.get("pads", [0] * 2 * len(ones))
    crop = [
        oracles.onnx_crop(
            *(x.shape[2 + i], w.shape[2 + i], s, 1, (pads[i], pads[len(ones) + i])),
            output_shape=attributes.get("output_shape", [None] * len(ones))[i],
            auto_pad=attributes.get("auto_pad", "NOTSET"),
        )
        for i, s in enumerate(stride)
    ]
    geometry = {"stride": stride, "crop": crop, "dilation": ones, "groups": groups}
    desired = oracles.expect_gradients(cotangent, x, w, **geometry)
    for actual, expected in zip((dx, dlayer.weight, dlayer.bias), desired, strict=True):
        np.testing.assert_array_equal(actual, expected.value)


def test_output_shape_for_any_input():
    """The crop follows the input's size, as in ONNX Runtime."""
    w = whole(1, 1, 3)
    for attributes in [{"output_shape": [7]}, {"output_shape": [7], "pads": [1, 1]}]:
        node = node_of({"strides": [2], **attributes}, ["x", "w"])
        ours = from_onnx(node, w)
        for n in (3, 4, 5):
            (desired,) = run(model_of([node], {"w": w}), whole(1, 1, n))
            same(ours.apply(whole(1, 1, n)), desired)
            same(jax.jit(ours.apply)(whole(1, 1, n)), desired)


def test_options_that_no_input_fixes_are_refused_or_right():
    """Of a layer with an output_shape, `conv_transpose` crops nothing on its own."""
    w = whole(1, 1, 3)
    for more in (0, 1):
        node = node_of({"strides": [2], "output_shape": [7], "output_padding": [more]})
        ours = from_onnx(node, w)
        for n in (2, 3, 4):
            x = whole(1, 1, n)
            if more or n == 4:
                with pytest.raises(ValueError, match=r"`output_(size|padding)` must"):
                    jconvt.conv_transpose(x, w, **ours.options)
            elif n == 3:
                same(jconvt.conv_transpose(x, w, **ours.options), ours.apply(x))
    bound = ours.for_input(4)
    assert bound.for_input(9) is bound
    with pytest.raises(ValueError, match="`output_size` must lie between"):
        bound.apply(whole(1, 1, 5))


def test_node_tests(monkeypatch):
    """Every ConvTranspose among the standard's node tests, with its literal values."""
    for node, (x, w), (desired,) in onnx_node_tests(monkeypatch):
        same(from_onnx(node, w).apply(x), desired)


SHIPPED = ["test_ConvTranspose2d", "test_ConvTranspose2d_no_bias"]


@pytest.mark.parametrize("name", [*SHIPPED, "test_operator_convtranspose"])
def test_models_that_onnx_ships(name):
    """Files that PyTorch's exporter wrote, with the inputs and outputs beside them."""
    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    (path,) = data.glob(f"pytorch-*/{name}/model.onnx")
    tensors = [
        onnx.numpy_helper.to_array(
            onnx.load_tensor(path.parent / "test_data_set_0" / f)
        )
        for f in ("input_0.pb", "output_0.pb")
    ]
    ((key, layer),) = from_onnx_model(path).items()
    (node,) = onnx.load(path).graph.node
    assert key == node.output[0]  # it has no name
    assert (layer.bias is None) == (len(node.input) == 2)
    np.testing.assert_allclose(layer.apply(tensors[0]), tensors[1], rtol=0, atol=1e-5)
    (desired,) = run(str(path), tensors[0])
    np.testing.assert_allclose(layer.apply(tensors[0]), desired, rtol=0, atol=1e-5)


# Models -------------------------------------------------------------------------------


def test_names_and_constants():
    """Initializers, Constant nodes, names missing or taken, other operators."""
    w = whole(2, 2, 3)
    constant = helper.make_node(
        "Constant", [], ["c"], value=onnx.numpy_helper.from_array(w + 1, "value")
    )
    chain = [("x", "w", "h0", "up"), ("h0", "c", "h1", ""), ("h1", "w", "h3", "up")]
    nodes = [
        helper.make_node("ConvTranspose", [a, kernel], [b], name, strides=[2])
        for a, kernel, b, name in chain
    ]
    nodes.insert(2, helper.make_node("Relu", ["h1"], ["h2"]))
    nodes.append(helper.make_node("ConvTranspose", ["h3", "w", "b"], ["y"], "last"))
    model = model_of([constant, *nodes], {"w": w, "b": whole(2)})
    onnx.checker.check_model(model)
    layers = from_onnx_model(model)
    assert list(layers) == ["up", "h1", "h3", "last"]
    same(layers["h1"].weight, w + 1)
    same(layers["last"].bias, whole(2))
    for node in model.graph.node:
        node.ClearField("name")  # ONNX Runtime wants them to differ
    assert list(from_onnx_model(model)) == ["h0", "h1", "h3", "y"]
    (desired,) = run(model, x := whole(1, 2, 4))
    for layer in layers.values():
        x = layer.apply(x)
    same(x, desired)


def external(path, location, w):
    """A model whose weight is in another file."""
    model = model_of([node_of({}, ["x", "w"])], {"w": w})
    (tensor,) = model.graph.initializer
    (path.parent / "model.bin").write_bytes(b"head" + tensor.raw_data)
    onnx.external_data_helper.set_external_data(
        tensor, location, offset=4, length=len(tensor.raw_data)
    )
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    return model


def test_external_data_beside_the_model(tmp_path):
    w = whole(2, 2, 3)
    external(tmp_path / "model.onnx", "model.bin", w)
    for path in (tmp_path / "model.onnx", str(tmp_path / "model.onnx")):
        same(from_onnx_model(path)["up"].weight, w)


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/hostname", "sub/../../secret.bin", "link.bin", ""],
)
def test_no_data_from_elsewhere(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(bytes(100))
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (home / "link.bin").symlink_to(tmp_path / "secret.bin")
    external(home / "model.onnx", location, whole(2, 2, 3))
    with pytest.raises(
        ValueError, match=r"the data of 'w' must be in a file beside the model or below"
    ):
        from_onnx_model(home / "model.onnx")


def test_errors_of_external_data(tmp_path):
    w = whole(2, 2, 3)
    model = external(tmp_path / "model.onnx", "model.bin", w)
    with pytest.raises(
        ValueError, match=r"is in the file 'model.bin'; give the model's"
    ):
        from_onnx_model(model)
    with pytest.raises(
        ValueError, match="'w' must hold its data; it is in an external"
    ):
        from_onnx(model.graph.node[0], model.graph.initializer[0])
    (tmp_path / "model.bin").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"the data of 'w' cannot be read from 'model"):
        from_onnx_model(tmp_path / "model.onnx")


def test_no_pickle_is_loaded(tmp_path):
    """A file that would run code where it is unpickled."""
    import pickle

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    path = tmp_path / "model.onnx"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"model\.onnx is no ONNX model"):
        from_onnx_model(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is no ONNX model: it has no graph"):
        from_onnx_model(path)


def fed():
    return model_of([node_of({}, ["x", "x"])], {})


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (
            fed,
            ValueError,
            "from_onnx_model: weight and bias of node 'up' must be constants; 'x' is "
            "an input of the graph.",
        ),
        (
            lambda: model_of([node_of({}, ["x"])], {}),
            ValueError,
            "node 'up' must have an input, a weight and maybe a bias; got 1 inputs.",
        ),
        (
            lambda: model_of(
                [node_of({"group": 3}, ["x", "w"])], {"w": whole(2, 2, 3)}
            ),
            ValueError,
            "divisible by `groups`; got 2 channels and groups=3. In node 'up' of the "
            "model.",
        ),
        (
            dict,
            TypeError,
            "from_onnx_model: `model` must be an onnx.ModelProto or a path; got dict.",
        ),
    ],
)
def test_errors_of_models(model, error, message):
    with pytest.raises(error, match=re.escape(message)):
        from_onnx_model(model())


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"strides": [2, 2]},
            "`strides` must hold 1 ints of at least 1 for this weight",
        ),
        (
            {"strides": [0]},
            "`strides` must hold 1 ints of at least 1 for this weight; ",
        ),
        (
            {"strides": 2},
            "`strides` must hold 1 ints of at least 1 for this weight; got ",
        ),
        ({"dilations": [-1]}, "`dilations` must hold 1 ints of at least 1"),
        ({"pads": [1]}, "`pads` must hold 2 ints of at least 0"),
        ({"pads": [-1, 0]}, "`pads` must hold 2 ints of at least 0"),
        ({"output_padding": [1]}, "`output_padding` must be smaller than `stride` or"),
        ({"output_shape": [1, 4, 9]}, "`output_shape` must hold 1 ints of at least 0"),
        ({"kernel_shape": [4]}, "`kernel_shape` must be the weight's, (3,); got [4]."),
        ({"auto_pad": "SAME"}, "`auto_pad` must be one of NOTSET, VALID, SAME_UPPER, "),
        (
            {"auto_pad": "same_lower"},
            "`auto_pad` must be one of NOTSET, VALID, SAME_UPPER, SAME_LOWER; got "
            "'same_lower'. Did you mean 'SAME_LOWER'?",
        ),
        (
            {"auto_pad": "VALID", "pads": [1, 0]},
            "`pads` must be absent where `auto_pad` is VALID; got [1, 0].",
        ),
        (
            {"auto_pad": b"\xff"},
            "`auto_pad` must be one of NOTSET, VALID, SAME_UPPER, ",
        ),
        ({"group": [2]}, "`group` must be an int; got [2]."),
        ({"group": 0}, "`groups` must be at least 1; got 0."),
        ({"group": 3}, "the input channels must be divisible by `groups`"),
        (
            {"groups": 2},
            "`node` must have no attributes but kernel_shape, strides, dil",
        ),
    ],
    ids=str,
)
def test_errors_of_nodes(attributes, message):
    with pytest.raises(ValueError, match=re.escape(f"from_onnx: {message}")):
        from_onnx(node_of(attributes), whole(4, 2, 3))


def test_tensors_of_onnx_are_arrays():
    """As an initializer holds them."""
    w, b = whole(4, 2, 3), whole(2)
    tensors = [
        onnx.numpy_helper.from_array(a, name) for a, name in ((w, "w"), (b, "b"))
    ]
    layer = from_onnx(node_of({"strides": [2]}), *tensors)
    same_layers(layer, from_onnx(node_of({"strides": [2]}), w, b))


def test_errors_of_arguments():
    node, w = node_of({}), whole(4, 2, 3)
    elsewhere = onnx.numpy_helper.from_array(w, "w")
    elsewhere.data_location = onnx.TensorProto.EXTERNAL
    for arguments, error, message in [
        ((helper.make_node("Conv", ["x"], ["y"]), w), ValueError, "of ONNX; got Conv."),
        (({}, w), TypeError, "`node` must be an onnx.NodeProto; got dict."),
        (
            (node, whole(4, 2)),
            ValueError,
            "one spatial axis or more; got shape (4, 2).",
        ),
        ((node, w, whole(3)), ValueError, "`bias` must have shape (2,)"),
        ((node, elsewhere), ValueError, "the tensor 'w' must hold its data; it is in "),
        ((node, w > 0), TypeError, "`weight` must hold integers, floats or complex"),
        (
            (helper.make_node("ConvTranspose", [], [], domain="own"), w),
            ValueError,
            "must be a ConvTranspose of ONNX; got own.ConvTranspose.",
        ),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            from_onnx(*arguments)


# Back ---------------------------------------------------------------------------------

# Options of from_mindspore, which takes any pads of at least 0
BACK = {
    "plain": (3, {}),
    "torch": (4, {"stride": 2, "padding": 1}),
    "output_padding": (3, {"stride": 2, "padding": 1, "output_padding": 1}),
    "pads": (5, {"stride": 3, "padding": (0, 2)}),
    "over stride": (3, {"dilation": 4, "padding": 3, "output_padding": 3}),
    "groups": (4, {"stride": 2, "groups": 2}),
    "same": (3, {"stride": 2, "pad_mode": "same"}),
    "same holes": (2, {"stride": 4, "pad_mode": "same"}),
    "valid holes": (2, {"stride": 4, "pad_mode": "valid"}),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", BACK)
def test_there_and_back(name, bias):
    k, options = BACK[name]
    params = {"weight": whole(4, 2, k, 3)}
    if bias:
        params["bias"] = whole(2 * options.get("groups", 1))
    if isinstance(options.get("padding"), tuple):
        options = options | {"padding": (*options["padding"], 0, 1)}
    layer, x = from_mindspore(params, **options), whole(2, 4, 3, 4)
    model = to_onnx(layer, name="up")
    onnx.checker.check_model(model, full_check=True)
    (desired,) = run(model, x)
    same(layer.apply(x), desired)
    ((key, back),) = from_onnx_model(model).items()
    assert key == "up"
    same(back.weight, layer.weight)
    same(back.apply(x), desired)
    if name not in ("over stride", "same", "same holes", "valid holes"):
        same_layers(back, layer)


def test_float16_and_float64():
    for dtype in ("float16", "float64"):
        with jax.enable_x64(True):
            layer = from_mindspore({"weight": whole(2, 3, 4).astype(dtype)}, stride=2)
            same_layers(from_onnx_model(to_onnx(layer))["conv_transpose"], layer)


@pytest.mark.parametrize(
    ("weight", "options", "message"),
    [
        (
            whole(2, 3),
            {},
            "over one axis or more; the layer's `weight.shape` is (2, 3).",
        ),
        (
            jnp.ones((2, 3, 4), jnp.bfloat16),
            {},
            "of float16, float32 or float64; the layer's `weight.dtype` is 'bfloat16'.",
        ),
    ],
)
def test_refused_by_to_onnx(weight, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        to_onnx(from_mindspore({"weight": weight}, **options))


def test_one_dtype():
    params = {"weight": whole(2, 3, 4), "bias": whole(3).astype(np.float16)}
    message = "dtype; the layer's `bias.dtype` is 'float16'."
    with pytest.raises(ValueError, match=re.escape(message)):
        to_onnx(from_mindspore(params))


def test_refused_paddings():
    nnx = pytest.importorskip("flax.nnx", reason="makes paddings that ONNX has not")
    for padding, message in [
        ("CIRCULAR", "has no such padding; the layer's `padding` is 'CIRCULAR'."),
        (3, "less than stride or dilation; the layer's `padding` is ((-1, -1),)."),
    ]:
        layer = nnx.ConvTranspose(2, 3, 3, padding=padding, rngs=nnx.Rngs(0))
        with pytest.raises(ValueError, match=re.escape(message)):
            to_onnx(jconvt.interop.from_flax(layer))
    fixed = from_onnx(node_of({"output_shape": [5]}), whole(2, 3, 3))
    message = (
        "to_onnx: the crop depends on the input's size, see PortedLayer.for_input; the "
        "layer's `output_size` is (5,)."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        to_onnx(fixed)
    assert to_onnx(fixed.for_input(4)).graph.node[0].op_type == "ConvTranspose"
