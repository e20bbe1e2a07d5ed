"""What one call of the bilinear map is, statically."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jconvt._geometry import Geometry, Size
from jconvt._layout import Layout
from jconvt._numerics import Numerics

Shape = tuple[Size, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All static facts but the sizes.

    Attributes:
      geometry: of the scatter and the crop.
      wrap: input elements continued periodically (before, after), per axis.
      layout: where batch, channels and space stand.
      operand: dtype of input and weight, and of their gradients.
      numerics: how to compute; its `result` is the dtype of the output.
      lowering: a lowering's name, or "auto".
    """

    geometry: Geometry
    wrap: tuple[tuple[int, int], ...]
    layout: Layout
    operand: np.dtype[Any]
    numerics: Numerics
    lowering: str

    def output_shape(self, input_shape: Shape, weight_shape: Shape) -> Shape:
        """The shape of the output for a batched input."""
        layout = self.layout
        size = tuple(
            n + before + after
            for n, (before, after) in zip(
                layout.spatial(input_shape, batched=True), self.wrap, strict=True
            )
        )
        return layout.output_shape(
            input_shape[layout.input[0]],
            weight_shape[layout.weight[1]] * self.geometry.groups,
            self.geometry.output_size(size),
        )
