"""A map of a plan as ordinary JAX code: choice, lowering, and what surrounds them."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._choice import AUTO, PLATFORMS, Formulation, best_variant, choose
from jconvt._layout import Layout, pad_axis, wrap_axis
from jconvt._lowerings import LOWERINGS
from jconvt._lowerings._problem import Slot
from jconvt._plan import Plan, Shape
from jconvt._problem_of import problem_of


def formulated(
    slot: Slot,
    one: jax.Array,
    other: jax.Array,
    plan: Plan,
    shape: Shape,
    platform: str | None = None,
) -> jax.Array:
    """One of the three maps, whose result has `shape`.

    The output of (input, weight); the gradient of the input from (weight, cotangent);
    or that of the weight from (input, cotangent). The gradients are the transposes of
    `formulate` in what they are the gradients of. `platform` None: for all.
    """
    if slot == Slot.FORWARD:
        return formulate(slot, one, other, plan, platform)
    # A wider `preferred_element_type` is the cotangent's dtype too, and the transpose
    # of a convolution wants one dtype (before jax 0.10 it refuses others).
    wide = plan.numerics.result
    known = one.astype(wide)

    def output(unknown: jax.Array) -> jax.Array:
        x, w = unknown, known
        if slot == Slot.WEIGHT_GRADIENT:
            x, w = known, unknown
        return formulate(slot, x, w, plan, platform)

    transpose = jax.linear_transpose(output, jax.ShapeDtypeStruct(shape, wide))
    return transpose(other.astype(wide))[0].astype(plan.operand)


def formulate(
    slot: Slot, x: jax.Array, w: jax.Array, plan: Plan, platform: str | None = None
) -> jax.Array:
    """The output, in the formulation of a slot: ``y = f(x, w)`` in each of them.

    Continues and trims the input, runs a lowering, appends to the output. After
    trimming, no lowering and no transpose of one pads a convolution by less than
    nothing, where XLA:CPU before jaxlib 0.12 reads out of bounds.
    """
    layout = plan.layout
    shape = plan.output_shape(x.shape, w.shape)
    geometry, trims = plan.geometry.trim()
    if not _has_zero((*x.shape, *w.shape, *shape)):
        for axis, (before, after) in zip(layout.input[2:], plan.wrap, strict=True):
            x = wrap_axis(x, axis, before, after)
        for axis, trim in zip(layout.input[2:], trims, strict=True):
            x = pad_axis(x, axis, -trim.drop[0], -trim.drop[1])
    if _has_zero((*x.shape, *w.shape, *shape)):
        return jnp.zeros(shape, plan.numerics.result)
    y = _lower(slot, x, w, replace(plan, geometry=geometry), platform)
    for axis, trim in zip(layout.output[2:], trims, strict=True):
        y = pad_axis(y, axis, *trim.pad)
    return y


def _has_zero(sizes: Shape) -> bool:
    return any(isinstance(n, int) and n == 0 for n in sizes)


@dataclass(frozen=True)  # without slots: JAX caches traces by weak reference
class _Branch:
    """A formulation ready to run; equal ones are one branch of the program."""

    formulation: Formulation
    slot: Slot
    plan: Plan
    layout: Layout
    """The layout it runs in: the caller's, or channels-last on a CPU."""

    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        name, variant = self.formulation
        given, geometry = self.plan.layout, self.plan.geometry
        if self.layout != given:
            x, w = given.input_channels_last(x), given.weight_channels_first(w)
        forward = self.slot == Slot.FORWARD
        y = LOWERINGS[name].lower(
            x, w, geometry, self.layout, self.plan.numerics, variant, forward
        )
        return y if self.layout == given else given.output_from_channels_last(y)


def _lower(
    slot: Slot, x: jax.Array, w: jax.Array, plan: Plan, platform: str | None
) -> jax.Array:
    layout, geometry = plan.layout, plan.geometry
    size = layout.spatial(x.shape, batched=True)
    problem = problem_of(
        x.shape[layout.input[0]], size, w.shape, geometry, layout, x.dtype
    )
    if plan.lowering != AUTO:
        formulation = best_variant(slot, plan.lowering, problem)
        return _Branch(formulation, slot, plan, layout)(x, w)
    static = layout.is_static(x.shape, batched=True)
    platforms = PLATFORMS if platform is None else (platform,)
    branches = {
        name: _branch(choose(slot, name, problem, x.dtype, static), slot, plan, name)
        for name in platforms
    }
    default = branches[platforms[-1]]
    others = {name: b for name, b in branches.items() if b != default}
    if not others:
        return default(x, w)
    return lax.platform_dependent(x, w, default=default, **others)


def _branch(formulation: Formulation, slot: Slot, plan: Plan, platform: str) -> _Branch:
    # XLA:CPU's convolutions are fast in channels-last alone inside scan and while
    # bodies.
    last = platform == "cpu" and not LOWERINGS[formulation.lowering].own_layout
    layout = Layout.channels_last(plan.geometry.rank) if last else plan.layout
    return _Branch(formulation, slot, plan, layout)
