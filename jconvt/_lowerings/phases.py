"""One stride-1 convolution of the undilated input for each output residue.

`Geometry` derives the phases. No zero of the dilation is multiplied, nothing cropped is
computed but the tail of the last block, and no zero pads a kernel, so non-finite values
stay where they belong. Where a phase's taps are more than an element apart, `undilate`
brings them together.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.call import Call
from jconvt._call.geometry import Axis, Geometry, Phase, Size
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import pad_axis, permute, split_axis
from jconvt._lowerings.patches.work import work_of_patches
from jconvt._lowerings.row import (
    MOST_PARTS,
    Lowering,
    crop_space,
    depth_to_space,
    grouped_weight,
)
from jconvt._lowerings.undilated import undilate
from jconvt._lowerings.work import Variant, Work, has_fast_convolutions


def unsupported(geometry: Geometry) -> str | None:
    """The phases are written out one by one."""
    if math.prod(geometry.stride) > MOST_PARTS:
        return f"it needs at most {MOST_PARTS} output residues, the product of strides"
    return None


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """``prod(stride)`` convolutions in channels-last, interleaved."""
    del variant, which
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    # Widened here and narrowed again by each phase (which XLA drops): the transpose in
    # the input sums the phases' parts, and sums of 16-bit floats are in float32.
    x = permute(x, layout.input_channels_last).astype(numerics.accumulation)
    w = grouped_weight(permute(w, layout.weight_channels_first), geometry.groups)
    axes, size = geometry.axes, x.shape[1:-1]
    kernels = _kernels(w, axes)
    blocks = [n + axis.extra_blocks for n, axis in zip(size, axes, strict=True)]
    made = [
        _phase(x, kernels, phases, geometry.groups, numerics)
        for phases in itertools.product(*(axis.phases() for axis in axes))
    ]
    some = next((part for part in made if part is not None), None)
    if some is None:  # all that is kept lies between the taps
        space = geometry.output_size(size)
        zeros = jnp.zeros((x.shape[0], *space, w.shape[1]), numerics.result)
        return permute(zeros, layout.output_from_channels_last)
    # Zeros made from a phase share its sharding, which explicit sharding asks of
    # arrays that are stacked.
    parts = [jnp.zeros_like(some) if part is None else part for part in made]
    y = _interleave(parts, geometry)
    y = crop_space(
        y, [_tail(axis, n, b) for axis, n, b in zip(axes, size, blocks, strict=True)]
    )
    return permute(y, layout.output_from_channels_last)


def _tail(axis: Axis, n: Size, blocks: Size) -> tuple[int, Size]:
    return 0, blocks * axis.stride - axis.output_size(n)


_Kernels = dict[tuple[int, ...], jax.Array]
"""First tap of each axis -> the taps from there on, a step apart: (I, O, *taps)."""


def _kernels(w: jax.Array, axes: Sequence[Axis]) -> _Kernels:
    """By `lax.split`, whose transpose puts the taps side by side again.

    That of strided slices would write zeros between them, and add these up.
    """
    found: _Kernels = {(): w}
    for at, axis in enumerate(axes, start=2):
        step = axis.stride // math.gcd(axis.stride, axis.dilation)
        found = {
            (*first_taps, first_tap): taps
            for first_taps, kernel in found.items()
            for first_tap, taps in enumerate(_every(kernel, at, step))
        }
    return found


def _every(w: jax.Array, axis: int, step: int) -> list[jax.Array]:
    """Of an axis, the places 0, step, ...; 1, step + 1, ...; up to step - 1."""
    n = w.shape[axis]
    if step == 1:
        return [w]
    w = split_axis(pad_axis(w, axis, 0, -n % step), axis, (-(-n // step), step))
    return [
        lax.slice_in_dim(
            lax.squeeze(part, (axis + 1,)), 0, -(-(n - first) // step), axis=axis
        )
        for first, part in enumerate(lax.split(w, (1,) * step, axis + 1))
    ]


def _phase(
    x: jax.Array,
    kernels: _Kernels,
    phases: tuple[Phase, ...],
    groups: int,
    numerics: Numerics,
) -> jax.Array | None:
    """The outputs of one residue per axis: (N, *blocks, C_out); None: all zero."""
    if any(not p.taps for p in phases):
        return None
    w = kernels[tuple(p.first_tap for p in phases)]
    kernel = lax.rev(w, range(2, w.ndim))
    # What the window cannot see is cut off the input or appended to the output, so that
    # the convolution and its transposes pad by nothing negative.
    reach = [(p.taps - 1) * p.dilation for p in phases]
    inner = [
        (min(max(low, 0), r), min(max(high, 0), r))
        for (low, high), r in zip((p.pad for p in phases), reach, strict=True)
    ]
    x = x.astype(w.dtype)
    late: list[tuple[int, int]] = []
    for axis, phase in enumerate(phases, start=1):
        unseen = (min(phase.pad[0], 0), min(phase.pad[1], 0))
        # A symbolic size may be 1, and no convolution may have a window of 0. There the
        # window sees all, and its first and last positions are dropped.
        is_static = isinstance(x.shape[axis], int)
        late.append((0, 0) if is_static else unseen)
        if is_static:
            x = pad_axis(x, axis, *unseen)
    if 0 in x.shape:
        return None
    parts = undilate(x, kernel.shape[2:], inner, [p.dilation for p in phases])
    y = lax.conv_general_dilated(
        parts.x,
        # Channels last throughout: inside scan and while bodies XLA:CPU only takes
        # its fast path for these dimension numbers (jax issue 12868).
        jnp.moveaxis(kernel, (0, 1), (-2, -1)),
        window_strides=(1,) * len(phases),
        padding=parts.padding,
        rhs_dilation=parts.dilation,
        dimension_numbers=channels_last_numbers(len(phases)),
        feature_group_count=groups,
        precision=numerics.precision,
        preferred_element_type=numerics.result,
    )
    y = parts.together(y)
    for axis, (phase, r) in enumerate(zip(phases, reach, strict=True), start=1):
        low, high = phase.pad
        y = pad_axis(y, axis, *late[axis - 1])
        y = pad_axis(y, axis, max(low - r, 0), max(high - r, 0))
    return y


def channels_last_numbers(rank: int) -> lax.ConvDimensionNumbers:
    """``N`` + space + ``C``, kernel space + ``IO``, as axis numbers."""
    data = (0, rank + 1, *range(1, rank + 1))
    return lax.ConvDimensionNumbers(data, (rank + 1, rank, *range(rank)), data)


def _interleave(parts: list[jax.Array], geometry: Geometry) -> jax.Array:
    """Phases in row-major order of their residues -> (N, *(blocks*stride), C)."""
    rank = geometry.rank
    if math.prod(geometry.stride) == 1:
        return parts[0]
    y = jnp.stack(parts, axis=1 + rank)
    y = y.reshape(*y.shape[: 1 + rank], *geometry.stride, y.shape[-1])
    return depth_to_space(y, rank)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """As `gather` without gathering: convolutions in place of GEMMs."""
    del variant
    return work_of_phases(problem, which, early=False)


def work_of_phases(problem: Problem, which: Map, early: bool) -> Work:
    """A convolution for every combination of classes of residues."""
    plain = (False,) * problem.geometry.rank
    found = work_of_patches(problem, Variant(early=early), plain, which)
    return replace(
        found, multiply_adds=0, convolved=found.multiply_adds, operands=0, gathered=0,
        calls=1 if early else math.prod(problem.geometry.stride),
        temporary=found.temporary - found.gathered,
    )  # fmt: skip


def is_compact(problem: Problem) -> bool:
    """Whether a convolution for each residue stays in proportion."""
    return math.prod(problem.geometry.stride) <= _MOST_PHASES


_MOST_PHASES = 64
"""More convolutions than this take longer to compile than they save."""


def not_on_cpu(which: Map, problem: Problem) -> str | None:
    """XLA:CPU has fast convolutions for few kinds of layers, and no fast transposes."""
    if which != Map.OUTPUT or not has_fast_convolutions(which, problem):
        return "XLA:CPU has these convolutions as plain loops"
    if not is_compact(problem):
        return "its many convolutions take long to compile"
    return None


LOWERING = Lowering(
    name="phases",
    summary="one stride-1 convolution for each output residue",
    lower=lower,
    unsupported=unsupported,
    work=work,
    not_on_cpu=not_on_cpu,
)
