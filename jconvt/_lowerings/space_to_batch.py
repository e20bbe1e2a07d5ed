"""`lhs_dilation` over strips of the image that are moved into the batch.

A TPU's convolution has channels in the lanes of its registers and images in the
sublanes, of which there are eight: one image fills an eighth of them. Here the outputs
of the first spatial axis are cut into strips. Each strip is a convolution of the input
elements that it needs, and all strips are one batch. Neighbouring strips read some
elements twice; no output is computed twice. With eight or more images there is nothing
to cut, and it is `lhs_dilation`.

XLA does the same by itself for convolutions without a dilated input ("space to batch").
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
from jax import lax

from jconvt._call.call import Call
from jconvt._call.geometry import Geometry, Size
from jconvt._call.layout import Layout
from jconvt._call.problem import Map, Problem
from jconvt._lowerings import lhs_dilation
from jconvt._lowerings.axes import merge_axes, move_axis, pad_axis, permute, split_axis
from jconvt._lowerings.row import Lowering, never, serves_all
from jconvt._lowerings.work import Variant, Work

SUBLANES = 8
"""Images that a TPU's convolution computes at once."""


class Strips(NamedTuple):
    """How an axis is cut into `number` strips.

    Strip j holds ``blocks*stride`` outputs, beginning with ``j*blocks*stride``, and
    reads `window` input elements, beginning with ``j*blocks + start``.
    """

    number: int
    blocks: int
    start: int
    window: int


def strips_of(geometry: Geometry, size: Sequence[int], batch: Size) -> Strips | None:
    """As many strips as fill the sublanes, or None where that would be only one.

    No strip is smaller than the kernel: XLA would exchange the two (SwapConvOperands),
    which takes several times the cycles.
    """
    if not geometry.rank or not isinstance(batch, int):
        return None
    axis, n = geometry.axes[0], size[0]
    taps, rest = math.prod(geometry.kernel_size), math.prod(size[1:])
    blocks_in_all = -(-axis.output_size(n) // axis.stride)
    # Output o is reached by elements i with o + low - (extent - 1) <= s*i <= o + low.
    start = -((axis.extent - 1 - axis.low) // axis.stride)
    for wanted in range(SUBLANES // batch, 1, -1):
        blocks = -(-blocks_in_all // wanted)
        number = -(-blocks_in_all // blocks)
        last = (blocks * axis.stride - 1 + axis.low) // axis.stride
        window = last - start + 1
        if number > 1 and window * rest >= taps:
            return Strips(number, blocks, start, window)
    return None


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """The input into strips, one `lhs_dilation`, and the strips into one output."""
    layout, rank = call.layout, call.geometry.rank
    several = x.shape[layout.input[0]] != 1
    if several and call.geometry.groups == 1 and rank > 1:
        # With several images the strips join the batch without a transpose only if
        # batch and space are neighbours, as with channels last. One image needs none in
        # any layout; in 1-d and with groups, XLA estimates channels last as slower.
        last = replace(Layout.channels_last(rank), weight=layout.weight)
        x = permute(x, layout.input_channels_last)
        y = _lower(x, w, replace(call, layout=last), variant, which)
        return permute(y, layout.output_from_channels_last)
    return _lower(x, w, call, variant, which)


def _lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    size = layout.spatial(x.shape, batched=True)
    strips = strips_of(geometry, size, x.shape[layout.input[0]])
    if strips is None:
        return lhs_dilation.lower(x, w, call, variant, which)
    if which == Map.INPUT:
        # The transpose adds the gradients of elements that two strips read: in float32.
        x = x.astype(numerics.accumulation)
    axis = geometry.axes[0]
    low = axis.low - axis.stride * strips.start
    full = (strips.window - 1) * axis.stride + axis.extent
    high = full - low - strips.blocks * axis.stride
    inner = replace(geometry, crop=((low, high), *geometry.crop[1:]))
    x = _into_strips(x, strips, layout).astype(w.dtype)
    y = lhs_dilation.lower(x, w, replace(call, geometry=inner), variant, which)
    return _out_of_strips(y, strips, axis.output_size(size[0]), layout)


def _into_strips(x: jax.Array, strips: Strips, layout: Layout) -> jax.Array:
    """(N, n, ...) -> (N*number, window, ...).

    The axis is split at the strips' beginnings first. The part of a strip that lies
    beyond its successor's beginning is then cut from the successors and appended.
    """
    batch, space = layout.input[0], layout.input[2]
    number, blocks, start, window = strips
    more = -(-(window - blocks) // blocks)
    x = pad_axis(x, space, -start, 0)
    x = pad_axis(x, space, 0, (number + more) * blocks - x.shape[space])
    x = split_axis(x, space, (number + more, blocks))
    parts = [
        lax.slice_in_dim(
            lax.slice_in_dim(x, i, i + number, axis=space),
            0,
            min(blocks, window - i * blocks),
            axis=space + 1,
        )
        for i in range(more + 1)
    ]
    x = parts[0] if len(parts) == 1 else lax.concatenate(parts, space + 1)
    return merge_axes(move_axis(x, space, batch + 1), batch)


def _out_of_strips(
    y: jax.Array, strips: Strips, size: int, layout: Layout
) -> jax.Array:
    """(N*number, o, ...) -> (N, size, ...): strips in a row, cut to the output size."""
    batch, space = layout.output[0], layout.output[2]
    images = y.shape[batch] // strips.number
    y = split_axis(y, batch, (images, strips.number))
    y = merge_axes(move_axis(y, batch + 1, space), space)
    return pad_axis(y, space, 0, size - y.shape[space])


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """The counts of `lhs_dilation`, and those of moving the strips."""
    found = lhs_dilation.work(problem, variant, which)
    if strips_of(problem.geometry, problem.size, problem.batch) is None:
        return found
    return replace(found, gathered=problem.inputs, joined=problem.outputs)


LOWERING = Lowering(
    name="space_to_batch",
    summary="shares of space as one batch, one convolution of them dilated",
    lower=lower,
    unsupported=serves_all,
    work=work,
    not_on_cpu=never("it fills a TPU's registers, which a CPU does not have"),
    static_space=True,
)
