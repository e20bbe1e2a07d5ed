"""The bilinear map with its derivatives: three slots, each with its own formulation.

The map ``f(x, w)`` is linear in each operand, so its derivative in the direction
(dx, dw) is ``f(dx, w) + f(x, dw)``. `jax.custom_jvp` lets these two terms be *other
formulations of the same f*: forward mode runs them as they are, and reverse mode
transposes the first in dx, which makes the input gradient, and the second in dw, which
makes the weight gradient. Each is chosen for the sake of that transpose; none of them
runs forward in reverse mode. (`jax.custom_vjp` would give up forward mode.) The terms
are plain JAX code, so every higher derivative follows.
"""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jconvt._choice import AUTO, PLATFORMS, Formulation, best_variant, choose
from jconvt._geometry import Geometry
from jconvt._layout import Layout, pad_axis, wrap_axis
from jconvt._lowerings import LOWERINGS
from jconvt._lowerings._problem import Slot
from jconvt._numerics import Numerics
from jconvt._problem_of import problem_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All static facts of one call of `bilinear`."""

    geometry: Geometry
    wrap: tuple[tuple[int, int], ...]
    layout: Layout
    numerics: Numerics
    lowering: str


def bilinear(x: jax.Array, w: jax.Array, plan: Plan) -> jax.Array:
    """The transposed convolution of batched `x` with `w`, without bias.

    Both of one dtype; no size and no output size is zero.
    """
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        # JAX makes a complex convolution of real ones, whose operands are sums of real
        # and imaginary parts: in the operands' dtype, whatever the result's.
        x, w = x.astype(plan.numerics.result), w.astype(plan.numerics.result)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return _formulate(Slot.FORWARD, x, w, plan)
    return _differentiable(x, w, plan)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _differentiable(x: jax.Array, w: jax.Array, plan: Plan) -> jax.Array:
    return _formulate(Slot.FORWARD, x, w, plan)


@partial(_differentiable.defjvp, symbolic_zeros=True)
def _jvp(
    plan: Plan,
    primals: tuple[jax.Array, jax.Array],
    tangents: tuple[jax.Array | SymbolicZero, jax.Array | SymbolicZero],
) -> tuple[jax.Array, jax.Array]:
    (x, w), (dx, dw) = primals, tangents
    y = _differentiable(x, w, plan)
    terms: list[jax.Array] = []
    if not isinstance(dx, SymbolicZero):
        terms.append(_term(Slot.INPUT_GRADIENT, dx, w, plan))
    if not isinstance(dw, SymbolicZero):
        terms.append(_term(Slot.WEIGHT_GRADIENT, x, dw, plan))
    return y, sum(terms[1:], start=terms[0]) if terms else jnp.zeros_like(y)


def _term(slot: Slot, x: jax.Array, w: jax.Array, plan: Plan) -> jax.Array:
    """A term of the derivative that leaves x and w alone as residuals.

    Reverse mode would otherwise prepare the known operand (flipped, transposed, padded)
    in the forward pass and keep that. `jax.checkpoint` puts the preparation into the
    backward pass; no barrier is needed, since nothing else computes the same.
    """
    formulate = partial(_formulate, slot, plan=plan)
    # A wider `preferred_element_type` is the cotangent's dtype too, and the transpose
    # of a convolution wants one dtype (before jax 0.10 it refuses others).
    x, w = x.astype(plan.numerics.result), w.astype(plan.numerics.result)
    return jax.checkpoint(formulate, prevent_cse=False)(x, w)


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


def _formulate(slot: Slot, x: jax.Array, w: jax.Array, plan: Plan) -> jax.Array:
    """Continue and trim the input, run a lowering, append to the output.

    After trimming, no lowering and no transpose of one pads a convolution by less than
    nothing, where XLA:CPU before jaxlib 0.12 reads out of bounds.
    """
    layout = plan.layout
    for axis, (before, after) in zip(layout.input[2:], plan.wrap, strict=True):
        x = wrap_axis(x, axis, before, after)
    size = plan.geometry.output_size(layout.spatial(x.shape, batched=True))
    geometry, trims = plan.geometry.trim()
    for axis, trim in zip(layout.input[2:], trims, strict=True):
        x = pad_axis(x, axis, -trim.drop[0], -trim.drop[1])
    if 0 in x.shape:
        channels = w.shape[layout.weight[1]] * geometry.groups
        shape = layout.output_shape(x.shape[layout.input[0]], channels, size)
        return jnp.zeros(shape, plan.numerics.result)
    y = _lower(slot, x, w, replace(plan, geometry=geometry))
    for axis, trim in zip(layout.output[2:], trims, strict=True):
        y = pad_axis(y, axis, *trim.pad)
    return y


def _lower(slot: Slot, x: jax.Array, w: jax.Array, plan: Plan) -> jax.Array:
    layout, geometry = plan.layout, plan.geometry
    size = layout.spatial(x.shape, batched=True)
    problem = problem_of(
        x.shape[layout.input[0]], size, w.shape, geometry, layout, x.dtype
    )
    if plan.lowering != AUTO:
        formulation = best_variant(slot, plan.lowering, problem)
        return _Branch(formulation, slot, plan, layout)(x, w)
    static = layout.is_static(x.shape, batched=True)
    branches = {
        platform: _branch(
            choose(slot, platform, problem, x.dtype, static), slot, plan, platform
        )
        for platform in PLATFORMS
    }
    default = branches["cuda"]
    others = {p: branch for p, branch in branches.items() if branch != default}
    if not others:
        return default(x, w)
    return lax.platform_dependent(x, w, default=default, **others)


def _branch(formulation: Formulation, slot: Slot, plan: Plan, platform: str) -> _Branch:
    # XLA:CPU's convolutions are fast in channels-last alone inside scan and while
    # bodies.
    last = platform == "cpu" and not LOWERINGS[formulation.lowering].own_layout
    layout = Layout.channels_last(plan.geometry.rank) if last else plan.layout
    return _Branch(formulation, slot, plan, layout)
