"""One GEMM of every element with every tap, then shifted additions.

An element's products with the taps of one output residue are added, block by block, to
what its neighbours bring there: the `blocks` of `gather`, with the GEMM before the
gathering. The products of all taps exist at once (``prod(kernel_size) * C_out/C_in``
times the input); nothing is padded but they. Taps that reach no output are left out.

Where there are fewer positions than input channels the weight is the larger operand. It
then enters the GEMM in its own order, without a transpose, and the products are
reordered in its place.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
from jax import lax

from jconvt._call.call import Call
from jconvt._call.geometry import Axis, Geometry
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import merge_axes, move_axis, pad, permute
from jconvt._lowerings.fence import fenced
from jconvt._lowerings.patches.blocks import (
    Blocks,
    ResidueClass,
    blocks,
    keep_taps,
    too_many_slices,
)
from jconvt._lowerings.patches.joins import concatenate, interleave, zeros_like_residues
from jconvt._lowerings.patches.places import Place, apart, place
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
    """The additions are written out one by one, axis after axis."""
    for axis in geometry.axes:
        alone = Geometry(
            kernel_size=(axis.kernel_size,),
            stride=(axis.stride,),
            dilation=(axis.dilation,),
            crop=((axis.low, axis.high),),
        )
        reason = too_many_slices(alone)
        if reason is not None:
            return f"on every axis {reason}"
    return None


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
        if which != Map.OUTPUT and groups > 1 and not first:
            # Groups are moved apart in the one loop that reads every tap's place.
            arrays = apart(m, math.prod(taps), sheet, (batch, *size))
            made = zip(arrays, _places(axes, taps), strict=True)
            out_size = [a.output_size(n) for a, n in zip(axes, size, strict=True)]
            return place(made, out_size, sheet).astype(numerics.result)
        y = sheet.split(m, taps, (batch, *size))
        space, tap = (rank + 2, 0) if first else (1, 1 + rank)
        for i, cut in enumerate(cuts):
            add = partial(_add_axis, cut=cut, space=space + i, tap=tap + i)
            # XLA:CPU would compute one axis's sums anew for every tap of the next.
            y = fenced(add, y) if i + 1 < rank else add(y)
        return interleave(y, cuts, sheet).astype(numerics.result)

    direct = which == Map.OUTPUT and first == layout.is_features_first
    y = join(m) if direct else fenced(join, m)
    return sheet.result(y, layout)


def _places(axes: Sequence[Axis], taps: Sequence[int]) -> Iterator[tuple[Place, ...]]:
    """Of the elements' products with each tap, in the order of the taps."""
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
        for _ in range(rank):
            u = merge_axes(u, lead + 1)
        return u
    u = lax.transpose(u, (*range(lead), *range(lead + 2, u.ndim), lead + 1, lead))
    for _ in range(rank):
        u = merge_axes(u, lead)
    return u


def _add_axis(y: jax.Array, cut: Blocks, space: int, tap: int) -> jax.Array:
    """Elements and taps of one axis -> blocks and residues."""
    pads = [(0, 0, 0)] * y.ndim
    pads[space] = (*cut.pad, 0)
    y = pad(y, pads) if cut.pad != (0, 0) else y
    runs = [(length, _terms(cut.classes[i], at, length)) for i, at, length in cut.runs]
    parts_of = _taps_apart(y, [term for _, terms in runs for term in terms], tap)

    def residues(terms: list[_Term]) -> jax.Array | None:
        parts = [
            lax.slice_in_dim(parts_of[t], t.start, t.start + cut.count, axis=space)
            for t in terms
        ]
        return sum(parts[1:], start=parts[0]) if parts else None

    parts = [(length, residues(terms)) for length, terms in runs]
    some = next(part for _, part in parts if part is not None)
    return concatenate(
        [
            zeros_like_residues(some, (length,), tap) if part is None else part
            for length, part in parts
        ],
        tap,
    )


class _Term(NamedTuple):
    """Taps of neighbouring residues, and the element that the first block reads."""

    first_tap: int
    taps: int
    start: int


def _terms(of: ResidueClass, first: int, length: int) -> list[_Term]:
    """For each element that some residues of a class read, its taps."""
    return [_Term(tap, length, element) for tap, element in of.terms(first)]


def _taps_apart(
    y: jax.Array, wanted: Sequence[_Term], axis: int
) -> dict[_Term, jax.Array]:
    """The taps of each term, all of them cut by one `lax.split`.

    Its transpose puts them side by side again. That of a slice for each would write
    zeros for all other taps, and add these up.
    """
    count = y.shape[axis]
    ends = {e for t in wanted for e in (t.first_tap, t.first_tap + t.taps)}
    bounds = sorted({0, *ends, count})
    sizes = [end - start for start, end in pairwise(bounds)]
    parts = dict(zip(bounds, lax.split(y, sizes, axis), strict=False))
    return {term: parts[term.first_tap] for term in wanted}


def variants(problem: Problem) -> tuple[Variant, ...]:
    """Both orders of features, and the weight as given."""
    del problem
    return (Variant(first=True), Variant(), Variant(as_given=True))


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """What each of the three maps takes."""
    _, axes = keep_taps(problem.geometry.axes, problem.size)
    taps = math.prod(axis.kernel_size for axis in axes)
    positions = problem.batch * math.prod(problem.size)
    weights = problem.weights // math.prod(problem.geometry.kernel_size) * taps
    made = positions * problem.out_channels * taps
    joined = made + problem.outputs
    groups = problem.geometry.groups
    zipped = variant.first and problem.geometry.stride[-1:] > (1,)
    apart = regrouped(problem, problem.inputs) + regrouped(
        problem, made, of_output=True
    )
    moved = copied(problem, variant.first)
    features = problem.out_channels // groups * taps
    inner = problem.in_channels // groups
    each = lanes_of_product(positions, inner, features, variant.first, which)
    # The products, and once more where they are padded or reordered.
    passes = 2 if which == Map.OUTPUT or variant.as_given else 1
    return Work(
        multiply_adds=positions * weights,
        lanes=groups * each,
        operands=problem.inputs + weights + made,
        joined=problem.outputs,
        added=made,
        reordered=made if variant.as_given else 0,
        strided=joined if zipped else 0,
        regrouped=0 if variant.first else apart,
        prepared=0 if variant.as_given else weights,
        calls=1,
        temporary=moved + weights + passes * made + problem.outputs,
        **moves(problem, variant.first),
    )


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
