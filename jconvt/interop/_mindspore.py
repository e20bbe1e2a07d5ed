"""MindSpore: parameters and options, without an import of MindSpore."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jconvt._call.arguments import IntOrInts, did_you_mean
from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._port import port
from jconvt.interop._ported import PortedLayer

# `pad_mode` of the layers in mindspore.nn -> the padding here; None: as given
_PAD_MODES = {"same": "SAME", "valid": "VALID", "pad": None}


@ends_traceback
def from_mindspore(
    params: Mapping[str, Any],
    *,
    stride: IntOrInts = 1,
    padding: int | Sequence[int] = 0,
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
    pad_mode: str = "pad",
) -> PortedLayer:
    """The parameters of a layer of MindSpore.

    With the options of `mindspore.mint.nn.ConvTranspose2d`, which are PyTorch's, or
    with those of `mindspore.nn.Conv2dTranspose` and ``Conv3dTranspose``, whose
    ``group`` is `groups` here. *The default of their* `pad_mode` *is* ``"same"``, so
    name it. The weight of ``Conv1dTranspose`` has a spatial axis of size 1 before its
    own; remove it.

    Args:
      params: ``weight``, ``(C_in, C_out/groups, *K)``, and maybe ``bias``, as NumPy
        arrays or as MindSpore's own parameters.
      stride: output elements between neighbouring input elements.
      padding: output elements cropped at both ends, an int or one for each axis, or
        low and high for each axis in turn: (top, bottom, left, right).
      output_padding: output elements appended at the end.
      groups: groups of channels that do not mix.
      dilation: output elements between neighbouring taps.
      pad_mode: ``"pad"`` (the default): `padding` counts. ``"same"`` and ``"valid"`` as
        TensorFlow, Keras and lax define them; then `padding` and `output_padding` must
        be 0.

    Returns:
      The layer, for channels-first data.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: no ``weight``, an option out of range, or a padding beside "same".

    Example:
      >>> import numpy as np
      >>> from jconvt.interop import from_mindspore
      >>> up = from_mindspore({"weight": np.ones((3, 2, 5, 5), "float32")}, stride=2,
      ...                     pad_mode="same")
      >>> up.apply(np.ones((1, 3, 7, 7), "float32")).shape
      (1, 2, 14, 14)
    """
    function = "from_mindspore"
    if not isinstance(params, Mapping):
        raise TypeError(
            f"{function}: `params` must map 'weight' and 'bias' to arrays; got "
            f"{type(params).__name__}."
        )
    if "weight" not in params:
        raise ValueError(
            f"{function}: `params` must hold 'weight'; got "
            f"{', '.join(map(str, params)) or 'nothing'}."
        )
    if pad_mode not in _PAD_MODES:
        raise ValueError(
            f"{function}: `pad_mode` must be one of {', '.join(_PAD_MODES)}; got "
            f"{pad_mode!r}.{did_you_mean(pad_mode, _PAD_MODES)}"
        )
    weight = _array(params["weight"])
    bias = None if params.get("bias") is None else _array(params["bias"])
    crop: Any = padding
    rank = weight.ndim - 2
    if isinstance(padding, tuple | list) and rank > 0 and len(padding) == 2 * rank:
        crop = tuple(zip(padding[::2], padding[1::2], strict=True))
    dialect = _PAD_MODES[pad_mode]
    for name, value in (("padding", padding), ("output_padding", output_padding)):
        if dialect is not None and np.any(np.asarray(value) != 0):
            raise ValueError(
                f"{function}: `{name}` must be 0 where `pad_mode` is {pad_mode!r}; got "
                f"{value!r}."
            )
    return port(
        function,
        weight,
        bias,
        stride=stride,
        padding=crop if dialect is None else dialect,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
    )


def _array(value: Any) -> Any:
    """MindSpore's parameters know how to become NumPy arrays."""
    if hasattr(value, "asnumpy"):
        return value.asnumpy()
    return value if isinstance(value, jax.Array) else np.asarray(value)
