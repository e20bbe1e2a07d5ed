"""To PyTorch: a module of `torch.nn`."""

import typing

import jax
import jax.numpy as jnp
import numpy as np

from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._paddings import symmetric
from jconvt.interop._ported import PortedLayer
from jconvt.interop._targets import check_layer, check_one_dtype, fixed_crop, refuse

if typing.TYPE_CHECKING:
    import torch


@ends_traceback
def to_torch(layer: PortedLayer) -> "torch.nn.Module":
    """A PyTorch module that computes the same, for channels-first data.

    Args:
      layer: a ported layer. Its weight and bias are copied.

    Returns:
      A `torch.nn.ConvTranspose1d`, ``2d`` or ``3d``. A `precision` is not carried over.

    Raises:
      TypeError: `layer` is not a `PortedLayer`.
      ValueError: PyTorch lacks an option, which is named: a crop other than
        `padding` on both ends less `output_padding`, a periodic padding, a rank other
        than 1, 2 or 3, a weight of integers, a `dtype` to cast to.
      ImportError: PyTorch is not installed.

    Example:
      >>> from jconvt.interop import from_torch, to_torch
      >>> import numpy as np
      >>> layer = from_torch({"weight": np.ones((2, 3, 4), "float32")}, stride=2)
      >>> to_torch(layer)
      ConvTranspose1d(2, 3, kernel_size=(4,), stride=(2,), bias=False)
    """
    layer, options = check_layer("to_torch", layer), layer.config.options
    if options.rank not in (1, 2, 3):
        raise refuse(
            "to_torch",
            "weight.shape",
            layer.weight.shape,
            "PyTorch has transposed convolutions over 1, 2 and 3 axes",
        )
    if not jnp.issubdtype(layer.weight.dtype, jnp.inexact):
        raise refuse(
            "to_torch",
            "weight.dtype",
            layer.weight.dtype.name,
            "PyTorch's parameters are floating or complex",
        )
    check_one_dtype("to_torch", layer)
    paddings = symmetric(
        fixed_crop("to_torch", layer), options.stride, options.dilation
    )
    if paddings is None:
        raise refuse(
            "to_torch",
            "padding",
            options.padding,
            "PyTorch crops both ends by one `padding` of at least 0, less an "
            "`output_padding` below stride or dilation",
        )
    import torch

    module = getattr(torch.nn, f"ConvTranspose{options.rank}d")(
        layer.weight.shape[0],
        layer.weight.shape[1] * options.groups,
        layer.weight.shape[2:],
        stride=options.stride,
        padding=paddings[0],
        output_padding=paddings[1],
        groups=options.groups,
        bias=layer.bias is not None,
        dilation=options.dilation,
        device="meta",  # no memory, no random numbers
    )
    module.weight = torch.nn.Parameter(_tensor(layer.weight))
    if layer.bias is not None:
        module.bias = torch.nn.Parameter(_tensor(layer.bias))
    return module


def _tensor(array: jax.Array) -> "torch.Tensor":
    """A copy of the array as a tensor of the same dtype."""
    import torch

    values = np.array(array)
    if array.dtype == jnp.bfloat16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)
