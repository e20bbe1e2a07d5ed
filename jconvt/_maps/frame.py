"""What surrounds a lowering: a periodic input goes on, what is cropped is trimmed."""

from dataclasses import dataclass, replace

import jax

from jconvt._call.call import Plan, Shape
from jconvt._lowerings.axes import pad_axis, wrap_axis
from jconvt._maps.batching import Role


@dataclass(frozen=True, slots=True)
class Frame:
    """Continue and trim the input, run a lowering, append to the output.

    After trimming, no lowering and no transpose of one pads a convolution by less than
    nothing, where XLA:CPU before jaxlib 0.12 reads out of bounds.
    """

    plan: Plan

    @property
    def inner(self) -> Plan:
        """What a lowering is given."""
        geometry, _ = self.plan.geometry.trim()
        nothing = ((0, 0),) * geometry.rank
        return replace(self.plan, geometry=geometry, wrap=nothing)

    def enter(self, x: jax.Array) -> jax.Array:
        """The input of the inner plan."""
        axes, (_, trims) = self.plan.layout.input[2:], self.plan.geometry.trim()
        for axis, (before, after) in zip(axes, self.plan.wrap, strict=True):
            x = wrap_axis(x, axis, before, after)
        for axis, trim in zip(axes, trims, strict=True):
            x = pad_axis(x, axis, -trim.drop[0], -trim.drop[1])
        return x

    def leave(self, y: jax.Array) -> jax.Array:
        """The output, out of that of the inner plan."""
        _, trims = self.plan.geometry.trim()
        for axis, trim in zip(self.plan.layout.output[2:], trims, strict=True):
            y = pad_axis(y, axis, *trim.pad)
        return y

    def entered(self, shape: Shape) -> Shape:
        """The shape that `enter` gives."""
        x = jax.ShapeDtypeStruct(shape, self.plan.operand)
        return jax.eval_shape(self.enter, x).shape

    def take(self, role: Role, a: jax.Array, inside: dict[Role, Shape]) -> jax.Array:
        """An operand of the inner plan."""
        if role == Role.INPUT:
            return self.enter(a)
        if role == Role.OUTPUT and a.shape != inside[role]:
            y = jax.ShapeDtypeStruct(inside[role], a.dtype)
            return jax.linear_transpose(self.leave, y)(a)[0]
        return a

    def give(self, role: Role, a: jax.Array, shape: Shape) -> jax.Array:
        """The result, out of the inner plan's."""
        if role == Role.OUTPUT:
            return self.leave(a)
        if role == Role.INPUT and a.shape != shape:
            x = jax.ShapeDtypeStruct(shape, a.dtype)
            return jax.linear_transpose(self.enter, x)(a)[0]
        return a
