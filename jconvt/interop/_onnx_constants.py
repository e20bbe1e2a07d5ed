"""Constants of an ONNX graph: initializers, and what nodes compute of them alone."""

from pathlib import Path
from typing import Any

import numpy as np

# The reference evaluator has this operator from a version on, of which the earlier ones
# are special cases; ONNX Runtime has it in a domain of its own too.
_DEQUANTIZE = "DequantizeLinear"
_DEQUANTIZE_VERSION = 21

_STANDARD = ("", "ai.onnx")

_RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)


class Constants:
    """The constant tensors of a model's graph, as arrays when they are asked for."""

    def __init__(self, function: str, model: Any, directory: Path | None) -> None:
        """`function` begins the messages; external data lies in `directory`."""
        self._function = function
        self._model = model
        self._directory = directory
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes = {name: node for node in model.graph.node for name in node.output}
        self._values: dict[str, Any] = {}

    def array(self, reader: str, name: str) -> np.ndarray[Any, Any]:
        """The tensor's values, or a ValueError that names the node `reader`."""
        for node in self._needed(reader, name):
            self._values |= self._run(reader, name, node)
        value = self._value(name)
        if not isinstance(value, np.ndarray):
            kind = type(value).__name__
            raise self._error(reader, f"{name!r} is no dense tensor but a {kind}")
        return value

    def _needed(self, reader: str, name: str) -> list[Any]:
        """The nodes still to run for a tensor, each after those that it reads."""
        order: list[Any] = []
        opened: set[str] = set()
        done = set(self._values)
        pending: list[tuple[str, Any]] = [(name, None)]
        while pending:
            tensor, user = pending[-1]
            if tensor in done or self._tensor(tensor) is not None:
                pending.pop()
                continue
            if tensor not in opened:
                self._check(reader, name, tensor, user)
            node = self._nodes[tensor]
            missing = [
                (wanted, node)
                for wanted in node.input
                if wanted and wanted not in done and self._tensor(wanted) is None
            ]
            if not missing:
                order.append(node)
                done |= set(node.output)
            elif tensor in opened:
                raise self._error(
                    reader, f"{name!r} depends on itself, through {_said(node)}"
                )
            opened.add(tensor)
            pending += missing
        return order

    def _check(self, reader: str, name: str, tensor: str, user: Any) -> None:
        """A ValueError unless a node computes the tensor, of its inputs alone."""
        import onnx

        depends, node = f"{name!r} depends on", self._nodes.get(tensor)
        if node is None:
            sparse = {t.values.name for t in self._model.graph.sparse_initializer}
            origin = "an input of the graph"
            if tensor in sparse:
                origin = "a sparse initializer"
            if user is None:
                raise self._error(reader, f"{tensor!r} is {origin}")
            raise self._error(
                reader, f"{depends} {tensor!r}, {origin}, which {_said(user)} reads"
            )
        if node.op_type in _RANDOM and node.domain in _STANDARD:
            raise self._error(
                reader, f"{depends} {_said(node)}, which draws its values"
            )
        graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
        if any(a.type in graphs for a in node.attribute):
            raise self._error(
                reader,
                f"{depends} {_said(node)}, which has a graph of its own. Fold "
                f"constants first",
            )

    def _run(self, reader: str, name: str, node: Any) -> dict[str, Any]:
        """The outputs of one node, whose inputs are known, by name."""
        import onnx
        from onnx.reference import ReferenceEvaluator

        inputs = [tensor for tensor in dict.fromkeys(node.input) if tensor]
        outputs = [tensor for tensor in node.output if tensor]
        graph = onnx.helper.make_graph(
            [node],
            "node",
            [onnx.ValueInfoProto(name=tensor) for tensor in inputs],
            [onnx.ValueInfoProto(name=tensor) for tensor in outputs],
        )
        model = onnx.helper.make_model(graph, opset_imports=self._model.opset_import)
        if any(f.name == node.op_type for f in self._model.functions):
            model.functions.extend(self._model.functions)
        _with_dequantize(model)
        feeds = {tensor: self._value(tensor) for tensor in inputs}
        try:
            with np.errstate(all="ignore"):
                results = ReferenceEvaluator(model).run(None, feeds)
        except Exception as error:  # of any kind, by the operator
            raise self._error(
                reader,
                f"{name!r} depends on {_said(node)}, which ONNX's reference evaluator "
                f"cannot run ({type(error).__name__}: {error}). Fold constants first",
            ) from error
        return dict(zip(outputs, results, strict=True))

    def _value(self, name: str) -> Any:
        """What is known of a tensor: of a node that has run, or stored."""
        if name not in self._values:
            self._values[name] = self._stored(name)
        return self._values[name]

    def _tensor(self, name: str) -> Any:
        """The tensor of an initializer or a Constant node, or None."""
        if name in self._tensors:
            return self._tensors[name]
        node = self._nodes.get(name)
        if node is None or node.op_type != "Constant":
            return None
        return next((a.t for a in node.attribute if a.name == "value"), None)

    def _stored(self, name: str) -> np.ndarray[Any, Any]:
        """The values of an initializer or a Constant node."""
        import onnx

        tensor = self._tensor(name)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor = self._with_data(tensor)
        return onnx.numpy_helper.to_array(tensor)

    def _error(self, reader: str, reason: str) -> ValueError:
        return ValueError(
            f"{self._function}: weight and bias of node {reader!r} must be constants; "
            f"{reason}."
        )

    def _with_data(self, tensor: Any) -> Any:
        """A copy of an external tensor with its data, from the model's directory."""
        import onnx
        from onnx.external_data_helper import load_external_data_for_tensor

        location = {entry.key: entry.value for entry in tensor.external_data}.get(
            "location", ""
        )
        data = f"{self._function}: the data of {tensor.name!r}"
        if self._directory is None:
            raise ValueError(
                f"{data} is in the file {location!r}; give the model's path, or load "
                f"it with its data."
            )
        directory = self._directory.resolve()
        # Resolved, so that neither '..' nor a link leads out.
        path = (directory / location).resolve()
        if not path.is_relative_to(directory) or not path.is_file():
            raise ValueError(
                f"{data} must be in a file beside the model or below; got {location!r}."
            )
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        try:
            load_external_data_for_tensor(copy, str(directory))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise ValueError(f"{data} cannot be read from {location!r}: {error}") from (
                error
            )
        return copy


def _said(node: Any) -> str:
    """A node as messages name it: its operator, and its name or that of its output."""
    operator = f"{node.domain}.{node.op_type}".lstrip(".")
    return f"{operator} {node.name or node.output[0]!r}"


def _with_dequantize(model: Any) -> None:
    """Let the evaluator find DequantizeLinear, in a model of that node alone."""
    (node,) = model.graph.node
    if node.op_type == _DEQUANTIZE and node.domain in (*_STANDARD, "com.microsoft"):
        node.domain = ""
        for opset in model.opset_import:
            if opset.domain in _STANDARD:
                opset.version = max(opset.version, _DEQUANTIZE_VERSION)
