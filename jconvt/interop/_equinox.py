"""Equinox: its transposed convolution layers."""

import typing
from typing import Any

import jax
import jax.numpy as jnp

from jconvt._call.padding import PERIODIC, equinox_same
from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._kernels import flip, regroup
from jconvt.interop._paddings import per_axis
from jconvt.interop._port import port
from jconvt.interop._ported import PortedLayer
from jconvt.interop._targets import check_layer, check_one_dtype, fixed_crop, refuse

if typing.TYPE_CHECKING:
    import equinox

# padding of a layer with padding_mode "CIRCULAR" -> the padding here
_CIRCULAR = {"SAME": "CIRCULAR", "SAME_LOWER": "CIRCULAR_LOWER"}


@ends_traceback
def from_equinox(layer: Any) -> PortedLayer:
    """An `equinox.nn.ConvTranspose`, of any rank.

    Equinox's kernel is a convolution's of the dilated input, so it is flipped here and
    its channels change roles in each group. Under ``"SAME"`` and ``"SAME_LOWER"`` an
    `output_padding` *reduces* the output to ``S*stride - output_padding``, as there.
    ``padding_mode="CIRCULAR"`` continues the input periodically, as there.

    Args:
      layer: the layer; its arrays may be traced.

    Returns:
      The layer, for channels-first data: unbatched as in Equinox, or with a batch axis.

    Raises:
      TypeError: `layer` is not an `equinox.nn.ConvTranspose`.
      ValueError: a shape that does not fit.
      ImportError: Equinox is not installed.

    Example:
      >>> import equinox, jax
      >>> from jconvt.interop import from_equinox
      >>> layer = equinox.nn.ConvTranspose2d(8, 4, 3, 2, key=jax.random.key(0))
      >>> from_equinox(layer).apply(jax.numpy.ones((8, 5, 5))).shape
      (4, 11, 11)
    """
    import equinox

    if not isinstance(layer, equinox.nn.ConvTranspose):
        raise TypeError(
            f"from_equinox: `layer` must be an equinox.nn.ConvTranspose; got "
            f"{type(layer).__name__}."
        )
    padding, output_padding = _padding(layer)
    weight = jnp.asarray(layer.weight)
    return port(
        "from_equinox",
        flip(regroup(weight, layer.groups)),
        None if layer.bias is None else jnp.reshape(layer.bias, -1),
        stride=layer.stride,
        padding=padding,
        output_padding=output_padding,
        groups=layer.groups,
        dilation=layer.dilation,
    )


@ends_traceback
def to_equinox(layer: PortedLayer) -> "equinox.nn.ConvTranspose":
    """An Equinox layer that computes the same, for unbatched channels-first data.

    Args:
      layer: a ported layer; its arrays may be traced.

    Returns:
      An `equinox.nn.ConvTranspose`. A `precision` is not carried over.

    Raises:
      TypeError: `layer` is not a `PortedLayer`.
      ValueError: Equinox lacks an option, which is named: a `dtype` to cast to, a
        crop that depends on the input's size.
      ImportError: Equinox is not installed.

    Example:
      >>> import numpy as np
      >>> from jconvt.interop import from_mindspore, to_equinox
      >>> up = from_mindspore({"weight": np.ones((8, 4, 4), "float32")}, stride=2)
      >>> to_equinox(up)(np.ones((8, 5), "float32")).shape
      (4, 12)
    """
    layer, options = check_layer("to_equinox", layer), layer.config.options
    check_one_dtype("to_equinox", layer)
    if options.rank == 0:
        raise refuse(
            "to_equinox",
            "weight.shape",
            layer.weight.shape,
            "Equinox has transposed convolutions over one axis or more",
        )
    padding, output_padding, mode = _equinox_padding(layer)
    import equinox

    result = equinox.nn.ConvTranspose(
        options.rank,
        layer.weight.shape[0],
        layer.weight.shape[1] * options.groups,
        layer.weight.shape[2:],
        stride=options.stride,
        padding=padding,
        output_padding=output_padding,
        dilation=options.dilation,
        groups=options.groups,
        use_bias=layer.bias is not None,
        padding_mode=mode,
        key=jax.random.key(0),  # its draws are replaced
    )
    weight = regroup(flip(layer.weight), options.groups)
    result = equinox.tree_at(lambda new: new.weight, result, weight)
    if layer.bias is None:
        return result
    bias = jnp.reshape(layer.bias, (-1,) + (1,) * options.rank)
    return equinox.tree_at(lambda new: new.bias, result, bias)


def _padding(layer: Any) -> tuple[Any, Any]:
    """`padding` and `output_padding` as `conv_transpose` has them."""
    if layer.padding_mode == "CIRCULAR":
        return _CIRCULAR[layer.padding], 0
    if not isinstance(layer.padding, str):
        return layer.padding, layer.output_padding
    if layer.padding == "VALID":  # there: nothing cropped
        return 0, layer.output_padding
    if not any(layer.output_padding):
        return layer.padding, 0
    extents = tuple(
        d * (k - 1) + 1 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)
    )
    lower = layer.padding == "SAME_LOWER"
    return per_axis(
        lambda e, s, a: equinox_same(e, s, a, lower=lower),
        extents,
        layer.stride,
        layer.output_padding,
    ), 0


def _equinox_padding(layer: PortedLayer) -> tuple[Any, Any, str]:
    """`padding`, `output_padding` and `padding_mode` as Equinox has them."""
    options = layer.config.options
    if options.padding in PERIODIC:
        names = {ours: theirs for theirs, ours in _CIRCULAR.items()}
        return names[str(options.padding)], 0, "CIRCULAR"
    if options.padding in ("SAME", "SAME_LOWER") and not any(options.output_padding):
        return options.padding, 0, "ZEROS"
    # Any crop is a pair, so an `output_padding` that Equinox would refuse is none.
    keeps = all(
        not isinstance(padding, str) and a < s
        for padding, a, s in zip(
            options.paddings, options.output_padding, options.stride, strict=True
        )
    )
    if keeps and layer.config.fixed is None:
        return options.padding, options.output_padding, "ZEROS"
    return fixed_crop("to_equinox", layer), 0, "ZEROS"
