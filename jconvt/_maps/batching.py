"""Many convolutions as one: where a batch axis goes.

A mapped axis appears in two of the three arrays of the form ``<y, f(x, w)>``, or in
all. In input and output it is more batch; in input and weight more input channels,
which are summed over as it is; in weight and output more output channels; in all three
(a kernel for each example) more groups.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.call import Sizes
from jconvt._call.layout import Layout
from jconvt._call.problem import Map
from jconvt._lowerings.axes import merge_axes


def fold(
    a: jax.Array,
    axis: int,
    which: Map,
    mapped: frozenset[Map],
    layout: Layout,
    groups: int,
) -> jax.Array:
    """Array `which`, with its mapped axis `axis` merged into one of its other axes.

    `mapped` are the arrays that have such an axis.
    """
    to, outer = place(which, mapped, layout, groups)
    a = jnp.moveaxis(a, axis, to)
    axis = to
    if outer > 1:
        count, channels = a.shape[axis : axis + 2]
        shape = (count, outer, channels // outer)
        a = lax.reshape(a, (*a.shape[:axis], *shape, *a.shape[axis + 2 :]))
        a = merge_axes(jnp.swapaxes(a, axis, axis + 1), axis)
    return merge_axes(a, axis)


def unfold(
    a: jax.Array,
    count: int,
    size: Sizes,
    which: Map,
    mapped: frozenset[Map],
    layout: Layout,
    groups: int,
) -> jax.Array:
    """The inverse of `fold`, with the mapped axis where `place` says.

    `size` is the shape without that axis, whose length `count` may be 0.
    """
    axis, outer = place(which, mapped, layout, groups)
    shape = (outer, count, size[axis] // outer)
    if outer == 1:
        shape = shape[1:]
    a = lax.reshape(a, (*a.shape[:axis], *shape, *a.shape[axis + 1 :]))
    if outer > 1:
        a = merge_axes(jnp.swapaxes(a, axis, axis + 1), axis + 1)
    return a


def groups_of(mapped: frozenset[Map], groups: int, count: int) -> int:
    """The groups of the convolution that holds `count` convolutions."""
    return groups * count if len(mapped) == len(Map) else groups


def place(
    which: Map, mapped: frozenset[Map], layout: Layout, groups: int
) -> tuple[int, int]:
    """The axis that takes the mapped one, and how many parts of it stand outside."""
    axes = {Map.INPUT: layout.input, Map.WEIGHT: layout.weight}
    letter, grouped = _PLACES[mapped][which]
    return axes.get(which, layout.output)[letter], groups if grouped else 1


# Arrays with the mapped axis -> array -> which of its axes takes it, counted as
# (N, C) and (I, O), and whether the mapped axis stands inside the groups there. (A
# weight's O is that of one group, and new groups stand outside of the old ones.)
_PLACES: dict[frozenset[Map], dict[Map, tuple[int, bool]]] = {
    frozenset({Map.INPUT, Map.OUTPUT}): {
        Map.INPUT: (0, False),
        Map.OUTPUT: (0, False),
    },
    frozenset({Map.INPUT, Map.WEIGHT}): {
        Map.INPUT: (1, True),
        Map.WEIGHT: (0, True),
    },
    frozenset({Map.WEIGHT, Map.OUTPUT}): {
        Map.WEIGHT: (1, False),
        Map.OUTPUT: (1, True),
    },
    frozenset(Map): {
        Map.INPUT: (1, False),
        Map.WEIGHT: (0, False),
        Map.OUTPUT: (1, False),
    },
}
