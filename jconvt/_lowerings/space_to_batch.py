"""The canonical convolution of shares of space, side by side in the batch.

A TPU's convolution has channels in the lanes of its registers and images in the
sublanes, of which there are eight: of one image it fills an eighth. Here the outputs of
the first spatial axis are cut into shares, each is a convolution of the input elements
that it reads, and all shares are one batch. Neighbouring shares read some elements
twice; no output is computed twice.

XLA does so itself where a convolution has no dilated input ("space to batch").
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
from jconvt._lowerings.row import Lowering, serves_all
from jconvt._lowerings.work import Variant, Work

SUBLANES = 8
"""Images that a TPU's convolution works on at once."""


class Shares(NamedTuple):
    """How an axis is cut.

    Share j has outputs from ``j*blocks*stride`` on, ``blocks*stride`` of them, and
    reads `window` elements from ``j*blocks + start`` on.
    """

    number: int
    blocks: int
    start: int
    window: int


def shares_of(geometry: Geometry, size: Sequence[int], batch: Size) -> Shares | None:
    """As many shares as fill the sublanes; None where the batch does, or nearly.

    None of them smaller than the kernel: there XLA would exchange the two
    (SwapConvOperands), for several times the cycles.
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
            return Shares(number, blocks, start, window)
    return None


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """Shares of the input, one `lhs_dilation`, shares of the output in a row."""
    layout, rank = call.layout, call.geometry.rank
    several = x.shape[layout.input[0]] != 1
    if several and call.geometry.groups == 1 and rank > 1:
        # The shares of several images stand beside these as they are if nothing stands
        # between batch and space. One image has its shares in front in any layout; of
        # signals and in groups XLA moves more for it (by its own estimates).
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
    shares = shares_of(geometry, size, x.shape[layout.input[0]])
    if shares is None:
        return lhs_dilation.lower(x, w, call, variant, which)
    if which == Map.INPUT:
        # Neighbouring shares read the same elements, whose gradients the transpose adds
        # up: not in 16 bits.
        x = x.astype(numerics.accumulation)
    axis = geometry.axes[0]
    low = axis.low - axis.stride * shares.start
    full = (shares.window - 1) * axis.stride + axis.extent
    high = full - low - shares.blocks * axis.stride
    y = lhs_dilation.lower(
        _apart(x, shares, layout).astype(w.dtype),
        w,
        replace(
            call, geometry=replace(geometry, crop=((low, high), *geometry.crop[1:]))
        ),
        variant,
        which,
    )
    return _in_a_row(y, shares, axis.output_size(size[0]), layout)


def _apart(x: jax.Array, shares: Shares, layout: Layout) -> jax.Array:
    """(N, n, ...) -> (N*shares, window, ...).

    Blocks into blocks first, so that a share is a block and what it reads of the next
    ones.
    """
    batch, space = layout.input[0], layout.input[2]
    number, blocks, start, window = shares
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


def _in_a_row(y: jax.Array, shares: Shares, size: int, layout: Layout) -> jax.Array:
    """(N*shares, o, ...) -> (N, shares*o, ...), less what is beyond the output."""
    batch, space = layout.output[0], layout.output[2]
    images = y.shape[batch] // shares.number
    y = split_axis(y, batch, (images, shares.number))
    y = merge_axes(move_axis(y, batch + 1, space), space)
    return pad_axis(y, space, 0, size - y.shape[space])


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """That of `lhs_dilation`, with the shares moved."""
    found = lhs_dilation.work(problem, variant, which)
    if shares_of(problem.geometry, problem.size, problem.batch) is None:
        return found
    return replace(found, gathered=problem.inputs, joined=problem.outputs)


def not_on_cpu(which: Map, problem: Problem) -> str:
    """A CPU's choice never takes it."""
    del which, problem
    return "it fills a TPU's registers, which a CPU does not have"


LOWERING = Lowering(
    name="space_to_batch",
    summary="shares of space as one batch, one convolution of them dilated",
    lower=lower,
    unsupported=serves_all,
    work=work,
    not_on_cpu=not_on_cpu,
    static_space=True,
)
