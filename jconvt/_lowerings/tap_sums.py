"""Element-wise products of shifted inputs with taps, added up: no GEMM.

It is for depthwise layers. Where a group has one input channel there is nothing to
contract, and a GEMM would only be many small ones. In blocks of s outputs of the full
output, block q and residue r are::

    y[q, r, c] = sum over t with r_t = r of x[q - m_t, c] * w[t, c]
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
from jconvt._lowerings.patches.blocks import (
    cut_axes,
    keep_taps,
    too_many_slices,
)
from jconvt._lowerings.patches.sheet import Sheet
from jconvt._lowerings.row import Lowering
from jconvt._lowerings.taps.planes import (
    FUSED_TERMS,
    planes_in_blocks,
    shifted_planes,
)
from jconvt._lowerings.taps.rows import (
    loops_of,
    rows_at_once,
    rows_in_blocks,
    shifted_taps,
    taps_by_rows,
)
from jconvt._lowerings.work import Variant, Work, copied, filled, moves


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """The output, written in the way that suits the map `which`."""
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    rank, groups = geometry.rank, geometry.groups
    first = _is_first(variant, which)
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


def _is_first(variant: Variant, which: Map) -> bool:
    """Whether features stand first; never for a weight gradient."""
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
    """Features first or last."""
    del problem
    return Variant(), Variant(first=True)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """The counts of one map."""
    geometry = problem.geometry
    first = _is_first(variant, which)
    each, others = _channels(problem)
    products = problem.batch * each * problem.out_channels
    slow, at_most, apart = 1, 0, False
    if which == Map.OUTPUT:
        cuts = cut_axes(geometry, problem.size, (False,) * geometry.rank, early=True)
        for cut in cuts:
            taps = sum(len(c.residues) * c.taps for c in cut.classes)
            products *= cut.count * taps
        parts = math.prod(len(cut.spans) for cut in cuts)
        most = math.prod(max(c.taps for c in cut.classes) for cut in cuts)
        long = most * each > _MOST_IN_LOOP or each > 1
        slow = _LONG_LOOP if not first and long else 1
        row = cuts[-1].count if cuts else 1
        apart = first and math.prod(geometry.stride) > 1 and most * each > FUSED_TERMS
        if parts > 1 or apart:  # in place, or joined beside the output
            copies = 1 + (apart and not problem.features_first)
            at_most = problem.inputs + copies * problem.outputs + problem.weights
    else:
        kept, _ = keep_taps(geometry.axes, problem.size)
        taps = math.prod(stop - start for start, stop in kept)
        products *= math.prod(problem.size) * taps
        parts = 1
        row = problem.size[-1] if problem.size else 1
        at_most = copied(problem, first) + problem.outputs + _sums(problem, which, taps)
    several = apart if which == Map.OUTPUT else others > 1
    pairs = problem.out_channels * (1 if which == Map.OUTPUT else each)
    vector = row if first else pairs
    strided = first and any(stride > 1 for stride in geometry.stride)
    residues = math.prod(geometry.stride)
    scattered = first and which == Map.OUTPUT and residues > _MOST_RESIDUES
    joined = problem.outputs if parts > 1 or strided or which != Map.OUTPUT else 0
    return Work(
        multiply_adds=products,
        summed=slow * products // vector * filled(vector),
        joined=joined,
        strided=joined if strided else 0,
        regrouped=_SCATTERED * problem.outputs if scattered else 0,
        prepared=problem.weights,
        calls=parts,
        temporary=max(_temporary(problem, first, which), at_most if several else 0),
        peak=at_most,
        **moves(problem, first),
    )


def _channels(problem: Problem) -> tuple[int, int]:
    """Input and output channels of one group."""
    groups = problem.geometry.groups
    return problem.in_channels // groups, problem.out_channels // groups


def _sums(problem: Problem, which: Map, taps: int) -> int:
    """Elements of sums that are still to be added up, which may be alive at once.

    Of an input gradient they are the sums of each loop, for every output channel. Of a
    weight gradient they are the summed rows of all taps.
    """
    _, others = _channels(problem)
    pairs = problem.inputs * others
    if which == Map.WEIGHT:
        rows = problem.size[0] if problem.size else problem.batch
        return taps * pairs // max(1, rows_at_once(rows))
    loops = loops_of(taps)
    if loops == 1:
        return pairs if others > 1 else 0
    return pairs * (loops + (others > 1))


def _temporary(problem: Problem, first: bool, which: Map) -> int:
    """Elements alive at once; what is fused with its reader takes no memory.

    For an output these are the padded input and, in another layout, the output once
    more. A cotangent is padded only where something was cropped.
    """
    outputs = problem.outputs
    if which == Map.OUTPUT:
        other = first != problem.features_first
        return problem.inputs + other * outputs + problem.weights
    sizes = zip(problem.geometry.axes, problem.size, strict=True)
    cropped = any(axis.low or axis.output_size(n) % axis.stride for axis, n in sizes)
    padded = cropped * outputs
    return copied(problem, first) + padded + outputs + problem.weights


def not_on_cpu(which: Map, problem: Problem) -> str | None:
    """Only where a group has so few channels that a GEMM's matrices are narrow."""
    each, others = _channels(problem)
    if each > 1 and max(each, others) > _MOST_CHANNELS:
        return "a matrix product over a group's channels is faster"
    taps = math.prod(problem.geometry.kernel_size)
    terms = taps * each if which == Map.OUTPUT else 2 * taps
    if terms > _MOST_SUMS:
        return "its many sums take long to compile"
    return None


_MOST_CHANNELS = 16
"""Of a group, a register of 512 bits."""

_MOST_SUMS = 256
"""Each is a product and an addition in the program of an output, and twice as much in
those of gradients. 256 take XLA:CPU one to three seconds to compile."""

_MOST_IN_LOOP = 32
_LONG_LOOP = 6
"""XLA:CPU makes no vector code of the sum of more taps for one output with features
last, or of the sum over channels; timed with 5 x 5 x 5 taps."""

_MOST_RESIDUES = 4
_SCATTERED = 8
"""More residues with features first are interleaved element by element, in about 5 ns;
timed with strides of 3 to 5 over two axes."""


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
