"""ONNX models: every ConvTranspose node with its constants."""

import os
from pathlib import Path
from typing import Any

from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._onnx import from_onnx
from jconvt.interop._onnx_constants import Constants
from jconvt.interop._ported import PortedLayer

FUNCTION = "from_onnx_model"


@ends_traceback
def from_onnx_model(model: Any) -> dict[str, PortedLayer]:
    """The ConvTranspose nodes of an ONNX model, by name.

    Weights and biases must be constants: initializers, or what nodes compute of
    initializers alone, such as DequantizeLinear, Cast, Transpose or an exported weight
    norm. ONNX's reference evaluator runs them; sums of floats may differ in the last
    bit from those of ONNX Runtime. Tensors that a model keeps in external files are
    read from files in its own directory or below it alone. Only the main graph is
    searched, not the bodies of control flow or of functions.

    Args:
      model: an `onnx.ModelProto`, or the path of a file.

    Returns:
      ``{name: layer}`` in the order of the nodes. A node without a name, or with one
      that came before, goes by the name of its output, which is unique in a graph.

    Raises:
      TypeError: `model` is neither.
      ValueError: a file that is no model, a malformed node (see `from_onnx`), a weight
        that depends on an input of the graph or cannot be computed, external data
        without a path or from elsewhere; each names the node.
      ImportError: onnx is not installed.

    Example:
      >>> import numpy as np
      >>> from jconvt.interop import from_mindspore, from_onnx_model, to_onnx
      >>> up = from_mindspore({"weight": np.ones((8, 4, 4), "float32")}, stride=2)
      >>> list(from_onnx_model(to_onnx(up, name="decoder/up")))
      ['decoder/up']
    """
    import onnx

    directory = None
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        model, directory = _load(path), path.parent
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(
            f"{FUNCTION}: `model` must be an onnx.ModelProto or a path; got "
            f"{type(model).__name__}."
        )
    constants = Constants(FUNCTION, model, directory)
    layers: dict[str, PortedLayer] = {}
    for node in model.graph.node:
        if node.op_type != "ConvTranspose" or node.domain not in ("", "ai.onnx"):
            continue
        name = node.name
        if not name or name in layers:
            name = node.output[0]
        if not 2 <= len(node.input) <= 3:
            raise ValueError(
                f"{FUNCTION}: node {name!r} must have an input, a weight and maybe a "
                f"bias; got {len(node.input)} inputs."
            )
        weight, bias = (*node.input[1:], "")[:2]
        arrays = [constants.array(name, tensor) for tensor in (weight, bias) if tensor]
        try:
            layers[name] = from_onnx(node, *arrays)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{error} In node {name!r} of the model.") from error
    return layers


def _load(path: Path) -> Any:
    """The model without its external data, or a ValueError."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"{FUNCTION}: {path} is no ONNX model: {error}") from error
    if not model.HasField("graph"):
        raise ValueError(f"{FUNCTION}: {path} is no ONNX model: it has no graph.")
    return model
