"""What one call of the bilinear map is, statically."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from jconvt._call.geometry import Geometry, Size
from jconvt._call.layout import Layout
from jconvt._call.numerics import Numerics
from jconvt._call.recipe import Recipe

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

    @property
    def for_input_gradient(self) -> Self:
        """The same, but not in 16 bits if parts of the gradient are added up after it.

        The ends that continued a periodic input are, and are rounded with their sum.
        """
        if not any(map(any, self.wrap)):
            return self
        return replace(self, numerics=self.numerics.summed())

    def output_shape(self, input_shape: Shape, weight_shape: Shape) -> Shape:
        """The shape of the output for a batched input."""
        recipe = Recipe(
            geometry=self.geometry, wrap=self.wrap, layout=self.layout, batched=True
        )
        return recipe.output_shape(input_shape, weight_shape)
