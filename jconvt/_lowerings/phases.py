"""One stride-1 convolution of the input for each output residue.

The outputs ``s*q + r`` of one residue r (a phase) are an ordinary convolution of the
input with every (s/gcd(s, d))-th tap; `jconvt._call.geometry` derives it::

    y[s*q + r] = sum_m w[t0 + m*step] * x[q + shift - m*spacing]

The results are interleaved. No inserted zero is multiplied, and no kernel is padded
with zeros, so non-finite values stay local. The only cropped outputs computed are in
the last block. It computes every geometry with at most 4096 residues, but every residue
is a convolution to compile and to run. Where a phase is itself dilated, `undilate`
makes it an ordinary convolution.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.call import Call
from jconvt._call.geometry import Axis, Geometry, Phase
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import (
    crop_space,
    depth_to_space,
    grouped_weight,
    pad_axis,
    permute,
    split_axis,
)
from jconvt._lowerings.patches.work import work_of_patches
from jconvt._lowerings.row import Lowering
from jconvt._lowerings.undilated import undilate
from jconvt._lowerings.work import Variant, Work, has_fast_convolutions

_MOST_PHASES = 4096
_MOST_COMPACT = 64
"""With more convolutions than this, compiling takes longer than they save."""


def unsupported(geometry: Geometry) -> str | None:
    """The program holds a convolution for each phase: they must not be too many."""
    if math.prod(geometry.stride) > _MOST_PHASES:
        return (
            f"it needs at most {_MOST_PHASES} output residues, the product of strides"
        )
    return None


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """``prod(stride)`` convolutions with channels last, interleaved."""
    del variant, which
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    # To float32 here and back in each phase, which XLA removes: the transpose in the
    # input adds the gradients of the phases, and sums of 16-bit floats are in float32.
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
    if some is None:  # no tap reaches an output that is kept
        space = geometry.output_size(size)
        zeros = jnp.zeros((x.shape[0], *space, w.shape[1]), numerics.result)
        return permute(zeros, layout.output_from_channels_last)
    # Zeros made from a phase have its sharding: under explicit sharding, arrays that
    # are stacked must be sharded alike.
    parts = [jnp.zeros_like(some) if part is None else part for part in made]
    y = _interleave(parts, geometry)
    # What the last block of an axis holds beyond the output.
    tails = [
        (0, b * axis.stride - axis.output_size(n))
        for axis, n, b in zip(axes, size, blocks, strict=True)
    ]
    return permute(crop_space(y, tails), layout.output_from_channels_last)


_Kernels = dict[tuple[int, ...], jax.Array]
"""First tap per axis -> every ``step``-th tap from there on: (I, O, *taps)."""


def _kernels(w: jax.Array, axes: Sequence[Axis]) -> _Kernels:
    """The weight (I, O, *K), divided into the kernels of the phases.

    By `lax.split`, whose transpose is a concatenation. The transpose of strided slices
    would be a sum of arrays with zeros between the taps.
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
    """For each start below `step`: the taps start, start + step, ... of an axis."""
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
    """The outputs of one residue per axis: (N, *blocks, C_out), or None if all zero."""
    if any(not p.taps for p in phases):
        return None
    w = kernels[tuple(p.first_tap for p in phases)]
    kernel = lax.rev(w, range(2, w.ndim))
    # The convolution and its transposes must not pad by a negative amount. So input
    # elements that no window reaches are removed before the convolution, and outputs
    # whose windows hold only zeros are appended after it.
    reach = [(p.taps - 1) * p.dilation for p in phases]
    inner = [
        (min(max(low, 0), r), min(max(high, 0), r))
        for (low, high), r in zip((p.pad for p in phases), reach, strict=True)
    ]
    x = x.astype(w.dtype)
    late: list[tuple[int, int]] = []
    for axis, phase in enumerate(phases, start=1):
        unseen = (min(phase.pad[0], 0), min(phase.pad[1], 0))
        # From an axis of symbolic size, which may be 1, nothing may be removed before:
        # a convolution of no elements is an error. Its first and last outputs are
        # removed instead.
        is_static = isinstance(x.shape[axis], int)
        late.append((0, 0) if is_static else unseen)
        if is_static:
            x = pad_axis(x, axis, *unseen)
    if 0 in x.shape:
        return None
    parts = undilate(x, kernel.shape[2:], inner, [p.dilation for p in phases])
    y = lax.conv_general_dilated(
        parts.x,
        # Channels last: inside the bodies of scan and while, XLA:CPU has a fast path
        # for these dimension numbers alone (jax issue 12868).
        jnp.moveaxis(kernel, (0, 1), (-2, -1)),
        window_strides=(1,) * len(phases),
        padding=parts.padding,
        rhs_dilation=parts.dilation,
        dimension_numbers=channels_last_numbers(len(phases)),
        feature_group_count=groups,
        precision=numerics.precision,
        preferred_element_type=numerics.result,
    )
    y = parts.interleave(y)
    for axis, (phase, r) in enumerate(zip(phases, reach, strict=True), start=1):
        low, high = phase.pad
        y = pad_axis(y, axis, *late[axis - 1])
        y = pad_axis(y, axis, max(low - r, 0), max(high - r, 0))
    return y


def channels_last_numbers(rank: int) -> lax.ConvDimensionNumbers:
    """Axis numbers of ``N`` + space + ``C`` data and a space + ``IO`` kernel."""
    data = (0, rank + 1, *range(1, rank + 1))
    return lax.ConvDimensionNumbers(data, (rank + 1, rank, *range(rank)), data)


def _interleave(parts: list[jax.Array], geometry: Geometry) -> jax.Array:
    """One (N, *blocks, C) per phase, in row-major order -> (N, *(blocks*stride), C)."""
    rank = geometry.rank
    if math.prod(geometry.stride) == 1:
        return parts[0]
    y = jnp.stack(parts, axis=1 + rank)
    y = y.reshape(*y.shape[: 1 + rank], *geometry.stride, y.shape[-1])
    return depth_to_space(y, rank)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """The counts of `gather`, with convolutions in place of patches and GEMMs."""
    del variant
    return work_of_phases(problem, which, early=False)


def work_of_phases(problem: Problem, which: Map, early: bool) -> Work:
    """`early`: all phases in one convolution (`fused_phases`), not one for each."""
    unpaired = (False,) * problem.geometry.rank
    found = work_of_patches(problem, Variant(early=early), unpaired, which)
    grouped = problem.geometry.groups > 1  # XLA:CPU copies the result of each
    apart = any(s > 1 for s in problem.geometry.stride)
    return replace(
        found, multiply_adds=0, convolved=found.multiply_adds, operands=0, gathered=0,
        packed=found.gathered, joined=0, reordered=apart * found.joined,
        calls=1 if early else math.prod(problem.geometry.stride),
        temporary=found.temporary - found.gathered,
        peak=found.temporary - found.gathered + grouped * found.joined,
    )  # fmt: skip


AS_NATIVE = "at stride 1 it is the convolution of lhs_dilation"
AS_GEMM = "gather is the same matrix product, without a convolution's packing"


def is_compact(problem: Problem) -> bool:
    """Whether there are few enough phases for a program of one convolution each."""
    return math.prod(problem.geometry.stride) <= _MOST_COMPACT


def not_on_cpu(which: Map, problem: Problem) -> str | None:
    """Only for outputs, and only where XLA:CPU has fast convolutions."""
    if max(problem.geometry.stride, default=1) == 1:
        return AS_NATIVE
    if not problem.geometry.overlaps:
        return AS_GEMM
    if which != Map.OUTPUT or not has_fast_convolutions(which, problem):
        return "XLA:CPU runs these convolutions in simple loops"
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
