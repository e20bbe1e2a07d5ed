"""At stride 1 an input gradient is an output: of the turned kernel.

Per axis, with ``low`` of the output cropped and ``e = d*(k - 1) + 1``::

    y[o]  = sum over t of x[o + low - d*t] * w[t]
    dx[i] = sum over t of dy[i - low + d*t] * w[t]
          = sum over t of dy[i + (e - 1 - low) - d*t] * w[k - 1 - t]

so the cotangent takes the place of the input, the kernel is turned round and its
channels change places, and ``e - 1 - low`` is cropped. With a crop between 0 and
``e - 1`` (`Geometry.trim`) that one is too. Formulations for an output then serve the
gradient as they are, not transposed, and the transposes of some of them are slower:
filters are spread over an input where the output's are collected.
"""

import math
from dataclasses import replace

import jax
from jax import lax

from jconvt._call.call import Plan
from jconvt._call.geometry import Geometry
from jconvt._call.layout import Layout
from jconvt._call.problem import Problem, Slot
from jconvt._lowerings.axes import merge_axes


def as_output(slot: Slot, problem: Problem) -> tuple[Slot, Problem]:
    """The map that is computed for `slot`, where it is chosen by its cost."""
    if not is_turned(slot, problem):
        return slot, problem
    turned = replace(
        problem,
        geometry=turned_geometry(problem.geometry),
        in_channels=problem.out_channels,
        out_channels=problem.in_channels,
        size=problem.geometry.output_size(problem.size),
    )
    return Slot.FORWARD, turned


def is_turned(slot: Slot, problem: Problem) -> bool:
    """Whether the map of a trimmed geometry is computed as an output instead.

    Turning the kernel takes time for each weight, and what it saves grows with the
    products, of which a weight has one at each place at most.
    """
    geometry = problem.geometry
    if slot != Slot.INPUT_GRADIENT or any(s > 1 for s in geometry.stride):
        return False
    out = geometry.output_size(problem.size)
    places = map(min, problem.size, out)
    return problem.batch * math.prod(places) >= _PLACES


_PLACES = 1000
"""Of each weight, from which on turning pays: some 3 ns a weight (`prepared` in
`jconvt._choice.cost`), saving about a third of a GEMM's 0.01 ns a product."""


def turned_geometry(geometry: Geometry) -> Geometry:
    """Of the input gradient, as an output."""
    return replace(geometry, crop=geometry.dilated_pads)


def turned_plan(plan: Plan) -> Plan:
    """The same for a plan without a wrap."""
    given = plan.layout
    weight = Layout.channels_first(plan.geometry.rank).weight
    return replace(
        plan,
        geometry=turned_geometry(plan.geometry),
        layout=Layout(given.output, weight, given.input),
    )


def turned_weight(w: jax.Array, plan: Plan) -> jax.Array:
    """The weight of `turned_plan`, (G*O, I/G, *space)."""
    groups = plan.geometry.groups
    w = plan.layout.weight_channels_first(w)
    w = lax.rev(w, tuple(range(2, w.ndim)))
    w = lax.reshape(w, (groups, w.shape[0] // groups, *w.shape[1:]))
    w = lax.transpose(w, (0, 2, 1, *range(3, w.ndim)))
    return merge_axes(w, 0)
