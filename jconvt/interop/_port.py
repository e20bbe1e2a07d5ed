"""What a converter has read -> `PortedLayer`, checked."""

from dataclasses import replace
from typing import Unpack

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import check_channels, spatial_rank
from jconvt._call.layout import dimension_numbers
from jconvt._call.numerics import Precision, check_array
from jconvt._call.options import GeometryOptions, normalize_options
from jconvt.interop._config import FixedSize, PortedConfig
from jconvt.interop._ported import PortedLayer


def port(
    function: str,
    weight: ArrayLike,
    bias: ArrayLike | None,
    *,
    channels_last: bool = False,
    symmetric_padding: bool = False,
    output_size: tuple[int, ...] | None = None,
    fixed: FixedSize | None = None,
    precision: Precision = None,
    preferred_element_type: DTypeLike | None = None,
    dtype: DTypeLike | None = None,
    **geometry: Unpack[GeometryOptions],
) -> PortedLayer:
    """Check what a converter has read, and make the layer.

    Messages begin with `function`. `weight` is (C_in, C_out/groups, *K) already;
    `symmetric_padding`: accept only PyTorch's padding.
    """
    w = jnp.asarray(check_array(function, "weight", weight))
    rank = spatial_rank(function, w.shape)
    geometry = {**geometry, "dimension_numbers": dimension_numbers(rank, channels_last)}
    options = normalize_options(
        function, rank, symmetric_padding=symmetric_padding, **geometry
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
