"""A map of a plan as ordinary JAX code: choice, lowering, and what surrounds them."""

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType

from jconvt._call.call import Plan, Shape
from jconvt._call.geometry import Geometry
from jconvt._call.layout import Layout
from jconvt._call.problem import Problem, Slot
from jconvt._call.problem_of import problem_of
from jconvt._choice.choose import PLATFORMS, Formulation, best_variant, choose
from jconvt._choice.pieces import WHOLE, cut_rows
from jconvt._choice.pinned import AUTO
from jconvt._choice.turned import is_turned, turned_plan, turned_weight
from jconvt._lowerings.table import LOWERINGS
from jconvt._maps.batching import Role
from jconvt._maps.frame import Frame
from jconvt._maps.loops import Arrays, Whole, in_batches, in_rows

SLOTS = {
    Role.OUTPUT: Slot.FORWARD,
    Role.INPUT: Slot.INPUT_GRADIENT,
    Role.WEIGHT: Slot.WEIGHT_GRADIENT,
}
"""The map that makes an array."""


def formulate(slot: Slot, x: jax.Array, w: jax.Array, plan: Plan) -> jax.Array:
    """The output, in the formulation of a slot, on any platform.

    ``y = f(x, w)`` for each slot; its transpose in x or w is what a slot is chosen for.
    """
    result = plan.numerics.result
    shape = plan.output_shape(x.shape, w.shape)
    if _has_zero((*x.shape, *w.shape, *shape)):
        return jnp.zeros(shape, result)
    if slot == Slot.INPUT_GRADIENT:
        plan = plan.for_input_gradient
        x, w = x.astype(plan.numerics.result), w.astype(plan.numerics.result)
    frame = Frame(plan)
    x = frame.enter(x)
    if _has_zero(x.shape):
        return jnp.zeros(shape, result)
    problem = _problem(x.shape, w.shape, frame.inner)
    static = plan.layout.is_static(x.shape, batched=True)
    y = frame.leave(_anywhere(slot, x, w, frame.inner, problem, static))
    return y.astype(result)


def make(
    made: Role,
    operands: Arrays,
    plan: Plan,
    shape: Shape,
    platform: str | None = None,
    formulation: Formulation | None = None,
    devices: int = 1,
) -> jax.Array:
    """One of the three arrays, of `shape`, out of the other two.

    `platform` None: for all of them. `formulation` None: the choice's. `devices`: among
    how many JAX may divide the program.
    """
    if made == Role.INPUT:
        plan = plan.for_input_gradient
    forward, wide = made == Role.OUTPUT, plan.numerics.result
    dtype = wide if forward else plan.operand
    shapes = {role: a.shape for role, a in operands.items()} | {made: shape}
    if any(map(_has_zero, shapes.values())):
        return jnp.zeros(shape, dtype)
    if not forward:
        # A wider `preferred_element_type` is the cotangent's dtype too, and the
        # transpose of a convolution wants one dtype (before jax 0.10 it refuses
        # others).
        operands = {role: a.astype(wide) for role, a in operands.items()}
    frame = Frame(plan)
    inside = {
        Role.INPUT: frame.entered(shapes[Role.INPUT]),
        Role.WEIGHT: shapes[Role.WEIGHT],
    }
    if _has_zero(inside[Role.INPUT]):
        return jnp.zeros(shape, dtype)
    inside[Role.OUTPUT] = frame.inner.output_shape(
        inside[Role.INPUT], inside[Role.WEIGHT]
    )
    entered = {role: frame.take(role, a, inside) for role, a in operands.items()}
    if platform == "cpu" and _is_turned(made, inside, frame.inner, devices):
        swapped = {
            Role.INPUT: entered[Role.OUTPUT],
            Role.WEIGHT: turned_weight(entered[Role.WEIGHT], frame.inner),
        }
        turned, to = turned_plan(frame.inner), inside[made]
        result = make(Role.OUTPUT, swapped, turned, to, platform, formulation, devices)
        return frame.give(made, result, shape).astype(dtype)
    if formulation is None and platform is not None and plan.lowering == AUTO:
        formulation = _chosen(made, inside, frame.inner, platform, devices)
    result = _inside(made, entered, frame.inner, inside, platform, formulation)
    return frame.give(made, result, shape).astype(dtype)


def _is_turned(made: Role, shapes: dict[Role, Shape], plan: Plan, devices: int) -> bool:
    """Whether `choose` has chosen for `as_output`."""
    static = plan.layout.is_static(shapes[Role.INPUT], batched=True)
    problem = _share(shapes, plan, devices)
    return static and plan.lowering == AUTO and is_turned(SLOTS[made], problem)


def _chosen(
    made: Role, shapes: dict[Role, Shape], plan: Plan, platform: str, devices: int
) -> Formulation:
    """What one of the devices would use by itself for its share of the batch."""
    x_shape, layout = shapes[Role.INPUT], plan.layout
    return choose(
        SLOTS[made],
        platform,
        _share(shapes, plan, devices),
        plan.operand,
        static=layout.is_static(x_shape, batched=True),
        whole=not isinstance(x_shape[layout.input[0]], int),
        local=devices == 1,
    )


def _share(shapes: dict[Role, Shape], plan: Plan, devices: int) -> Problem:
    """What one of the devices has to do.

    How arrays are sharded is not known when a program is lowered. What can be known is
    that a batch divided evenly among the devices, or some of them, stays in its place
    if the pieces that it is cut into divide each device's share: the loop over them
    then takes as many images from every device.
    """
    x_shape = shapes[Role.INPUT]
    problem = _problem(x_shape, shapes[Role.WEIGHT], plan)
    symbolic = not isinstance(x_shape[plan.layout.input[0]], int)
    share = 1 if symbolic else math.gcd(problem.batch, devices)
    return replace(problem, batch=problem.batch // share)


def _inside(
    made: Role,
    operands: Arrays,
    plan: Plan,
    shapes: dict[Role, Shape],
    platform: str | None,
    formulation: Formulation | None,
) -> jax.Array:
    slot, layout = SLOTS[made], plan.layout
    problem = _problem(shapes[Role.INPUT], shapes[Role.WEIGHT], plan)
    static = layout.is_static(shapes[Role.INPUT], batched=True)
    if formulation is not None and platform is not None and formulation.pieces != WHOLE:
        return _in_pieces(made, operands, plan, shapes[made], formulation, platform)

    def output(x: jax.Array, w: jax.Array) -> jax.Array:
        if formulation is None or platform is None:
            return _anywhere(slot, x, w, plan, problem, static)
        return _branch(formulation, slot, plan, platform)(x, w)

    if made == Role.OUTPUT:
        return output(operands[Role.INPUT], operands[Role.WEIGHT])
    unknown = jax.ShapeDtypeStruct(shapes[made], plan.numerics.result)
    cotangent = operands[Role.OUTPUT]
    if made == Role.INPUT:
        w = operands[Role.WEIGHT]
        return jax.linear_transpose(lambda x: output(x, w), unknown)(cotangent)[0]
    x = operands[Role.INPUT]
    return jax.linear_transpose(lambda w: output(x, w), unknown)(cotangent)[0]


def _in_pieces(
    made: Role,
    operands: Arrays,
    plan: Plan,
    shape: Shape,
    formulation: Formulation,
    platform: str,
) -> jax.Array:
    pieces, layout = formulation.pieces, plan.layout
    uncut = formulation._replace(pieces=WHOLE)

    def whole(shape: Shape, geometry: Geometry) -> Whole:
        numerics = plan.numerics
        return Whole(
            made, shape, numerics.result, numerics.accumulation, geometry, layout
        )

    def piece(operands: Arrays, shape: Shape, geometry: Geometry) -> jax.Array:
        # Weight gradients of pieces are summed before they are rounded.
        numerics = plan.numerics.summed() if made == Role.WEIGHT else plan.numerics
        inner = replace(
            plan, geometry=geometry, operand=numerics.result, numerics=numerics
        )
        return make(made, operands, inner, shape, platform, uncut)

    def image(operands: Arrays, shape: Shape, geometry: Geometry) -> jax.Array:
        if not pieces.blocks:
            return piece(operands, shape, geometry)
        inputs = shape if made == Role.INPUT else operands[Role.INPUT].shape
        n = inputs[layout.input[2]]
        rows = cut_rows(geometry, n, pieces.blocks, SLOTS[made])
        return in_rows(whole(shape, geometry), operands, rows, piece)

    if pieces.batch == 1:
        return image(operands, shape, plan.geometry)
    return in_batches(whole(shape, plan.geometry), operands, pieces.batch, image)


def _problem(x_shape: Shape, w_shape: Shape, plan: Plan) -> Problem:
    layout = plan.layout
    size = layout.spatial(x_shape, batched=True)
    batch = x_shape[layout.input[0]]
    return problem_of(batch, size, w_shape, plan.geometry, layout, plan.operand)


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
        name, variant, _ = self.formulation
        given, geometry = self.plan.layout, self.plan.geometry
        if self.layout != given:
            x, w = given.input_channels_last(x), given.weight_channels_first(w)
        y = LOWERINGS[name].lower(
            x, w, geometry, self.layout, self.plan.numerics, variant, self.slot
        )
        return y if self.layout == given else given.output_from_channels_last(y)


def _anywhere(
    slot: Slot, x: jax.Array, w: jax.Array, plan: Plan, problem: Problem, static: bool
) -> jax.Array:
    """On whatever platform the program is lowered for."""
    if plan.lowering != AUTO:
        formulation = best_variant(slot, plan.lowering, problem)
        return _Branch(formulation, slot, plan, plan.layout)(x, w)
    # Inside shard_map arrays are one device's own.
    meshes = [jax.typeof(a).sharding.mesh for a in (x, w)]
    local = any(set(mesh.axis_types) == {AxisType.Manual} for mesh in meshes)
    branches = {
        platform: _branch(
            choose(
                slot,
                platform,
                problem,
                plan.operand,
                static,
                whole=True,
                local=local,
                turned=False,
            ),
            slot,
            plan,
            platform,
        )
        for platform in PLATFORMS
    }
    default = branches["cuda"]
    others = {platform: b for platform, b in branches.items() if b != default}
    if not others:
        return default(x, w)
    return lax.platform_dependent(x, w, default=default, **others)


def _branch(formulation: Formulation, slot: Slot, plan: Plan, platform: str) -> _Branch:
    # XLA:CPU's convolutions are fast in channels-last alone inside scan and while
    # bodies.
    last = platform == "cpu" and not LOWERINGS[formulation.lowering].own_layout
    layout = Layout.channels_last(plan.geometry.rank) if last else plan.layout
    return _Branch(formulation, slot, plan, layout)
