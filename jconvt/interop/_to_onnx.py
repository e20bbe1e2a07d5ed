"""To ONNX: a model of one ConvTranspose node."""

import typing
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._ported import PortedLayer
from jconvt.interop._targets import check_layer, check_one_dtype, fixed_crop, refuse

if typing.TYPE_CHECKING:
    import onnx

_OPSET = 11


@ends_traceback
def to_onnx(layer: PortedLayer, *, name: str = "conv_transpose") -> "onnx.ModelProto":
    """A model of one ConvTranspose node, which any ONNX runtime runs.

    Args:
      layer: a ported layer.
      name: of the node; its output is ``y`` and its input ``x``, channels first, of any
        batch and spatial size. The parameters are initializers, ``weight`` and
        ``bias``.

    Returns:
      An `onnx.ModelProto` of opset 11. A `precision` is not carried over.

    Raises:
      TypeError: `layer` is not a `PortedLayer`.
      ValueError: ONNX lacks an option, which is named: elements appended at the
        low end, or at the high end as many as stride and dilation; a periodic padding;
        a dtype other than float16, float32 and float64; a `dtype` to cast to.
      ImportError: onnx is not installed.

    Example:
      >>> import numpy as np
      >>> from jconvt.interop import from_mindspore, from_onnx_model, to_onnx
      >>> up = from_mindspore({"weight": np.ones((8, 4, 4), "float32")}, stride=2)
      >>> from_onnx_model(to_onnx(up, name="up"))
      {'up': PortedLayer(8, 4, kernel_size=(4,), stride=(2,), bias=False)}
    """
    layer, options = check_layer("to_onnx", layer), layer.config.options
    check_one_dtype("to_onnx", layer)
    if options.rank == 0:
        raise refuse(
            "to_onnx",
            "weight.shape",
            layer.weight.shape,
            "ONNX has transposed convolutions over one axis or more",
        )
    if layer.weight.dtype not in (jnp.float16, jnp.float32, jnp.float64):
        raise refuse(
            "to_onnx",
            "weight.dtype",
            layer.weight.dtype.name,
            "a ConvTranspose of ONNX is of float16, float32 or float64",
        )
    attributes = {
        "strides": options.stride,
        "dilations": options.dilation,
        "group": options.groups,
        "kernel_shape": layer.weight.shape[2:],
        **_pads(layer),
    }
    return _model(layer, name, attributes)


def _pads(layer: PortedLayer) -> dict[str, Any]:
    """Our padding as ONNX's `pads`, at least 0, and `output_padding`."""
    options = layer.config.options
    lows, highs, more = [], [], []
    for i, (low, high) in enumerate(fixed_crop("to_onnx", layer)):
        # The layer's own split where every runtime takes it (ONNX Runtime wants an
        # `output_padding` below the stride), and else as little as there must be.
        extra, given = options.output_padding[i], options.paddings[i]
        if isinstance(given, str) or min(given) < 0 or extra >= options.stride[i]:
            extra = max(-high, 0)
        if low < 0 or extra >= max(options.stride[i], options.dilation[i], 1):
            raise refuse(
                "to_onnx",
                "padding",
                options.padding,
                "ONNX crops, and appends only at the high end and less than stride or "
                "dilation",
            )
        lows.append(low)
        highs.append(high + extra)
        more.append(extra)
    return {"pads": [*lows, *highs], "output_padding": more}


def _model(
    layer: PortedLayer, name: str, attributes: Mapping[str, Any]
) -> "onnx.ModelProto":
    from onnx import helper, numpy_helper

    arrays = {"weight": layer.weight}
    if layer.bias is not None:
        arrays["bias"] = layer.bias
    node = helper.make_node("ConvTranspose", ["x", *arrays], ["y"], name, **attributes)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(layer.weight.dtype))
    rank = layer.config.options.rank
    channels = (layer.weight.shape[0], layer.weight.shape[1] * attributes["group"])
    values = [
        helper.make_tensor_value_info(
            value, kind, ["n", count, *(f"{value}{i}" for i in range(rank))]
        )
        for value, count in zip("xy", channels, strict=True)
    ]
    graph = helper.make_graph(
        [node],
        name,
        values[:1],
        values[1:],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    opset = helper.make_opsetid("", _OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=6)
