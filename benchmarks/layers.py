"""The layers that are timed: geometry and sizes of real models, with random arrays."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One transposed convolution layer, in PyTorch's terms."""

    name: str
    batch: int
    in_channels: int
    out_channels: int
    spatial: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int
    dilation: tuple[int, ...]
    source: str

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.spatial)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(N, C_in, *S)."""
        return (self.batch, self.in_channels, *self.spatial)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(C_in, C_out/groups, *K)."""
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    @property
    def extent(self) -> tuple[int, ...]:
        """dilation*(kernel_size - 1) + 1 per axis."""
        pairs = zip(self.kernel_size, self.dilation, strict=True)
        return tuple(d * (k - 1) + 1 for k, d in pairs)

    @property
    def output_spatial(self) -> tuple[int, ...]:
        """The output's spatial size."""
        return tuple(
            (n - 1) * s - 2 * p + e + a
            for n, s, p, e, a in zip(
                self.spatial,
                self.stride,
                self.padding,
                self.extent,
                self.output_padding,
                strict=True,
            )
        )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(N, C_out, *O)."""
        return (self.batch, self.out_channels, *self.output_spatial)

    @property
    def terms(self) -> int:
        """The most products in an element of the output or of the input gradient."""
        channels = max(self.in_channels, self.out_channels) // self.groups
        return channels * math.prod(self.kernel_size)

    @property
    def options(self) -> dict[str, Any]:
        """The options of `jconvt.conv_transpose` and of PyTorch's functions."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "groups": self.groups,
            "dilation": self.dilation,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Input, weight, bias and cotangent: normal float32, the same every time."""
        return dict(_arrays(self))


@lru_cache(maxsize=1)  # all contenders of a layer ask, one after the other
def _arrays(layer: Layer) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {
        "input": layer.input_shape,
        "weight": layer.weight_shape,
        "bias": (layer.out_channels,),
        "cotangent": layer.output_shape,
    }
    return {
        name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()
    }


def zoo() -> list[Layer]:
    """The layers of `zoo.json`: of published models, with their sources."""
    rows = json.loads(Path(__file__).with_name("zoo.json").read_text())
    return [from_json(row) for row in rows]


def from_json(row: Mapping[str, Any]) -> Layer:
    """The layer whose fields, with lists in place of tuples, are `row`."""
    return Layer(**{name: _hashable(value) for name, value in row.items()})


def _hashable(value: Any) -> Any:
    """Lists of JSON as tuples."""
    return tuple(value) if isinstance(value, list) else value
