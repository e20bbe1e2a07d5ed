"""A trained model that ships inside a package, on a photographed page.

The text detector of RapidOCR (PP-OCRv4) makes its map of text with two transposed
convolutions. ONNX Runtime runs the whole model and also gives what goes into these two
and comes out; the ported layers are given the same.
"""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from jconvt.interop import from_onnx_model

onnx = pytest.importorskip("onnx", reason="reads the model")
runtime = pytest.importorskip("onnxruntime", reason="runs the model")
data = pytest.importorskip("skimage.data", reason="the page is one of its pictures")

# What the detector was trained on: channels of about mean 0 and deviation 1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def path():
    # Found, not imported: its code needs OpenCV, the model in it does not.
    spec = importlib.util.find_spec("rapidocr_onnxruntime")
    if spec is None:
        pytest.skip("rapidocr-onnxruntime is not installed: the model ships in it")
    (folder,) = spec.submodule_search_locations
    return Path(folder) / "models" / "ch_PP-OCRv4_det_infer.onnx"


@pytest.fixture(scope="module")
def page():
    """A page of text (1, 3, 160, 384): sizes are multiples of 32."""
    gray = data.page()[:160, :384] / 255
    image = (np.stack([gray] * 3, -1) - MEAN) / DEVIATION
    return np.moveaxis(image, -1, 0)[None].astype(np.float32)


def _next(model, node):
    """What takes the output of `node`."""
    (found,) = (n for n in model.graph.node if node.output[0] in n.input)
    return found


@pytest.fixture(scope="module")
def seen(path, page):
    """The two layers, what goes into them or follows, and the model's result."""
    model = onnx.load(path)
    result = model.graph.output[0].name
    nodes = [node for node in model.graph.node if node.op_type == "ConvTranspose"]
    inner = {name for node in nodes for name in (node.input[0], node.output[0])}
    inner |= set(_next(model, nodes[-1]).input)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    session = runtime.InferenceSession(model.SerializeToString())
    names = [result, *inner]
    (given,) = session.get_inputs()
    found = dict(zip(names, session.run(names, {given.name: page}), strict=True))
    return nodes, found, result


def test_each_layer_gives_what_onnx_runtime_gives(path, seen):
    nodes, found, _ = seen
    layers = from_onnx_model(path)
    assert set(layers) == {node.name for node in nodes}
    for node in nodes:
        layer, x, y = layers[node.name], found[node.input[0]], found[node.output[0]]
        # A sum of C_in products in float32, in another order.
        w = np.abs(np.asarray(layer.weight)).max()
        bound = 2 * x.shape[1] ** 2 * np.finfo(np.float32).eps * np.abs(x).max() * w
        assert y.std() > 100 * bound
        np.testing.assert_allclose(jax.jit(layer.apply)(x), y, rtol=0, atol=bound)


def test_the_last_layer_makes_the_map_of_text(path, seen):
    """The model ends in a transposed convolution, a bias and a sigmoid."""
    nodes, found, result = seen
    last = nodes[-1]
    (bias,) = set(_next(onnx.load(path), last).input) - set(last.output)
    layer = from_onnx_model(path)[last.name]
    y = layer.apply(found[last.input[0]])
    text = np.asarray(jax.nn.sigmoid(y + found[bias]))
    assert 0.05 < (text > 0.3).mean() < 0.6  # lines of text, and paper between them
    np.testing.assert_allclose(text, found[result], rtol=0, atol=1e-5)
