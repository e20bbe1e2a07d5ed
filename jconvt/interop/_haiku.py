"""Haiku: the parameters of its transposed convolutions."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike

from jconvt._call.arguments import IntOrInts, check_ints, did_you_mean
from jconvt._call.numerics import check_array
from jconvt._call.padding import haiku_output_shape
from jconvt._call.tracebacks import ends_traceback
from jconvt._layers.flax import read_padding
from jconvt.interop._kernels import flip, from_channels_last
from jconvt.interop._paddings import per_axis
from jconvt.interop._port import port
from jconvt.interop._ported import PortedLayer

_NAMES = {"SAME": "SAME", "VALID": "VALID"}
_LAST = ("channels_last", "N...C", "NWC", "NHWC", "NDHWC")
_FIRST = ("channels_first", "NC...", "NCW", "NCHW", "NCDHW")


@ends_traceback
def from_haiku(
    params: Mapping[str, Any],
    *,
    stride: IntOrInts = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
    output_shape: IntOrInts | None = None,
    data_format: str = "NHWC",
    mask: ArrayLike | None = None,
) -> PortedLayer:
    """The parameters of Haiku's `ConvNDTranspose`, ``Conv2DTranspose`` and the like.

    Options are the module's. Haiku is not imported.

    Args:
      params: what Haiku keeps under the module's name: ``w``, ``(*K, C_out, C_in)``,
        and maybe ``b``.
      stride: output elements between neighbouring input elements.
      padding: ``"SAME"`` or ``"VALID"`` as in lax, or pairs of zeros around the
        stride-dilated input.
      output_shape: the output's spatial size. As in Haiku it admits the one input size
        that a convolution with `padding` would give; `apply` refuses any other.
      data_format: as in Haiku; only where the channels are counts, so that ``"NHWC"``
        stands for channels last in any rank.
      mask: of the shape of ``w``, multiplied into it, once.

    Returns:
      The layer, for data in `data_format`.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: no ``w``, an option out of range, a mask of another shape.

    Example:
      >>> import numpy as np
      >>> from jconvt.interop import from_haiku
      >>> params = {"w": np.ones((4, 4, 3, 8), "float32"), "b": np.zeros(3, "float32")}
      >>> up = from_haiku(params, stride=2, output_shape=(15, 16))
      >>> up.apply(np.ones((1, 8, 8, 8), "float32")).shape
      (1, 15, 16, 3)
    """
    function = "from_haiku"
    if not isinstance(params, Mapping):
        raise TypeError(
            f"{function}: `params` must map 'w' and 'b' to arrays; got "
            f"{type(params).__name__}."
        )
    if "w" not in params:
        raise ValueError(
            f"{function}: `params` must hold 'w', so be those of one module; got "
            f"{', '.join(map(str, params)) or 'nothing'}."
        )
    if data_format not in _LAST + _FIRST:
        raise ValueError(
            f"{function}: `data_format` must be one of {', '.join(_LAST + _FIRST)}; "
            f"got {data_format!r}.{did_you_mean(data_format, _LAST + _FIRST)}"
        )
    w = jnp.asarray(check_array(function, "w", params["w"]))
    if w.ndim < 3:
        raise ValueError(
            f"{function}: `w` must be (*K, C_out, C_in) with one spatial axis or more; "
            f"got shape {w.shape}."
        )
    if mask is not None:
        mask = jnp.asarray(mask)
        if mask.shape != w.shape:
            raise ValueError(
                f"{function}: `mask` must have the shape of `w`, {w.shape}; got "
                f"{mask.shape}."
            )
        w = w * mask
    bias = params.get("b")
    kernel_size = w.shape[:-2]
    strides = check_ints(function, "stride", stride, len(kernel_size), 1)
    size = None
    if output_shape is not None:
        if padding not in tuple(_NAMES):
            raise ValueError(
                f"{function}: `padding` must be 'SAME' or 'VALID' where `output_shape` "
                f"is given; got {padding!r}."
            )
        size = check_ints(function, "output_shape", output_shape, len(strides), 1)
        crop = per_axis(
            lambda e, s, m: haiku_output_shape(e, s, m, same=padding == "SAME"),
            kernel_size,
            strides,
            size,
        )
    else:
        crop = read_padding(function, padding, kernel_size, _NAMES)
    return port(
        function,
        flip(from_channels_last(w)),
        None if bias is None else jnp.reshape(jnp.asarray(bias), -1),
        stride=strides,
        padding=crop,
        output_size=size,
        channels_last=data_format in _LAST,
    )
