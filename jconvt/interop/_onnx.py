"""ONNX: ConvTranspose nodes, and models of one."""

import typing
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jconvt._dialects import onnx_same
from jconvt._tracebacks import ends_traceback
from jconvt.interop._paddings import per_axis
from jconvt.interop._ported import PortedLayer, port
from jconvt.interop._static import FixedSize
from jconvt.interop._targets import check_layer, check_one_dtype, fixed_crop, refuse

if typing.TYPE_CHECKING:
    import onnx

FUNCTION = "from_onnx"

# Attribute -> how many ints it holds for each spatial axis, and the least of them
_PER_AXIS = {
    "kernel_shape": (1, 1),
    "strides": (1, 1),
    "dilations": (1, 1),
    "pads": (2, 0),
    "output_padding": (1, 0),
    "output_shape": (1, 0),
}
_ATTRIBUTES = (*_PER_AXIS, "auto_pad", "group")
_AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
_OPSET = 11


@ends_traceback
def from_onnx(node: Any, weight: Any, bias: Any = None) -> PortedLayer:
    """A ConvTranspose node of ONNX, with its weight.

    The standard leaves cases open; matched is ONNX Runtime. Under ``SAME_UPPER`` and
    ``SAME_LOWER`` the output has n*strides elements, but where the kernel is smaller
    than the stride nothing is cropped or appended, so that it has fewer. With an
    `output_shape` the crop depends on the input's size, the odd element goes to the low
    end unless `auto_pad` is ``SAME_UPPER``, and missing elements are appended at the
    high end. (ONNX's reference implementation differs for several groups, and in these
    cases.)

    Args:
      node: an `onnx.NodeProto`.
      weight: ``(C_in, C_out/group, *K)``, an array or an `onnx.TensorProto`.
      bias: ``(C_out,)`` of the same kinds, or None.

    Returns:
      The layer, for channels-first data.

    Raises:
      TypeError: `node` is not a NodeProto, or the weight not an array of numbers.
      ValueError: another operator, an unknown attribute, one of the wrong length or
        range, a `kernel_shape` that is not the weight's, `pads` beside an `auto_pad`.
      ImportError: onnx is not installed.

    Example:
      >>> import numpy as np, onnx
      >>> from jconvt.interop import from_onnx
      >>> node = onnx.helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2],
      ...                              output_shape=[9])
      >>> layer = from_onnx(node, np.ones((8, 4, 4), "float32"))
      >>> layer.apply(np.ones((1, 8, 5), "float32")).shape
      (1, 4, 9)
      >>> layer.for_input(5).options["padding"]
      ((2, 1),)
    """
    import onnx

    if not isinstance(node, onnx.NodeProto):
        raise TypeError(
            f"{FUNCTION}: `node` must be an onnx.NodeProto; got {type(node).__name__}."
        )
    if node.op_type != "ConvTranspose" or node.domain not in ("", "ai.onnx"):
        operator = f"{node.domain}.{node.op_type}".lstrip(".")
        raise ValueError(
            f"{FUNCTION}: `node` must be a ConvTranspose of ONNX; got {operator}."
        )
    weight = _array(weight)
    shape = np.shape(weight)
    if len(shape) < 3:
        raise ValueError(
            f"{FUNCTION}: `weight` must be (C_in, C_out/group, *K) with one spatial "
            f"axis or more; got shape {shape}."
        )
    attributes = _attributes(node, shape[2:])
    options, fixed = _padding(attributes, shape[2:])
    return port(
        FUNCTION,
        weight,
        None if bias is None else _array(bias),
        stride=attributes["strides"],
        dilation=attributes["dilations"],
        groups=attributes["group"],
        fixed=fixed,
        **options,
    )


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
      ValueError: ONNX cannot say an option, which is named: elements appended at the
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
    layer, options = check_layer("to_onnx", layer), layer.static.options
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


def _attributes(node: Any, kernel_size: tuple[int, ...]) -> dict[str, Any]:
    """The node's attributes, those of ints for each axis, with the defaults."""
    import onnx

    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    unknown = sorted(given.keys() - set(_ATTRIBUTES))
    if unknown:
        raise ValueError(
            f"{FUNCTION}: `node` must have no attributes but {', '.join(_ATTRIBUTES)};"
            f" got {', '.join(unknown)}."
        )
    rank = len(kernel_size)
    if not isinstance(given.get("group", 1), int):
        raise ValueError(f"{FUNCTION}: `group` must be an int; got {given['group']!r}.")
    for name, (count, least) in _PER_AXIS.items():
        if name in given:
            _check_ints(name, given[name], count * rank, least)
    if list(given.get("kernel_shape", kernel_size)) != list(kernel_size):
        raise ValueError(
            f"{FUNCTION}: `kernel_shape` must be the weight's, {kernel_size}; got "
            f"{list(given['kernel_shape'])}."
        )
    auto_pad = given.get("auto_pad", b"NOTSET")
    auto_pad = (
        auto_pad.decode(errors="replace") if isinstance(auto_pad, bytes) else auto_pad
    )
    if auto_pad not in _AUTO_PADS:
        raise ValueError(
            f"{FUNCTION}: `auto_pad` must be one of {', '.join(_AUTO_PADS)}; got "
            f"{auto_pad!r}."
        )
    if auto_pad != "NOTSET" and any(given.get("pads", ())):
        raise ValueError(
            f"{FUNCTION}: `pads` must be absent where `auto_pad` is {auto_pad}; got "
            f"{list(given['pads'])}."
        )
    defaults = {
        "strides": (1,) * rank,
        "dilations": (1,) * rank,
        "group": 1,
        "pads": (0,) * 2 * rank,
        "output_padding": (0,) * rank,
        "output_shape": None,
    }
    return defaults | given | {"auto_pad": auto_pad}


def _check_ints(name: str, value: Any, count: int, least: int) -> None:
    if (
        not isinstance(value, list | tuple)
        or len(value) != count
        or any(not isinstance(v, int) or v < least for v in value)
    ):
        raise ValueError(
            f"{FUNCTION}: `{name}` must hold {count} ints of at least {least} for this "
            f"weight; got {value!r}."
        )


def _padding(
    attributes: Mapping[str, Any], kernel_size: tuple[int, ...]
) -> tuple[dict[str, Any], FixedSize | None]:
    """`padding` and `output_padding` as `conv_transpose` has them, or a fixed size."""
    auto_pad, more = attributes["auto_pad"], tuple(attributes["output_padding"])
    if attributes["output_shape"] is not None:
        lower = auto_pad != "SAME_UPPER"
        fixed = FixedSize(tuple(attributes["output_shape"]), lower)
        return {"output_padding": more}, fixed
    if auto_pad.startswith("SAME"):
        lower = auto_pad == "SAME_LOWER"
        extents = tuple(
            d * (k - 1) + 1
            for k, d in zip(kernel_size, attributes["dilations"], strict=True)
        )
        padding = per_axis(
            lambda e, s, a: onnx_same(e, s, a, lower=lower),
            extents,
            tuple(attributes["strides"]),
            more,
        )
    else:
        pads, rank = attributes["pads"], len(kernel_size)
        padding = tuple(zip(pads[:rank], pads[rank:], strict=True))
    return {"padding": padding, "output_padding": more}, None


def _pads(layer: PortedLayer) -> dict[str, Any]:
    """Our padding as ONNX's `pads`, at least 0, and `output_padding`."""
    options = layer.static.options
    lows, highs, more = [], [], []
    given = options.padding
    for i, (low, high) in enumerate(fixed_crop("to_onnx", layer)):
        # The layer's own split where every runtime takes it (ONNX Runtime wants an
        # `output_padding` below the stride), and else as little as there must be.
        extra = options.output_padding[i]
        if isinstance(given, str) or min(given[i]) < 0 or extra >= options.stride[i]:
            extra = max(-high, 0)
        if low < 0 or extra >= max(options.stride[i], options.dilation[i], 1):
            raise refuse(
                "to_onnx",
                "padding",
                given,
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
    rank = layer.static.options.rank
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


def _array(value: Any) -> Any:
    """A tensor of ONNX as a NumPy array; any other array as it is."""
    import onnx

    if isinstance(value, onnx.TensorProto):
        if value.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError(
                f"{FUNCTION}: the tensor {value.name!r} must hold its data; it is in "
                f"an external file. See from_onnx_model."
            )
        return onnx.numpy_helper.to_array(value)
    return value if isinstance(value, jax.Array) else np.asarray(value)
