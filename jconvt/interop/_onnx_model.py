"""ONNX models: every ConvTranspose node with its constants."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._onnx import from_onnx
from jconvt.interop._ported import PortedLayer

FUNCTION = "from_onnx_model"


@ends_traceback
def from_onnx_model(model: Any) -> dict[str, PortedLayer]:
    """The ConvTranspose nodes of an ONNX model, by name.

    Weights and biases must be constants: initializers, or outputs of Constant nodes.
    Tensors that a model keeps in external files are read from files in its own
    directory or below it alone. Only the main graph is searched, not the bodies of
    control flow or of functions.

    Args:
      model: an `onnx.ModelProto`, or the path of a file.

    Returns:
      ``{name: layer}`` in the order of the nodes. A node without a name, or with one
      that came before, goes by the name of its output, which is unique in a graph.

    Raises:
      TypeError: `model` is neither.
      ValueError: a file that is no model, a malformed node (see `from_onnx`), a weight
        that is computed or fed, external data without a path or from elsewhere; each
        names the node.
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
    constants = _Constants(model.graph, directory)
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


class _Constants:
    """The constant tensors of a graph, as arrays when they are asked for."""

    def __init__(self, graph: Any, directory: Path | None) -> None:
        self._directory = directory
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes = {name: node for node in graph.node for name in node.output}

    def array(self, node: str, name: str) -> np.ndarray[Any, Any]:
        """The values of the tensor, or a ValueError that names the node."""
        import onnx

        tensor = self._tensors.get(name) or self._constant_node(name)
        if tensor is None:
            source = self._nodes.get(name)
            origin = "an input of the graph" if source is None else source.op_type
            raise ValueError(
                f"{FUNCTION}: weight and bias of node {node!r} must be constants; "
                f"{name!r} comes from {origin}. Fold constants first."
            )
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor = self._with_data(tensor)
        return onnx.numpy_helper.to_array(tensor)

    def _constant_node(self, name: str) -> Any:
        """The tensor that a Constant node gives, or None."""
        node = self._nodes.get(name)
        if node is None or node.op_type != "Constant":
            return None
        return next((a.t for a in node.attribute if a.name == "value"), None)

    def _with_data(self, tensor: Any) -> Any:
        """A copy of an external tensor with its data, from the model's directory."""
        import onnx
        from onnx.external_data_helper import load_external_data_for_tensor

        location = {entry.key: entry.value for entry in tensor.external_data}.get(
            "location", ""
        )
        if self._directory is None:
            raise ValueError(
                f"{FUNCTION}: the data of {tensor.name!r} is in the file {location!r}; "
                f"give the model's path, or load it with its data."
            )
        directory = self._directory.resolve()
        # Resolved, so that neither '..' nor a link leads out.
        path = (directory / location).resolve()
        if not path.is_relative_to(directory) or not path.is_file():
            raise ValueError(
                f"{FUNCTION}: the data of {tensor.name!r} must be in a file beside the "
                f"model or below; got {location!r}."
            )
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        try:
            load_external_data_for_tensor(copy, str(directory))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise ValueError(
                f"{FUNCTION}: the data of {tensor.name!r} cannot be read from "
                f"{location!r}: {error}"
            ) from error
        return copy


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
