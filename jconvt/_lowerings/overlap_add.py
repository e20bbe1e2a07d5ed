"""Overlap-add (col2im): one GEMM of all elements with all taps, then shifted additions.

The GEMM multiplies the input as it is by every tap, and each product is added to its
output::

    m[i, t, c_out] = sum of x[i, c_in] * w[c_in, t, c_out] over c_in
    y[s*i + d*t - low] += m[i, t]

The additions go axis by axis and by blocks of ``stride`` outputs, as in `gather`. The
GEMM needs no patches, but the products of all taps are in memory at once:
``prod(kernel_size) * C_out/C_in`` times the input. That is good for small kernels and
for few output channels. Taps that reach no output are left out. It computes every
geometry with a few hundred additions per axis at most.

If there are fewer positions than input channels, the weight is the larger operand. In
the variant `as_given` it enters the GEMM without a transpose, and the products are
reordered instead.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import partial

import jax
from jax import lax

from jconvt._call.call import Call
from jconvt._call.geometry import Axis, Geometry
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import (
    add_arrays,
    merge_axes,
    move_axis,
    pad_axis,
    permute,
    split_runs,
)
from jconvt._lowerings.fence import fenced
from jconvt._lowerings.patches.blocks import (
    Blocks,
    Span,
    blocks,
    keep_taps,
    too_many_slices_along,
)
from jconvt._lowerings.patches.joins import concatenate, interleave, zeros_like_residues
from jconvt._lowerings.patches.places import Place, scatter_sum, split_features
from jconvt._lowerings.patches.sheet import Sheet, grouped_taps
from jconvt._lowerings.row import Lowering, takes_all
from jconvt._lowerings.work import (
    Variant,
    Work,
    copied,
    lanes_of_product,
    moves,
    regrouped,
)


def unsupported(geometry: Geometry) -> str | None:
    """The program holds each addition of each axis: they must not be too many."""
    reasons = (too_many_slices_along([axis]) for axis in geometry.axes)
    return next((f"on every axis {reason}" for reason in reasons if reason), None)


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """One `lax.dot_general`, then `_add_axis` for each spatial axis."""
    geometry, layout, numerics = call.geometry, call.layout, call.numerics
    first, as_given = variant.first, variant.as_given
    rank, groups = geometry.rank, geometry.groups
    sheet = Sheet(first, rank, groups)
    x = sheet.array(x, layout)
    size = x.shape[sheet.space : sheet.space + rank]
    batch = x.shape[1] if first else x.shape[0]
    kept, axes = keep_taps(geometry.axes, size)
    cuts = [blocks(axis, n, 0) for axis, n in zip(axes, size, strict=True)]
    w = permute(w, layout.weight_channels_first)
    for i, (start, stop) in enumerate(kept):
        if (start, stop) != (0, w.shape[2 + i]):
            w = lax.slice_in_dim(w, start, stop, axis=2 + i)
    out, *taps = w.shape[1:]
    u = _kernel(grouped_taps(w, groups), rank, as_given)
    m = sheet.product(sheet.matrix(x), u, numerics.summed(), as_given=as_given)

    def join(m: jax.Array) -> jax.Array:
        if as_given:
            m = lax.reshape(m, (*m.shape[:-1], out, math.prod(taps)))
            m = move_axis(m, m.ndim - 1, m.ndim - 2)
            m = merge_axes(m, m.ndim - 2)
        few = math.prod(taps) <= _MOST_PLACES
        if which != Map.OUTPUT and groups > 1 and not first and few:
            # One loop of the transpose then reads the cotangent and orders by groups.
            arrays = split_features(m, math.prod(taps), sheet, (batch, *size))
            made = zip(arrays, _places(axes, taps), strict=True)
            out_size = [a.output_size(n) for a, n in zip(axes, size, strict=True)]
            return scatter_sum(made, out_size, sheet).astype(numerics.result)
        y = sheet.split(m, taps, (batch, *size))
        space, tap = (rank + 2, 0) if first else (1, 1 + rank)
        for i, cut in enumerate(cuts):
            add = partial(_add_axis, cut=cut, space=space + i, tap=tap + i)
            # Unfenced, XLA:CPU repeats these sums for every tap of the next axis.
            y = fenced(add, y) if i + 1 < rank else add(y)
        return interleave(y, cuts, sheet).astype(numerics.result)

    # Fenced, unless what `join` gives is the result in its final layout.
    direct = which == Map.OUTPUT and first == layout.is_features_first
    y = join(m) if direct else fenced(join, m)
    return sheet.result(y, layout)


_MOST_PLACES = 128
"""Taps that a gradient reads by a slice each. With 729, XLA:CPU takes 12 seconds to
compile the program."""


def _places(axes: Sequence[Axis], taps: Sequence[int]) -> Iterator[tuple[Place, ...]]:
    """Per tap, in order: where its products are added, on each axis."""
    return itertools.product(
        *(
            [Place(t * axis.dilation - axis.low, axis.stride) for t in range(n)]
            for axis, n in zip(axes, taps, strict=True)
        )
    )


def _kernel(u: jax.Array, rank: int, as_given: bool) -> jax.Array:
    """(G, I, O, *taps) -> (G, taps*O, I), or as given (G, I, O*taps)."""
    lead = u.ndim - rank - 2
    if as_given:
        return merge_axes(u, lead + 1, 1 + rank)
    u = lax.transpose(u, (*range(lead), *range(lead + 2, u.ndim), lead + 1, lead))
    return merge_axes(u, lead, 1 + rank)


def _add_axis(y: jax.Array, cut: Blocks, space: int, tap: int) -> jax.Array:
    """Sums along one axis: elements become blocks, and taps become residues.

    `space` and `tap` are the numbers of the two axes.
    """
    y = pad_axis(y, space, *cut.pad)
    runs = [(t, span.length) for span in cut.spans for t, _ in span.terms]
    kernel = split_runs(y, runs, tap)

    def residues(span: Span) -> jax.Array | None:
        parts = [
            lax.slice_in_dim(
                kernel[t, span.length], start, start + cut.count, axis=space
            )
            for t, start in span.terms
        ]
        return add_arrays(parts) if parts else None

    parts = [(span.length, residues(span)) for span in cut.spans]
    some = next(part for _, part in parts if part is not None)
    return concatenate(
        [
            zeros_like_residues(some, (length,), tap) if part is None else part
            for length, part in parts
        ],
        tap,
    )


def variants(problem: Problem) -> tuple[Variant, ...]:
    """Features first or last, and the weight as it is given."""
    del problem
    return (Variant(first=True), Variant(), Variant(as_given=True))


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """The counts of one map."""
    _, axes = keep_taps(problem.geometry.axes, problem.size)
    taps = math.prod(axis.kernel_size for axis in axes)
    positions = problem.batch * math.prod(problem.size)
    weights = problem.weights // math.prod(problem.geometry.kernel_size) * taps
    made = positions * problem.out_channels * taps
    joined = made + problem.outputs
    groups = problem.geometry.groups
    strided = variant.first and problem.geometry.stride[-1:] > (1,)
    moved = copied(problem, variant.first)
    features = problem.out_channels // groups * taps
    inner = problem.in_channels // groups
    each = lanes_of_product(positions, inner, features, variant.first, which)
    grouped = groups > 1  # then the input is brought into one matrix for each
    # The weight is copied for the GEMM, unless it enters as it is, with all taps.
    uncopied = variant.as_given and weights == problem.weights
    copy = 0 if uncopied else weights
    # The products are copied once more where they are padded or reordered.
    passes = 2 if which == Map.OUTPUT or variant.as_given else 1
    return Work(
        multiply_adds=positions * weights,
        lanes=groups * each,
        operands=problem.inputs + weights + made,
        joined=problem.outputs,
        added=made,
        reordered=made if variant.as_given else 0,
        strided=joined if strided else 0,
        regrouped=0
        if variant.first
        else regrouped(problem, problem.inputs)
        + regrouped(problem, made, of_output=True),
        prepared=0 if variant.as_given else weights,
        calls=1,
        temporary=moved + copy + passes * made + problem.outputs,
        peak=moved
        + made
        + max(copy, _most_added(axes, problem, which))
        + problem.outputs
        + grouped * problem.inputs,
        **moves(problem, variant.first),
    )


def _most_added(axes: Sequence[Axis], problem: Problem, which: Map) -> int:
    """The most elements of `_add_axis`: padded products, and an output's sums of them.

    One axis after the other, each with sums for its stride in place of its taps.
    """
    n, taps = list(problem.size), [axis.kernel_size for axis in axes]
    most = 0
    for i, axis in enumerate(axes):
        n[i] += max(0, -(-(axis.extent - axis.stride) // axis.stride))
        products = math.prod(n) * math.prod(taps)
        taps[i] = axis.stride
        sums = math.prod(n) * math.prod(taps) if which == Map.OUTPUT else 0
        most = max(most, products + sums)
    return problem.batch * problem.out_channels * most


LOWERING = Lowering(
    name="overlap_add",
    summary="one GEMM of elements with taps, then shifted additions",
    lower=lower,
    unsupported=unsupported,
    variants=variants,
    work=work,
    not_on_cpu=takes_all,
    own_layout=True,
    static_space=True,
)
