"""ONNX's ConvTranspose in two inference engines, on as many threads as there are."""

import os
import sys
from typing import Any

import numpy as np

from benchmarks.contenders._prepared import Prepared
from benchmarks.layers import Layer

THREADS = os.cpu_count() or 1

# OpenVINO reports its import over the network, from a process that it forks, which may
# hang beside JAX's threads. Where the package for that is missing it does without.
_modules: dict[str, Any] = sys.modules


def onnxruntime(layer: Layer, dtype: str, train: bool) -> Prepared:
    """ONNX Runtime, on the CPU."""
    import onnxruntime as ort

    del dtype, train  # float32 and forward only
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    # Its threads would spin on after a run and take a core from whose turn comes next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(
        _model(layer), options, providers=["CPUExecutionProvider"]
    )
    feed = {"x": layer.arrays()["input"]}

    def run() -> Any:
        return session.run(None, feed)[0]

    return Prepared(run=run, result=lambda: np.asarray(run(), np.float64))


def openvino(layer: Layer, dtype: str, train: bool) -> Prepared:
    """OpenVINO on the CPU, tuned for latency."""
    _modules["openvino_telemetry"] = None
    import openvino as ov

    del dtype, train  # float32 and forward only
    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(_model(layer), b""),
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": THREADS,
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(layer.arrays()["input"]))

    def result() -> np.ndarray:
        request.infer()
        return np.asarray(request.get_output_tensor().data, np.float64)

    return Prepared(run=request.infer, result=result)


def _model(layer: Layer) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    arrays = layer.arrays()
    node = helper.make_node(
        "ConvTranspose",
        ["x", "w", "b"],
        ["y"],
        strides=layer.stride,
        pads=layer.padding * 2,
        output_padding=layer.output_padding,
        dilations=layer.dilation,
        group=layer.groups,
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, layer.input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, layer.output_shape)],
        [
            numpy_helper.from_array(arrays["weight"], "w"),
            numpy_helper.from_array(arrays["bias"], "b"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(
        graph, opset_imports=opset, ir_version=9
    ).SerializeToString()
