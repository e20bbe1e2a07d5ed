"""All of a ported layer but its parameters: integers and names, hashable."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jconvt._call.numerics import Precision
from jconvt._call.options import Options, Pairs
from jconvt._call.padding import onnx_output_shape

_SPACE = {0: "", 1: "W", 2: "HW", 3: "DHW"}


def dimension_numbers(rank: int, channels_last: bool) -> tuple[str, str, str]:
    """Those of a ported layer: the weight is (C_in, C_out/groups, *K) in either."""
    space = _SPACE.get(rank, "".join(map(chr, range(ord("a"), ord("a") + rank))))
    data = f"N{space}C" if channels_last else f"NC{space}"
    return data, f"IO{space}", data


@dataclass(frozen=True, slots=True)
class FixedSize:
    """ONNX's `output_shape`: a size, and a crop that depends on the input's."""

    size: tuple[int, ...]
    lower: bool

    def padding(
        self, options: Options, kernel_size: tuple[int, ...], input_size: Any
    ) -> Pairs:
        """The crop of an input of that spatial size."""
        axes = zip(
            input_size,
            kernel_size,
            options.stride,
            options.dilation,
            options.output_padding,
            self.size,
            strict=True,
        )
        crops = (
            onnx_output_shape(n, d * (k - 1) + 1, s, a, m, lower=self.lower)
            for n, k, s, d, a, m in axes
        )
        return tuple((crop.low, crop.high) for crop in crops)


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """All of a ported layer but its parameters: hashable, no array in it.

    Attributes:
      options: stride, padding and all else that is settled without shapes.
      channels_last: whether the source's data is.
      output_size: the only output size that the source has, if so.
      fixed: the same where the crop depends on the input's size.
      precision: as in lax.
      preferred_element_type: dtype of the result; None: that of the computation.
      dtype: what input and parameters are cast to; None: what they promote to.
    """

    options: Options
    channels_last: bool
    output_size: tuple[int, ...] | None = None
    fixed: FixedSize | None = None
    precision: Precision = None
    preferred_element_type: np.dtype[Any] | None = None
    dtype: np.dtype[Any] | None = None
