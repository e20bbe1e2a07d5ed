"""Extends a periodic input, and trims what only cropped outputs use, for a lowering.

The output is put back to its size behind it. After trimming, no lowering and no
transpose of one pads a convolution by a negative amount, where XLA:CPU before jaxlib
0.12 reads out of bounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax

from jconvt._call.call import Call, Sizes
from jconvt._call.problem import Map
from jconvt._lowerings.axes import pad_axis, space_out, wrap_axis


@dataclass(frozen=True, slots=True)
class Frame:
    """Converts the arrays of a call into those of ``call.inner``, and back."""

    call: Call

    def inner_shapes(self, shapes: Mapping[Map, Sizes]) -> dict[Map, Sizes]:
        """The shapes of the inner call's arrays."""
        call, x_shape = self.call, list(shapes[Map.INPUT])
        size = call.inner_size(shapes[Map.INPUT])
        for axis, n in zip(call.layout.input[2:], size, strict=True):
            x_shape[axis] = n
        x, w = tuple(x_shape), shapes[Map.WEIGHT]
        y = call.inner.output_shape(x, w)
        return {Map.INPUT: x, Map.WEIGHT: w, Map.OUTPUT: y}

    def enter(self, x: jax.Array) -> jax.Array:
        """The input of the inner call."""
        axes, trims = self.call.layout.input[2:], self.call.trims
        for axis, (before, after) in zip(axes, self.call.wrap, strict=True):
            x = wrap_axis(x, axis, before, after)
        for axis, trim in zip(axes, trims, strict=True):
            x = pad_axis(x, axis, -trim.drop[0], -trim.drop[1])
        return x

    def leave(self, y: jax.Array) -> jax.Array:
        """The output, from that of the inner call."""
        axes = zip(self.call.layout.output[2:], self.call.trims, strict=True)
        return space_out(y, {axis: (*trim.pad, trim.apart) for axis, trim in axes})

    def take(self, which: Map, a: jax.Array, inside: Sizes) -> jax.Array:
        """An operand of the inner call, of shape `inside`, from that of the call."""
        if which == Map.INPUT:
            return self.enter(a)
        if which == Map.OUTPUT and a.shape != inside:
            y = jax.ShapeDtypeStruct(inside, a.dtype)
            return jax.linear_transpose(self.leave, y)(a)[0]
        return a

    def give(self, which: Map, a: jax.Array, shape: Sizes) -> jax.Array:
        """The result, of `shape`, from that of the inner call."""
        if which == Map.OUTPUT:
            return self.leave(a)
        if which == Map.INPUT and a.shape != shape:
            x = jax.ShapeDtypeStruct(shape, a.dtype)
            return jax.linear_transpose(self.enter, x)(a)[0]
        return a
