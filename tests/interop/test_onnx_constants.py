"""`from_onnx_model` where nodes compute a weight or bias of constants."""

import re
import warnings

import numpy as np
import pytest

from interop import same, whole
from jconvt.interop import from_onnx_model

onnx = pytest.importorskip("onnx", reason="reads ONNX")
helper, TensorProto = onnx.helper, onnx.TensorProto
RNG = np.random.default_rng(0)


def node(operator, inputs, output, name="", **attributes):
    return helper.make_node(operator, inputs.split(), [output], name, **attributes)


def up(inputs="x w"):
    return node("ConvTranspose", inputs, "y", "up", strides=[2])


def model_of(nodes, opset=17, extra=(), **tensors):
    """A model from `x` to `y`; arrays or tensors as initializers by name."""
    stored = []
    for name, value in tensors.items():
        if not isinstance(value, TensorProto):
            value = onnx.numpy_helper.from_array(np.asarray(value))
        value.name = name
        stored.append(value)
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * 3)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 3)],
        stored,
    )
    opsets = [helper.make_opsetid("", opset), *extra]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def runtime_tensor(model, name):
    """The tensor as ONNX Runtime computes it."""
    runtime = pytest.importorskip("onnxruntime", reason="compares with ONNX Runtime")
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.append(helper.make_tensor_value_info(name, 1, None))
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (value,) = session.run([name], {"x": whole(1, 4, 5)})
    return value


def quantized(opset, dtype, axis, channels=None, domain=""):
    """A weight (4, 3, 5) with a scale for all or for each index of an axis."""
    info = np.iinfo(dtype)
    ends = max(info.min, -1000), min(info.max, 1000)
    count = () if axis is None else ((4, 3, 5)[axis],)
    zeros = RNG.integers(0, 9 if dtype != np.int32 else 1, count)
    return model_of(
        [
            node(
                "DequantizeLinear",
                "q s z",
                "w",
                **({} if axis is None else {"axis": axis}),
                **({"domain": domain} if domain else {}),
            ),
            up(),
        ],
        opset,
        [helper.make_opsetid("com.microsoft", 1)],
        q=RNG.integers(*ends, (4, 3, 5)).astype(dtype),
        s=RNG.uniform(0.01, 1, count).astype(np.float32),
        z=zeros.astype(dtype),
    )


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32])
@pytest.mark.parametrize(
    ("opset", "axis"),
    [(10, None), (13, None), (13, 0), (13, 1), (13, -1), (19, 1), (21, 1), (21, None)],
)
def test_dequantized_weight(opset, axis, dtype):
    """One scale, or one for each channel: every bit is ONNX Runtime's."""
    model = quantized(opset, dtype, axis)
    (layer,) = from_onnx_model(model).values()
    same(layer.weight, runtime_tensor(model, "w"))


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
@pytest.mark.parametrize("opset", [13, 21])
def test_dequantized_16_bits(opset, dtype):
    """Before opset 21 by ONNX Runtime's own operator."""
    domain = "com.microsoft" if opset < 21 else ""
    model = quantized(opset, dtype, 1, domain=domain)
    (layer,) = from_onnx_model(model).values()
    same(layer.weight, runtime_tensor(model, "w"))


def test_dequantized_4_bits_in_blocks():
    q = helper.make_tensor("q", TensorProto.INT4, (4, 8, 5), RNG.integers(-8, 8, 160))
    scale = RNG.uniform(0.01, 1, (4, 2, 5)).astype(np.float32)
    dequantize = node("DequantizeLinear", "q s", "w", axis=1, block_size=4)
    model = model_of([dequantize, up()], 21, q=q, s=scale)
    (layer,) = from_onnx_model(model).values()
    same(layer.weight, runtime_tensor(model, "w"))


def test_dequantized_bias():
    """As quantizers write it: int32, without a zero point."""
    nodes = [
        node("DequantizeLinear", "q s", "w", axis=1),
        node("DequantizeLinear", "r t", "b", axis=0),
        up("x w b"),
    ]
    scales = RNG.uniform(0.01, 1, (2, 3)).astype(np.float32)
    model = model_of(
        nodes,
        13,
        q=RNG.integers(-128, 128, (4, 3, 5)).astype(np.int8),
        s=scales[0],
        r=RNG.integers(-(2**20), 2**20, 3).astype(np.int32),
        t=scales[1],
    )
    (layer,) = from_onnx_model(model).values()
    same(layer.weight, runtime_tensor(model, "w"))
    same(layer.bias, runtime_tensor(model, "b"))


def axes(opset, operator, inputs, output, values):
    """A node whose axes are an attribute up to some opset, and an input from then."""
    first = {"ReduceL2": 18}.get(operator, 13)
    if opset < first:
        return [node(operator, inputs, output, axes=values)]
    tensor = onnx.numpy_helper.from_array(np.array(values))
    name = f"axes of {output}"
    constant = helper.make_node("Constant", [], [name], value=tensor)
    return [constant, helper.make_node(operator, [*inputs.split(), name], [output])]


def chain(opset):
    """The operators that exporters put between a stored and a used weight."""
    return [
        node("Identity", "v", "a"),
        node("Cast", "a", "b", to=TensorProto.DOUBLE),
        node("Cast", "b", "c", to=TensorProto.FLOAT),
        node("Transpose", "c", "d", perm=[1, 0]),
        node("Reshape", "d shape", "e"),
        *axes(opset, "Unsqueeze", "e", "f", [0]),
        *axes(opset, "Squeeze", "f", "g", [0]),
        node("Mul", "g two", "h"),
        node("Div", "h three", "i"),
        node("Sqrt", "i", "w"),
        up(),
    ]


@pytest.mark.parametrize("opset", [9, 11, 13, 18, 21])
def test_chain_of_operators(opset):
    model = model_of(
        chain(opset),
        opset,
        v=np.abs(whole(15, 4)),
        shape=np.array([4, 3, 5]),
        two=np.float32(2),
        three=np.float32(3),
    )
    (layer,) = from_onnx_model(model).values()
    same(layer.weight, runtime_tensor(model, "w"))


@pytest.mark.parametrize("opset", [9, 11, 13, 18, 21])
@pytest.mark.parametrize("numbers", ["whole", "any"])
def test_weight_norm(opset, numbers):
    """Whole numbers are equal; the order of a float sum may cost the last bit."""
    v, g = whole(4, 3, 5), np.abs(whole(4, 1, 1)) + 1
    if numbers == "any":
        v = RNG.normal(size=v.shape).astype(np.float32)
    nodes = [
        *axes(opset, "ReduceL2", "v", "norm", [1, 2]),
        node("Div", "v norm", "d"),
        node("Mul", "d g", "w"),
        up(),
    ]
    model = model_of(nodes, opset, v=v, g=g)
    (layer,) = from_onnx_model(model).values()
    desired = runtime_tensor(model, "w")
    if numbers == "whole":
        same(layer.weight, desired)
    np.testing.assert_allclose(layer.weight, desired, rtol=1e-6)


def test_an_exported_weight_norm(tmp_path):
    """What PyTorch's exporter writes of a parametrized layer."""
    torch = pytest.importorskip("torch", reason="exports a model")
    layer = torch.nn.utils.parametrizations.weight_norm(
        torch.nn.ConvTranspose1d(4, 3, 5, stride=2)
    ).eval()
    path = tmp_path / "model.onnx"
    x = torch.ones(1, 4, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter is the old one
        torch.onnx.export(
            layer, (x,), str(path), dynamo=False, do_constant_folding=False
        )
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert len(operators) > 1
    (read,) = from_onnx_model(path).values()
    desired = layer.weight.detach().numpy()
    np.testing.assert_allclose(read.weight, desired, rtol=1e-6)


def test_what_layers_share_is_computed_once(monkeypatch):
    from onnx import reference

    runs = []

    class Counted(reference.ReferenceEvaluator):
        def run(self, *arguments):
            runs.append(self.proto_.graph.node[0].op_type)
            return super().run(*arguments)

    monkeypatch.setattr(reference, "ReferenceEvaluator", Counted)
    nodes = [
        node("Cast", "v", "c", to=TensorProto.FLOAT),
        node("Add", "c c", "w"),
        node("ConvTranspose", "x w", "h", "first"),
        node("ConvTranspose", "h w", "y", "second"),
    ]
    model = model_of(nodes, v=whole(3, 3, 5).astype(np.float16))
    first, second = from_onnx_model(model).values()
    assert runs == ["Cast", "Add"]
    same(first.weight, 2 * whole(3, 3, 5))
    same(second.weight, first.weight)


def test_constants_of_all_kinds():
    """Numbers as attributes, a function of the model, one output of several."""
    called = helper.make_function(
        "own", "twice", ["a"], ["b"], [node("Add", "a a", "b")],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0]),
        helper.make_node("Split", ["v"], ["unused", "part"], axis=0),
        node("twice", "part", "w", domain="own"),
        up("x w b"),
    ]
    v = whole(8, 3, 5)
    model = model_of(nodes, 17, [helper.make_opsetid("own", 1)], v=v)
    model.functions.append(called)
    (layer,) = from_onnx_model(model).values()
    same(layer.weight, 2 * v[4:])
    same(layer.bias, np.array([1, 2, 3], np.float32))


def test_external_data_below_a_node(tmp_path):
    v = whole(4, 3, 5)
    model = model_of([node("Identity", "v", "w"), up()], v=v)
    path = tmp_path / "model.onnx"
    onnx.save(
        model, path, save_as_external_data=True, location="data", size_threshold=0
    )
    (layer,) = from_onnx_model(path).values()
    same(layer.weight, v)


def branches():
    """An If whose branches give the weight."""
    value = onnx.numpy_helper.from_array(whole(4, 3, 5))
    constant = helper.make_node("Constant", [], ["v"], value=value)
    body = helper.make_graph(
        [constant], "body", [], [helper.make_tensor_value_info("v", 1, None)]
    )
    return helper.make_node(
        "If", ["flag"], ["w"], "choose", then_branch=body, else_branch=body
    )


W = whole(4, 3, 5)
ERRORS = {
    "an input through nodes": (
        [node("Mul", "v x", "h", "scaled"), node("Identity", "h", "w"), up()],
        {"v": W},
        "from_onnx_model: weight and bias of node 'up' must be constants; 'w' depends "
        "on 'x', an input of the graph, which Mul 'scaled' reads.",
    ),
    "a node without a name": (
        [node("Mul", "v x", "w"), up()],
        {"v": W},
        "an input of the graph, which Mul 'w' reads.",
    ),
    "a bias": (
        [node("ReduceMean", "x", "b", "mean", axes=[0, 2], keepdims=0), up("x w b")],
        {"w": W},
        "'b' depends on 'x', an input of the graph, which ReduceMean 'mean' reads.",
    ),
    "random": (
        [node("RandomNormal", "", "w", "draw", shape=[4, 3, 5]), up()],
        {},
        "'w' depends on RandomNormal 'draw', which draws its values.",
    ),
    "control flow": (
        [branches(), up()],
        {"flag": np.array(True)},
        "'w' depends on If 'choose', which has a graph of its own. Fold constants "
        "first.",
    ),
    "an unknown operator": (
        [node("Unpack", "v", "w", "unpack", domain="com.own"), up()],
        {"v": W},
        "'w' depends on com.own.Unpack 'unpack', which ONNX's reference evaluator "
        "cannot run (",
    ),
    "wrong shapes": (
        [node("Reshape", "v shape", "w", "reshape"), up()],
        {"v": W, "shape": np.array([7, 7])},
        "'w' depends on Reshape 'reshape', which ONNX's reference evaluator cannot run "
        "(ValueError: cannot reshape",
    ),
    "a sequence": (
        [node("SequenceConstruct", "v v", "w", "pair"), up()],
        {"v": W},
        "'w' is no dense tensor but a list.",
    ),
    "a weight of two axes": (
        [node("Cast", "v", "w", to=TensorProto.FLOAT), up()],
        {"v": W[0]},
        "got shape (3, 5). In node 'up' of the model.",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    nodes, tensors, message = ERRORS[name]
    opsets = [helper.make_opsetid("com.own", 1)]
    with pytest.raises(ValueError, match=re.escape(message)):
        from_onnx_model(model_of(nodes, 17, opsets, **tensors))


def test_a_sparse_initializer():
    model = model_of([node("Identity", "v", "w"), up()])
    sparse = onnx.SparseTensorProto(dims=[4, 3, 5])
    sparse.values.CopyFrom(onnx.numpy_helper.from_array(whole(2), "v"))
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(np.array([0, 7])))
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(
        ValueError, match="'w' depends on 'v', a sparse initializer, which Identity"
    ):
        from_onnx_model(model)


def test_a_circle_ends():
    """No runtime takes such a graph, and it is no endless loop here."""
    nodes = [node("Identity", "a", "w"), node("Neg", "w", "a", "back"), up()]
    with pytest.raises(ValueError, match="'w' depends on itself, through Identity 'w'"):
        from_onnx_model(model_of(nodes))
