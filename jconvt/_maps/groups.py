"""Computes a map group by group, each as a layer without groups."""

from collections.abc import Callable
from dataclasses import replace

import jax
from jax import lax

from jconvt._call.call import Call, Sizes
from jconvt._call.problem import Map
from jconvt._maps.loops import Arrays


def group_by_group(
    made: Map,
    operands: Arrays,
    call: Call,
    shape: Sizes,
    run: Callable[[Arrays, Call, Sizes], jax.Array],
) -> jax.Array:
    """The array `made`, of `shape`, as the parts that `run` computes, side by side.

    `run` computes the part of a group from its operands, the call without groups and
    the shape of the part. The program has the code of every part instead of a loop over
    them: in a loop XLA:CPU's convolutions were more than twenty times slower.
    """
    groups, layout = call.geometry.groups, call.layout
    # The weight's output channels are those of one group already.
    axes = {
        Map.INPUT: layout.input[1],
        Map.WEIGHT: layout.weight[0],
        Map.OUTPUT: layout.output[1],
    }
    dense = replace(call, geometry=replace(call.geometry, groups=1))
    at = axes[made]
    part = (*shape[:at], shape[at] // groups, *shape[at + 1 :])
    parts = {
        which: lax.split(a, [a.shape[axes[which]] // groups] * groups, axes[which])
        for which, a in operands.items()
    }
    made_parts = [
        run({which: parts[which][i] for which in operands}, dense, part)
        for i in range(groups)
    ]
    return lax.concatenate(made_parts, at)
