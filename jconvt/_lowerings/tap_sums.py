"""Element-wise products of shifted inputs with taps, added up: no GEMM.

It is for groups of few channels: depthwise layers, where there is nothing to contract,
and small layers on images, where the matrices of a GEMM would be narrow. In blocks of s
outputs of the full output, block q and residue r are::

    y[q, r, c] = sum over i, and t with r_t = r, of x[q - m_t, i] * w[t, i, c]
                 (m_t, r_t) = divmod(t*d, s)

With channels last, products and sums are vector operations along the channels. XLA:CPU
vectorises loops over elements, and sums along an axis other than the last are up to
thirty times slower. So the code is written differently for each map:

- output: by the blocks of `gather`, whose residues read the same elements;
- input gradient: the transpose of spreading each product to its output, which reads the
  cotangent once for each tap: ``dx[i] = sum_t g[i + m_t, r_t] * w[t]``;
- weight gradient: the same, with the sum over positions in two steps. Several rows are
  added element by element, and only the rest is summed along axes.

With features first, output and input gradient are vectorised along image rows
(`jconvt._lowerings.taps.planes`). The weight gradient is a sum over positions and is
always computed with features last.
"""

import math
from functools import partial

import jax
from jax import lax

from jconvt._call.call import Call
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import permute, split_axis
from jconvt._lowerings.fence import fenced
from jconvt._lowerings.patches.blocks import too_many_slices
from jconvt._lowerings.patches.sheet import Sheet
from jconvt._lowerings.row import Lowering
from jconvt._lowerings.taps.planes import planes_in_blocks, shifted_planes
from jconvt._lowerings.taps.rows import rows_in_blocks, shifted_taps, taps_by_rows
from jconvt._lowerings.taps.work import (
    channels_of_group,
    work_of_gradient,
    work_of_output,
)
from jconvt._lowerings.work import Variant, Work


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """The output, written in the way that suits the map `which`."""
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    rank, groups = geometry.rank, geometry.groups
    each = x.shape[layout.input[1]] // groups
    first = _is_first(variant, which, each)
    sheet = Sheet(first, rank, groups)
    if first:
        return _lower_first(x, w, call, sheet, which)
    w = fenced(
        partial(_taps, rank=rank, groups=groups),
        permute(w, layout.weight_channels_first),
    )
    x = sheet.array(x, layout)
    x = lax.reshape(x, (*x.shape[:-1], groups, x.shape[-1] // groups, 1))
    # Sums of products are rounded once, at the end.
    x, w = x.astype(numerics.accumulation), w.astype(numerics.accumulation)
    y = _FEATURES_LAST[which](x, w, geometry)
    y = lax.reshape(y, (*y.shape[: 1 + rank], y.shape[-2] * y.shape[-1]))
    return sheet.result(y.astype(numerics.result), layout)


def _is_first(variant: Variant, which: Map, each: int) -> bool:
    """Whether features stand first; `each`: input channels of a group.

    Never for a weight gradient. Always for an output that sums over channels: with
    features last XLA:CPU makes no vector code of that sum, and it takes up to a hundred
    times as long.
    """
    if which == Map.OUTPUT and each > 1:
        return True
    return variant.first and which != Map.WEIGHT


def _lower_first(
    x: jax.Array, w: jax.Array, call: Call, sheet: Sheet, which: Map
) -> jax.Array:
    """`lower` with features first."""
    layout, numerics, groups = call.layout, call.numerics, sheet.groups
    x, w = sheet.array(x, layout), permute(w, layout.weight_channels_first)
    each = x.shape[0] // groups
    x = split_axis(x.astype(numerics.accumulation), 0, (groups, each, 1))
    w = split_axis(w.astype(numerics.accumulation), 0, (groups, each))
    form = planes_in_blocks if which == Map.OUTPUT else shifted_planes
    y = form(x, w, call.geometry, sheet)
    return sheet.result(y.astype(numerics.result), layout)


def _taps(w: jax.Array, rank: int, groups: int) -> jax.Array:
    """(C_in, O, *taps) -> (*taps, G, I, O)."""
    w = lax.transpose(w, (*range(2, 2 + rank), 0, 1))
    *taps, features, out = w.shape
    return lax.reshape(w, (*taps, groups, features // groups, out))


_FEATURES_LAST = {
    Map.OUTPUT: rows_in_blocks,
    Map.INPUT: shifted_taps,
    Map.WEIGHT: taps_by_rows,
}


def variants(problem: Problem) -> tuple[Variant, ...]:
    """Features first or last.

    Where an output sums over channels the two are one program (`_is_first`), and the
    name that comes first is the one that tells what it is.
    """
    each, _ = channels_of_group(problem)
    found = Variant(), Variant(first=True)
    return found[::-1] if each > 1 else found


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """The counts of one map."""
    first = _is_first(variant, which, channels_of_group(problem)[0])
    if which == Map.OUTPUT:
        return work_of_output(problem, first)
    return work_of_gradient(problem, first, which)


def not_on_cpu(which: Map, problem: Problem) -> str | None:
    """Only where a group has so few channels that a GEMM's matrices are narrow."""
    each, others = channels_of_group(problem)
    if each > 1 and max(each, others) > _MOST_CHANNELS:
        return "a matrix product over a group's channels is faster"
    taps = math.prod(problem.geometry.kernel_size)
    terms = taps * each if which == Map.OUTPUT else 2 * taps
    if terms > _MOST_SUMS:
        return "its many sums take long to compile"
    return None


_MOST_CHANNELS = 16
"""Input or output channels of a group. From about twelve on a GEMM is as fast."""

_MOST_SUMS = 256
"""Each is a product and an addition in the program of an output, and twice as much in
those of gradients. 256 take XLA:CPU one to three seconds to compile."""


LOWERING = Lowering(
    name="tap_sums",
    summary="every tap times every element, added up element by element",
    lower=lower,
    unsupported=too_many_slices,
    variants=variants,
    work=work,
    not_on_cpu=not_on_cpu,
    own_layout=True,
    static_space=True,
)
