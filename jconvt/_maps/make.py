"""Computes the output or a gradient in ordinary JAX code, as the choice decides.

`make` asks the choice, `perform` carries a formulation out. A gradient is made by
transposing a lowering in its input or in its weight.
"""

import itertools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.call import Call, Sizes
from jconvt._call.geometry import Geometry
from jconvt._call.layout import Layout
from jconvt._call.lowerings import AUTO, entry_of
from jconvt._call.problem import Map
from jconvt._choice.choose import best_variant, choose, pinned
from jconvt._choice.formulation import Formulation
from jconvt._choice.pieces import LAST_INDEX, WHOLE, cut_rows
from jconvt._choice.turned import turned_geometry
from jconvt._lowerings.axes import merge_axes, pad_axis, permute
from jconvt._lowerings.spare import spare_outputs, with_spare_outputs
from jconvt._lowerings.table import LOWERINGS
from jconvt._maps.frame import Frame
from jconvt._maps.groups import group_by_group
from jconvt._maps.loops import Arrays, in_batches, in_rows
from jconvt._maps.partition import divisible
from jconvt._maps.target import Target


def make(
    made: Map, operands: Arrays, call: Call, shape: Sizes, target: Target
) -> jax.Array:
    """One of the three arrays, of `shape`, out of the other two."""
    shapes = {which: a.shape for which, a in operands.items()} | {made: shape}
    problem = call.problem(shapes[Map.INPUT], shapes[Map.WEIGHT])
    sizes = (*problem.size, problem.outputs, *itertools.chain(*shapes.values()))
    if _has_zero(sizes):
        return jnp.zeros(shape, _dtype(made, call))
    # How arrays are sharded is not known when a program is lowered. What can be known
    # is that a batch divided evenly among the devices, or some of them, stays in its
    # place if the pieces that it is cut into divide each device's share: the loop over
    # them then takes as many images from every device.
    share = math.gcd(problem.batch, target.devices) if problem.static_batch else 1
    problem = replace(problem, batch=problem.batch // share)
    entry = entry_of(call.lowering, made)
    if entry != AUTO:
        formulation = pinned(made, entry, problem)
    else:
        formulation = choose(made, target.platform, problem, local=target.devices == 1)
    x = shapes[Map.INPUT]
    if not call.recovers(x):
        # Its convolutions have stride 1, and so have their transposes.
        formulation = best_variant(made, "phases", problem)
    row = LOWERINGS[divisible(made, formulation, call, x, target)]
    refusal = row.refuses(problem.geometry, problem.static)
    if row.name != formulation.lowering and refusal is None:
        formulation = best_variant(made, row.name, problem)
    return perform(made, operands, call, shape, formulation, target)


def perform(
    made: Map,
    operands: Arrays,
    call: Call,
    shape: Sizes,
    formulation: Formulation,
    target: Target,
) -> jax.Array:
    """As `make`, in a given formulation."""
    dtype = _dtype(made, call)
    if made == Map.INPUT:
        call = call.for_input_gradient
    if made != Map.OUTPUT:
        # A wider `preferred_element_type` is the cotangent's dtype too, and the
        # transpose of a convolution wants one dtype (before jax 0.10 it refuses
        # others).
        wide = call.numerics.result
        operands = {which: a.astype(wide) for which, a in operands.items()}
    shapes = {which: a.shape for which, a in operands.items()} | {made: shape}
    frame = Frame(call)
    inside = frame.inner_shapes(shapes)
    if any(map(_has_zero, (*shapes.values(), inside[Map.INPUT]))):
        return jnp.zeros(shape, dtype)
    entered = {
        which: frame.take(which, a, inside[which]) for which, a in operands.items()
    }
    result = _inside(made, entered, call.inner, inside[made], formulation, target)
    return frame.give(made, result, shape).astype(dtype)


def _dtype(made: Map, call: Call) -> "jnp.dtype[jnp.generic]":
    return call.numerics.result if made == Map.OUTPUT else call.operand


def _has_zero(sizes: Sizes) -> bool:
    return any(isinstance(n, int) and n == 0 for n in sizes)


def _inside(
    made: Map,
    operands: Arrays,
    call: Call,
    shape: Sizes,
    formulation: Formulation,
    target: Target,
) -> jax.Array:
    """As `perform`, of an inner call."""
    if formulation.turned:
        swapped = {
            Map.INPUT: operands[Map.OUTPUT],
            Map.WEIGHT: turned_weight(operands[Map.WEIGHT], call),
        }
        as_output = formulation._replace(turned=False)
        return _inside(Map.OUTPUT, swapped, turned(call), shape, as_output, target)
    if formulation.by_group:
        as_dense = formulation._replace(by_group=False)

        def group(operands: Arrays, call: Call, shape: Sizes) -> jax.Array:
            return _inside(made, operands, call, shape, as_dense, target)

        return group_by_group(made, operands, call, shape, group)
    if formulation.pieces != WHOLE:
        return _in_pieces(made, operands, call, shape, formulation, target)

    def output(x: jax.Array, w: jax.Array) -> jax.Array:
        return _lower(x, w, call, formulation, made, target)

    if made == Map.OUTPUT:
        return output(operands[Map.INPUT], operands[Map.WEIGHT])
    unknown = jax.ShapeDtypeStruct(shape, call.numerics.result)
    cotangent = operands[Map.OUTPUT]
    if made == Map.INPUT:
        w = operands[Map.WEIGHT]
        return jax.linear_transpose(lambda x: output(x, w), unknown)(cotangent)[0]
    x = operands[Map.INPUT]
    return jax.linear_transpose(lambda w: output(x, w), unknown)(cotangent)[0]


def _lower(
    x: jax.Array,
    w: jax.Array,
    call: Call,
    formulation: Formulation,
    made: Map,
    target: Target,
) -> jax.Array:
    """The output, by a lowering, in the layout that is good for it."""
    row, given = LOWERINGS[formulation.lowering], call.layout
    if target.platform != "cpu" or row.own_layout:
        return row.lower(x, w, call, formulation.variant, made)
    # Inside scan and while bodies XLA:CPU's convolutions are fast in channels-last
    # alone.
    last = replace(call, layout=Layout.channels_last(call.geometry.rank))
    x, w = permute(x, given.input_channels_last), permute(w, given.weight)
    axis, more = 0, 0
    if made == Map.OUTPUT and row.name == "lhs_dilation" and target.devices == 1:
        problem = last.problem(x.shape, w.shape)
        axis, more = spare_outputs(problem) if problem.static else (0, 0)
    if more:
        last = replace(last, geometry=with_spare_outputs(last.geometry, axis, more))
    y = row.lower(x, w, last, formulation.variant, made)
    y = pad_axis(y, 1 + axis, 0, -more)
    return permute(y, given.output_from_channels_last)


def _in_pieces(
    made: Map,
    operands: Arrays,
    call: Call,
    shape: Sizes,
    formulation: Formulation,
    target: Target,
) -> jax.Array:
    pieces, layout = formulation.pieces, call.layout
    uncut = formulation._replace(pieces=WHOLE)

    def piece(operands: Arrays, shape: Sizes, geometry: Geometry) -> jax.Array:
        # Weight gradients of pieces are summed before they are rounded.
        numerics = call.numerics.summed() if made == Map.WEIGHT else call.numerics
        inner = replace(
            call, geometry=geometry, operand=numerics.result, numerics=numerics
        )
        return perform(made, operands, inner, shape, uncut, target)

    def inputs(operands: Arrays, shape: Sizes) -> Sizes:
        return shape if made == Map.INPUT else operands[Map.INPUT].shape

    def image(operands: Arrays, shape: Sizes) -> jax.Array:
        if not pieces.blocks:
            return piece(operands, shape, call.geometry)
        n = inputs(operands, shape)[layout.input[2 + pieces.axis]]
        rows = cut_rows(call.geometry, n, pieces.blocks, made, pieces.axis)
        return in_rows(made, operands, call, shape, rows, pieces.axis, piece)

    if pieces.batch == 1:
        return image(operands, shape)
    batch = inputs(operands, shape)[layout.input[0]]
    together = target.devices == 1 and batch <= LAST_INDEX
    return in_batches(
        made, operands, call, shape, pieces.batch, image, together=together
    )


def turned(call: Call) -> Call:
    """The call whose output is the input gradient of an inner call at stride 1."""
    given = call.layout
    weight = Layout.channels_first(call.geometry.rank).weight
    return replace(
        call,
        geometry=turned_geometry(call.geometry),
        layout=Layout(given.output, weight, given.input),
    )


def turned_weight(w: jax.Array, call: Call) -> jax.Array:
    """The weight of ``turned(call)``: (C_out, C_in/groups, *space), reversed taps."""
    groups = call.geometry.groups
    w = permute(w, call.layout.weight_channels_first)
    w = lax.rev(w, tuple(range(2, w.ndim)))
    w = lax.reshape(w, (groups, w.shape[0] // groups, *w.shape[1:]))
    w = lax.transpose(w, (0, 2, 1, *range(3, w.ndim)))
    return merge_axes(w, 0)
