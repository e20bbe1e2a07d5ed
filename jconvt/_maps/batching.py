"""Many convolutions as one: where a batch axis goes.

A mapped axis appears in two of the three arrays of the form ``<y, f(x, w)>``, or in
all. In input and output it is more batch; in input and weight more input channels,
which are summed over as it is; in weight and output more output channels; in all three
(a kernel for each example) more groups.
"""

from enum import StrEnum

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.call import Shape
from jconvt._call.layout import Layout
from jconvt._lowerings.axes import merge_axes


class Role(StrEnum):
    """One of the three arrays of a transposed convolution."""

    INPUT = "input"
    WEIGHT = "weight"
    OUTPUT = "output"


def fold(
    a: jax.Array,
    mapped: int,
    role: Role,
    roles: frozenset[Role],
    layout: Layout,
    groups: int,
) -> jax.Array:
    """`a` with its axis `mapped` inside another one.

    `role` is which array it is, and `roles` are those that have such an axis.
    """
    axis, outer = _place(role, roles, layout, groups)
    a = jnp.moveaxis(a, mapped, axis)
    if outer > 1:
        count, channels = a.shape[axis : axis + 2]
        shape = (count, outer, channels // outer)
        a = lax.reshape(a, (*a.shape[:axis], *shape, *a.shape[axis + 2 :]))
        a = merge_axes(jnp.swapaxes(a, axis, axis + 1), axis)
    return merge_axes(a, axis)


def unfold(
    a: jax.Array,
    count: int,
    size: Shape,
    role: Role,
    roles: frozenset[Role],
    layout: Layout,
    groups: int,
) -> tuple[jax.Array, int]:
    """The inverse of `fold`: `a`, and which of its axes is the mapped one.

    `size` is the shape without that axis, whose length `count` may be 0.
    """
    axis, outer = _place(role, roles, layout, groups)
    shape = (outer, count, size[axis] // outer)
    if outer == 1:
        shape = shape[1:]
    a = lax.reshape(a, (*a.shape[:axis], *shape, *a.shape[axis + 1 :]))
    if outer > 1:
        a = merge_axes(jnp.swapaxes(a, axis, axis + 1), axis + 1)
    return a, axis


def groups_of(roles: frozenset[Role], groups: int, count: int) -> int:
    """The groups of the convolution that holds `count` convolutions."""
    return groups * count if len(roles) == len(Role) else groups


def _place(
    role: Role, roles: frozenset[Role], layout: Layout, groups: int
) -> tuple[int, int]:
    """The axis that takes the mapped one, and how many parts of it stand outside."""
    axes = {Role.INPUT: layout.input, Role.WEIGHT: layout.weight}
    letter, grouped = _PLACES[roles][role]
    return axes.get(role, layout.output)[letter], groups if grouped else 1


# Arrays with the mapped axis -> array -> which of its axes takes it, counted as
# (N, C) and (I, O), and whether the mapped axis stands inside the groups there. (A
# weight's O is that of one group, and new groups stand outside of the old ones.)
_PLACES: dict[frozenset[Role], dict[Role, tuple[int, bool]]] = {
    frozenset({Role.INPUT, Role.OUTPUT}): {
        Role.INPUT: (0, False),
        Role.OUTPUT: (0, False),
    },
    frozenset({Role.INPUT, Role.WEIGHT}): {
        Role.INPUT: (1, True),
        Role.WEIGHT: (0, True),
    },
    frozenset({Role.WEIGHT, Role.OUTPUT}): {
        Role.WEIGHT: (1, False),
        Role.OUTPUT: (1, True),
    },
    frozenset(Role): {
        Role.INPUT: (1, False),
        Role.WEIGHT: (0, False),
        Role.OUTPUT: (1, False),
    },
}
