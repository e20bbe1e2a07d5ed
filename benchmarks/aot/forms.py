"""How a layer is written: jconvt's choice, each of its lowerings, JAX's own form."""

from dataclasses import dataclass
from functools import partial

import jax
from jax.sharding import Sharding

import jconvt
from benchmarks.aot.maps import Forward
from benchmarks.layers import Layer
from benchmarks.native import native
from jconvt._lowerings.table import LOWERINGS

AUTO, NATIVE = "auto", "native"
FORMS = (AUTO, NATIVE, *LOWERINGS)

LAYOUTS = {"first": "NC{}", "last": "N{}C"}
"""Name -> axes of the images; the weight is PyTorch's in each."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A layer in a layout and dtype.

    Attributes:
      layer: its sizes.
      layout: of input and output, a key of `LAYOUTS`.
      dtype: of all arrays.
      platform: whose lowerings are asked for.
    """

    layer: Layer
    layout: str
    dtype: str
    platform: str

    @property
    def axes(self) -> tuple[str, str, str]:
        """Of input, weight and output, as lax writes them."""
        space = "DHW"[3 - self.layer.rank :]
        image = LAYOUTS[self.layout].format(space)
        return image, f"IO{space}", image

    def arguments(self, place: Sharding) -> list[jax.ShapeDtypeStruct]:
        """Cotangent, input, weight and bias, without values."""
        layer = self.layer
        shapes = [
            self._image(layer.output_shape),
            self._image(layer.input_shape),
            layer.weight_shape,
            (layer.out_channels,),
        ]
        return [jax.ShapeDtypeStruct(s, self.dtype, sharding=place) for s in shapes]

    def forward(self, name: str | jconvt.Lowerings) -> Forward:
        """The layer as `name` of `FORMS`, or with a lowering for each map."""
        if name == NATIVE:
            return partial(native, self.layer, axes=self.axes)
        return partial(
            jconvt.conv_transpose,
            dimension_numbers=self.axes,
            lowering=name,
            **self.layer.options,
        )

    def serving(self) -> set[str]:
        """The forms that there are of this layer."""
        found = self._explained.candidates
        return {AUTO, NATIVE, *(c.lowering for c in found if c.refusal is None)}

    def choices(self) -> dict[str, str]:
        """Map -> the lowering that jconvt chooses for it."""
        found = self._explained
        return {
            "forward": found.forward,
            "input-gradient": found.input_gradient,
            "weight-gradient": found.weight_gradient,
        }

    @property
    def _explained(self) -> jconvt.Explanation:
        return jconvt.explain(
            self._image(self.layer.input_shape),
            self.layer.weight_shape,
            dimension_numbers=self.axes,
            dtype=self.dtype,
            platform=self.platform,
            **self.layer.options,
        )

    def _image(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A channels-first shape in this layout."""
        n, c, *space = shape
        return (n, c, *space) if self.layout == "first" else (n, *space, c)
