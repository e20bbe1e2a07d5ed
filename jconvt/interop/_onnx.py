"""From ONNX: a ConvTranspose node with its weight."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jconvt._call.arguments import did_you_mean
from jconvt._call.padding import onnx_same
from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._config import FixedSize
from jconvt.interop._paddings import per_axis
from jconvt.interop._port import port
from jconvt.interop._ported import PortedLayer

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
            f"{auto_pad!r}.{did_you_mean(auto_pad, _AUTO_PADS)}"
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
