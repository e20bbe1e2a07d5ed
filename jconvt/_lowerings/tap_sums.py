"""Every tap times every element, added up element by element: no GEMM.

Where a group has one input channel there is nothing to contract, and a GEMM would only
be many small ones. With channels last each product and each sum is then a vector
operation over the channels, and the outputs of a block lie side by side::

    y[q, r, c] = sum_t x[q - m_t, c] * w[t, c],   (m_t, r_t) = divmod(t*d, s),  r_t = r

on the grid of the uncropped output, ``s`` outputs to a block. The three maps want it
written in three ways, because XLA:CPU makes vector code of loops over elements, not of
sums along an axis that is not the last (up to thirty times slower):

- the output: the blocks of `gather`, whose residues read the same elements, with the
  weight's taps spread along the residues;
- the input gradient: the transpose of shifting each product to its place, which reads
  the cotangent once for each tap, ``dx[e] = sum_t g[e + m_t, r_t] * w[t]``;
- the weight gradient: the same, with the sum over positions in two steps. Several rows
  are added up element by element, and only what is left is summed along axes.

With channels first the first two are vector operations along the rows instead
(`jconvt._lowerings.taps.planes`); sums over positions are not, so the weight gradient
is made with channels last for both.
"""

import itertools
import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.call import Call
from jconvt._call.geometry import Geometry
from jconvt._call.layout import Layout
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import crop_space, merge_axes, pad, permute, split_axis
from jconvt._lowerings.fence import fenced
from jconvt._lowerings.patches.blocks import (
    Blocks,
    cut_axes,
    keep_taps,
    too_many_slices,
)
from jconvt._lowerings.patches.joins import concatenate
from jconvt._lowerings.patches.sheet import Sheet
from jconvt._lowerings.row import Lowering
from jconvt._lowerings.taps.planes import planes_in_blocks, shifted_planes
from jconvt._lowerings.taps.rows import shifted_taps, taps_by_rows
from jconvt._lowerings.work import Variant, Work, copied, filled, moves


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """Products of elements and taps, in the way that suits the which."""
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    rank, groups = geometry.rank, geometry.groups
    first = _is_first(variant, which)
    sheet = Sheet(first, rank, groups)
    if first:
        return _lower_first(x, w, geometry, layout, numerics, sheet, which)
    w = fenced(
        partial(_taps, rank=rank, groups=groups),
        permute(w, layout.weight_channels_first),
    )
    x = sheet.array(x, layout)
    x = lax.reshape(x, (*x.shape[:-1], groups, x.shape[-1] // groups, 1))
    # Sums of products are rounded once, at the end.
    x, w = x.astype(numerics.accumulation), w.astype(numerics.accumulation)
    y = _FORMS[which](x, w, geometry)
    y = lax.reshape(y, (*y.shape[: 1 + rank], y.shape[-2] * y.shape[-1]))
    return sheet.result(y.astype(numerics.result), layout)


def _is_first(variant: Variant, which: Map) -> bool:
    """Weight gradients are sums over positions, for which these must not be last."""
    return variant.first and which != Map.WEIGHT


def _lower_first(
    x: jax.Array,
    w: jax.Array,
    geometry: Geometry,
    layout: Layout,
    numerics: Numerics,
    sheet: Sheet,
    which: Map,
) -> jax.Array:
    x, w = sheet.array(x, layout), permute(w, layout.weight_channels_first)
    groups = geometry.groups
    each = x.shape[0] // groups
    x = split_axis(x.astype(numerics.accumulation), 0, (groups, each, 1))
    w = split_axis(w.astype(numerics.accumulation), 0, (groups, each))
    form = planes_in_blocks if which == Map.OUTPUT else shifted_planes
    y = form(x, w, geometry, sheet)
    return sheet.result(y.astype(numerics.result), layout)


def _taps(w: jax.Array, rank: int, groups: int) -> jax.Array:
    """(C_in, O, *taps) -> (*taps, G, I, O)."""
    w = lax.transpose(w, (*range(2, 2 + rank), 0, 1))
    *taps, features, out = w.shape
    return lax.reshape(w, (*taps, groups, features // groups, out))


def _in_blocks(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """(N, *space, G, I, 1) and (*taps, G, I, O) -> (N, *out, G, O)."""
    rank = geometry.rank
    size = x.shape[1 : 1 + rank]
    plain = (False,) * rank
    cuts = cut_axes(geometry, size, plain, early=True)
    pads = [(0, 0, 0), *((*cut.pad, 0) for cut in cuts), *[(0, 0, 0)] * 3]
    if any(cut.pad != (0, 0) for cut in cuts):
        x = fenced(partial(pad, pads=pads), x)

    def assemble(runs: tuple[tuple[int, int, int], ...]) -> jax.Array:
        axis = len(runs)
        if axis == rank:
            return _residues(x, w, cuts, runs)
        return concatenate(
            [assemble((*runs, run)) for run in cuts[axis].runs], 2 + 2 * axis
        )

    y = assemble(())
    for axis in range(1, 1 + rank):
        y = merge_axes(y, axis)
    return crop_space(y, [cut.crop for cut in cuts])


def _residues(
    x: jax.Array,
    w: jax.Array,
    cuts: Sequence[Blocks],
    runs: Sequence[tuple[int, int, int]],
) -> jax.Array:
    """The outputs of one run of residues on each axis: (N, *(blocks, run), G, O)."""
    rank, blocks = len(cuts), [cut.count for cut in cuts]
    lengths = [length for _, _, length in runs]
    terms = [
        cut.classes[index].terms(first)
        for cut, (index, first, _) in zip(cuts, runs, strict=True)
    ]

    def product(chosen: tuple[tuple[int, int], ...]) -> jax.Array:
        elements, taps = x, w
        for axis, (tap, element) in enumerate(chosen):
            elements = lax.slice_in_dim(
                elements, element, element + blocks[axis], axis=1 + axis
            )
            taps = lax.slice_in_dim(taps, tap, tap + lengths[axis], axis=axis)
        places = range(2, 2 + 2 * rank, 2)
        elements = lax.expand_dims(elements, places)
        taps = lax.expand_dims(taps, (0, *range(1, 1 + 2 * rank, 2)))
        return (elements * taps).sum(-2, dtype=x.dtype)

    products = [product(chosen) for chosen in itertools.product(*terms)]
    if products:
        return sum(products[1:], start=products[0])
    space = itertools.chain.from_iterable(zip(blocks, lengths, strict=True))
    shape = (x.shape[0], *space, w.shape[rank], w.shape[-1])
    return jnp.zeros(shape, x.dtype)


_FORMS = {
    Map.OUTPUT: _in_blocks,
    Map.INPUT: shifted_taps,
    Map.WEIGHT: taps_by_rows,
}


def variants(problem: Problem) -> tuple[Variant, ...]:
    """Both orders of features."""
    del problem
    return Variant(), Variant(first=True)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """What each of the three maps takes."""
    geometry = problem.geometry
    first = _is_first(variant, which)
    products = problem.batch * problem.in_channels * problem.out_channels
    products //= geometry.groups
    if which == Map.OUTPUT:
        cuts = cut_axes(geometry, problem.size, (False,) * geometry.rank, early=True)
        for cut in cuts:
            taps = sum(len(c.residues) * c.taps for c in cut.classes)
            products *= cut.count * taps
        parts = math.prod(len(cut.runs) for cut in cuts)
        row = cuts[-1].count if cuts else 1
    else:
        kept, _ = keep_taps(geometry.axes, problem.size)
        taps = math.prod(stop - start for start, stop in kept)
        products *= math.prod(problem.size) * taps
        parts = 1
        row = problem.size[-1] if problem.size else 1
    vector = row if first else problem.out_channels
    strided = first and any(stride > 1 for stride in geometry.stride)
    joined = problem.outputs if parts > 1 or strided or which != Map.OUTPUT else 0
    padded = problem.inputs if which == Map.OUTPUT else problem.outputs
    return Work(
        multiply_adds=products,
        summed=products // vector * filled(vector),
        joined=joined,
        strided=joined if strided else 0,
        prepared=problem.weights,
        calls=parts,
        temporary=copied(problem, first) + padded + joined + problem.weights,
        **moves(problem, first),
    )


def not_on_cpu(which: Map, problem: Problem) -> str | None:
    """Without a matrix product it is for groups that have nothing to contract."""
    del which
    if problem.in_channels == problem.geometry.groups:
        return None
    return "a matrix product over a group's input channels is faster"


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
