"""The signature of a lowering, and the moves that several of them share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.call import Call
from jconvt._call.geometry import Geometry, Size
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import merge_axes
from jconvt._lowerings.work import PLAIN, Variant, Work

Lower = Callable[[jax.Array, jax.Array, Call, Variant, Map], jax.Array]
"""(input, weight, call, variant, which) -> output.

Bilinear in input and weight, which have one dtype; the output has the dtype
``call.numerics.result``. No size is zero, and the output size is positive. `which` says
what is wanted: the output itself, or the transpose of this function in the input or in
the weight, which a lowering may prepare for.
"""


def _only_one(problem: Problem) -> tuple[Variant, ...]:
    del problem
    return (PLAIN,)


@dataclass(frozen=True, slots=True)
class Lowering:
    """One row of the table."""

    name: str
    summary: str
    lower: Lower
    unsupported: Callable[[Geometry], str | None]
    """Why it cannot serve a geometry, or None where it can."""
    work: Callable[[Problem, Variant, Map], Work]
    """What one of the three maps takes."""
    not_on_cpu: Callable[[Map, Problem], str | None]
    """Why a CPU's automatic choice leaves it out for a map; None where estimates
    decide."""
    variants: Callable[[Problem], tuple[Variant, ...]] = _only_one
    """The freedom it leaves."""
    own_layout: bool = False
    """Whether it orders its features by itself, whatever the layout."""
    static_space: bool = False
    """Whether it needs spatial sizes that are ints, not symbolic."""

    def refuses(self, geometry: Geometry, static: bool) -> str | None:
        """Why it cannot serve a geometry with such sizes, or None where it can."""
        if self.static_space and not static:
            return "it needs spatial sizes that are plain ints, not symbolic"
        return self.unsupported(geometry)


MOST_PARTS = 4096
"""No lowering is asked for more convolutions or additions than this in one program."""


def serves_all(geometry: Geometry) -> None:
    """`Lowering.unsupported` of a lowering that serves every geometry."""
    del geometry


def takes_all(which: Map, problem: Problem) -> None:
    """`Lowering.not_on_cpu` of a lowering that a CPU may always take."""
    del which, problem


def grouped_weight(w: jax.Array, groups: int) -> jax.Array:
    """(I, O, *K), O per group -> (I/groups, groups*O, *K): how lax groups features."""
    if groups == 1:
        return w
    in_channels, out_channels, *taps = w.shape
    w = w.reshape(groups, in_channels // groups, out_channels, *taps)
    w = jnp.moveaxis(w, 0, 1)
    return w.reshape(in_channels // groups, groups * out_channels, *taps)


def is_taken_for_groups(
    kernel: Size, dilation: int, stride: int, padding: tuple[Size, Size]
) -> bool:
    """Whether XLA may abort on a convolution with such an axis of a dilated input.

    Unpadded, with ``kernel == dilation == stride + 1``, it is how XLA writes groups as
    space. Where it exchanges input and kernel, if the kernel is larger, it leaves such
    an axis as it is, whatever the size of the input, and fails a check
    (SwapConvOperands in its algebraic simplifier; seen up to jax 0.12). With an output
    more, and padding for it, the axis is another.
    """
    return padding == (0, 0) and kernel == dilation == stride + 1


def drop_last(y: jax.Array, axes: Sequence[int], drop: Sequence[bool]) -> jax.Array:
    """Without the last elements of those axes that are to drop them."""
    for axis, dropped in zip(axes, drop, strict=True):
        if dropped:
            y = lax.slice_in_dim(y, 0, y.shape[axis] - 1, axis=axis)
    return y


def depth_to_space(y: jax.Array, rank: int, first: int = 1) -> jax.Array:
    """(..., *blocks, *offsets, ...) -> (..., *(blocks times offsets), ...).

    `first` is the number of axes in front.
    """
    order = list(range(first))
    for axis in range(first, first + rank):
        order += [axis, axis + rank]
    y = lax.transpose(y, (*order, *range(first + 2 * rank, y.ndim)))
    for axis in range(first, first + rank):
        y = merge_axes(y, axis)
    return y


def crop_space(
    y: jax.Array, crops: Sequence[tuple[Size, Size]], first: int = 1
) -> jax.Array:
    """Remove (low, high) elements of axes `first`, ...; negative ones append zeros."""
    if all(crop == (0, 0) for crop in crops):
        return y
    pads = [(0, 0, 0)] * y.ndim
    for axis, (low, high) in enumerate(crops, start=first):
        pads[axis] = (-low, -high, 0)
    return pad(y, pads)


def pad(y: jax.Array, pads: Sequence[tuple[Size, Size, int]]) -> jax.Array:
    """`lax.pad` with zeros: (low, high, interior) for every axis."""
    return lax.pad(y, jnp.zeros((), y.dtype), pads)
