"""`Problem`: the sizes of one transposed convolution, as integers. Imports no JAX.

Of a call, the choice between lowerings depends on nothing else.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from jconvt._call.geometry import Axis, Geometry


class Map(StrEnum):
    """One of the three maps of a layer, named after the array that it makes.

    Each makes one of the arrays output, input and weight out of the other two (of the
    input and the weight: their gradients). So a `Map` also names an array, in
    dictionaries of operands and shapes.
    """

    OUTPUT = "forward"
    INPUT = "input gradient"
    WEIGHT = "weight gradient"

    @property
    def operands(self) -> "tuple[Map, Map]":
        """The arrays out of which a map makes its own, in the order of its equation."""
        one, other = (m for m in (Map.INPUT, Map.WEIGHT, Map.OUTPUT) if m != self)
        return one, other


@dataclass(frozen=True, slots=True)
class Problem:
    """A geometry with its sizes.

    Attributes:
      geometry: trimmed (`Geometry.trim`).
      batch: number of images.
      in_channels: channels of the input.
      out_channels: channels of the output.
      size: input elements per spatial axis.
      dtype: dtype of input and weight.
      features_first: whether the caller's channels stand before space.
      static: whether the spatial sizes are ints; if not, `size` holds stand-ins.
      static_batch: whether the batch is an int; if not, `batch` is a stand-in.
    """

    geometry: Geometry
    batch: int
    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    dtype: np.dtype[Any]
    features_first: bool
    static: bool = True
    static_batch: bool = True

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def inputs(self) -> int:
        """Elements of the input."""
        return self.batch * self.in_channels * math.prod(self.size)

    @property
    def outputs(self) -> int:
        """Elements of the output."""
        space = math.prod(self.geometry.output_size(self.size))
        return self.batch * self.out_channels * space

    @property
    def weights(self) -> int:
        """Elements of the weight."""
        taps = math.prod(self.geometry.kernel_size)
        return self.in_channels * self.out_channels // self.geometry.groups * taps

    @property
    def useful(self) -> int:
        """Products of an input element and a tap that are not cropped."""
        channels = self.in_channels * self.out_channels // self.geometry.groups
        pairs = zip(self.geometry.axes, self.size, strict=True)
        return self.batch * channels * math.prod(useful_pairs(a, n) for a, n in pairs)


def useful_pairs(axis: Axis, n: int) -> int:
    """Pairs of an input element and a tap of one axis that are not cropped."""
    out, s = axis.output_size(n), axis.stride
    total = 0
    for tap in range(axis.kernel_size):
        # 0 <= s*i + offset < out for 0 <= i < n
        offset = tap * axis.dilation - axis.low
        first = max(0, -(offset // s))
        last = min(n - 1, (out - 1 - offset) // s)
        total += max(0, last - first + 1)
    return total
