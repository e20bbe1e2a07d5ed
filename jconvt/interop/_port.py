"""What a door has read -> `PortedLayer`, checked."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import IntOrInts, Padding, check_channels, spatial_rank
from jconvt._call.numerics import Precision, check_array
from jconvt._call.options import normalize_options
from jconvt.interop._config import FixedSize, PortedConfig, dimension_numbers
from jconvt.interop._ported import PortedLayer


def port(
    function: str,
    weight: ArrayLike,
    bias: ArrayLike | None,
    *,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
    channels_last: bool = False,
    symmetric_padding: bool = False,
    output_size: tuple[int, ...] | None = None,
    fixed: FixedSize | None = None,
    precision: Precision = None,
    preferred_element_type: DTypeLike | None = None,
    dtype: DTypeLike | None = None,
) -> PortedLayer:
    """Check what a door has read, and make the layer; messages begin with `function`.

    `weight` is (C_in, C_out/groups, *K) already; `symmetric_padding`: PyTorch's alone.
    """
    w = jnp.asarray(check_array(function, "weight", weight))
    rank = spatial_rank(function, w.shape)
    options = normalize_options(
        function,
        rank,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
        dimension_numbers=dimension_numbers(rank, channels_last),
        symmetric_padding=symmetric_padding,
    )
    check_channels(function, w.shape[0], options.groups)
    if any(k < 1 for k in w.shape[2:]):
        raise ValueError(
            f"{function}: `weight` must have at least one tap on every spatial axis; "
            f"got shape {w.shape}."
        )
    b = None if bias is None else jnp.asarray(check_array(function, "bias", bias))
    out_channels = w.shape[1] * options.groups
    if b is not None and b.shape != (out_channels,):
        raise ValueError(
            f"{function}: `bias` must have shape ({out_channels},), the output channels"
            f" of weight {w.shape} as (C_in, C_out/groups, *K) with "
            f"groups={options.groups}; got {b.shape}."
        )
    preferred = preferred_element_type
    config = PortedConfig(
        options=replace(options, function="PortedLayer.apply"),
        channels_last=channels_last,
        output_size=output_size,
        fixed=fixed,
        precision=precision,
        preferred_element_type=None if preferred is None else np.dtype(preferred),
        dtype=None if dtype is None else np.dtype(dtype),
    )
    return PortedLayer(w, b, config)
