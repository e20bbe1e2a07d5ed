"""Many convolutions as one larger convolution: the rule for `jax.vmap`.

A mapped axis appears in two of the three arrays of the form ``<y, f(x, w)>``, or in
all three, and is merged into another axis there:

- of input and output: into the batch;
- of input and weight: into the input channels, since both are summed over;
- of weight and output: into the output channels;
- of all three (a kernel for each example): into the groups.
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
    """Merge the mapped axis `axis` of array `which` into one of its other axes.

    `mapped`: the arrays that have a mapped axis.
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

    `size` is the shape without that axis; its length `count` may be 0.
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
    """The axis into which to merge, and how many parts of it are outside the mapped."""
    axes = {Map.INPUT: layout.input, Map.WEIGHT: layout.weight}
    letter, grouped = _PLACES[mapped][which]
    return axes.get(which, layout.output)[letter], groups if grouped else 1


# Arrays with the mapped axis -> array -> the axis into which it is merged, counted as
# (N, C) and (I, O), and whether the mapped axis is inside the groups of that axis. (A
# weight's O is that of one group, and new groups are outside the old ones.)
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
