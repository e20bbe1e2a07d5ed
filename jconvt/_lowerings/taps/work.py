"""The counts of `tap_sums`, and how its sums are parted into loops. No jax import."""

import math

from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.patches.blocks import cut_axes, keep_taps
from jconvt._lowerings.work import Work, copied, filled, moves

_FUSED_TERMS = 6
"""Of a sum that is fused with an interleave, and still vectorised."""

_MOST_TERMS = 128
"""Of a sum in one loop: each term of a longer one takes up to eight times as long."""

_MOST_OFFSETS = 25
"""At which one loop reads the cotangent: more evict each other from the cache."""

_MOST_IN_LOOP = 32
_LONG_LOOP = 12
"""With features last XLA:CPU makes no vector code of the sum of more taps for one
output; timed with 5 x 5 x 5 taps."""

_NARROWEST = 8
"""Pairs of an input and an output channel. A gradient with features last takes as long
for each product as with eight of them, where it has fewer."""

_MOST_SERVED = 3
"""Input channels that cost no more than one, where there is one output channel: with
features last XLA:CPU loads an element of the cotangent once for all of them. Timed with
2 to 64 input channels."""

_INTERLEAVED = 2
"""A short sum that is fused with an interleave takes so many times as long."""

_MOST_RESIDUES = 8
_SCATTERED = 4
"""With features first XLA:CPU interleaves residues element by element where a stride is
above 2, or where there are more than eight residues. An element then costs as much as
so many of `regrouped`, 2.4 ns: between the 0.5 to 1.2 ns of an Intel Xeon (timed with
strides up to 16 over one to three axes) and the 5 ns of an AMD EPYC."""


def is_apart(geometry: Geometry, terms: int) -> bool:
    """Whether sums of so many terms are made before their residues are interleaved.

    XLA:CPU would fuse the two. Where the last axis is interleaved, it makes vector code
    of that only if the sums are short.
    """
    return geometry.stride[-1:] > (1,) and terms > _FUSED_TERMS


def _is_scattered(geometry: Geometry) -> bool:
    """Whether residues are interleaved element by element."""
    far = max(geometry.stride, default=1) > 2
    return far or math.prod(geometry.stride) > _MOST_RESIDUES


def loops_of_terms(terms: int) -> int:
    """How many loops add up one residue of an output."""
    return -(-terms // _MOST_TERMS)


def loops_of_taps(taps: int) -> int:
    """How many loops add up an input gradient: each tap is an offset."""
    return -(-taps // _MOST_OFFSETS)


def rows_at_once(rows: int) -> int:
    """Of 8, 7, 6 and 5 rows the number with the smallest remainder."""
    return min(rows, max((8, 7, 6, 5), key=lambda n: (-(rows % n), n)))


def channels_of_group(problem: Problem) -> tuple[int, int]:
    """Input and output channels of one group."""
    groups = problem.geometry.groups
    return problem.in_channels // groups, problem.out_channels // groups


def work_of_output(problem: Problem, first: bool) -> Work:
    """The counts of an output, with features `first` or last."""
    geometry, outputs = problem.geometry, problem.outputs
    each, _ = channels_of_group(problem)
    cuts = cut_axes(geometry, problem.size, (False,) * geometry.rank, early=True)
    taps = math.prod(
        cut.count * sum(len(c.residues) * c.taps for c in cut.classes) for cut in cuts
    )
    terms = each * math.prod(max(c.taps for c in cut.classes) for cut in cuts)
    residues = math.prod(geometry.stride)
    parts = math.prod(len(cut.spans) for cut in cuts)
    apart = first and is_apart(geometry, terms)
    if first:
        slow = 1 if apart or geometry.stride[-1:] <= (1,) else _INTERLEAVED
        width = cuts[-1].count if cuts else 1
    else:
        slow = _LONG_LOOP if terms > _MOST_IN_LOOP else 1
        width = problem.out_channels
    products = problem.batch * each * problem.out_channels * taps
    joined = outputs if parts > 1 or (first and residues > 1) else 0
    # The padded input, and in another layout or apart from the interleave the output.
    other = first != problem.features_first
    read = problem.inputs + problem.weights
    padded = math.prod(
        n + sum(cut.pad) for n, cut in zip(problem.size, cuts, strict=True)
    )
    loops = loops_of_terms(terms) if first else 1
    sums = (loops if loops > 1 else 0) + (parts > 1)
    most = copied(problem, first) + problem.batch * problem.in_channels * padded
    return Work(
        multiply_adds=products,
        summed=_lanes(slow * products, width),
        joined=joined,
        strided=joined if first and residues > 1 else 0,
        regrouped=_SCATTERED * outputs if first and _is_scattered(geometry) else 0,
        prepared=problem.weights,
        calls=parts,
        temporary=read + (other + apart) * outputs,
        peak=most + problem.weights + (sums + other) * outputs,
        **moves(problem, first),
    )


def work_of_gradient(problem: Problem, first: bool, which: Map) -> Work:
    """The counts of a gradient; that of the weight is made with features last."""
    geometry, outputs = problem.geometry, problem.outputs
    each, others = channels_of_group(problem)
    kept, _ = keep_taps(geometry.axes, problem.size)
    taps = math.prod(stop - start for start, stop in kept)
    products = problem.inputs * others * taps
    pairs = max(each * problem.out_channels, _NARROWEST)
    row = math.prod(problem.size[-1:]) if first else pairs
    served = 1 if first or problem.out_channels > 1 else min(each, _MOST_SERVED)
    strided = first and any(stride > 1 for stride in geometry.stride)
    sizes = zip(geometry.axes, problem.size, strict=True)
    cropped = any(axis.low or axis.output_size(n) % axis.stride for axis, n in sizes)
    read = copied(problem, first) + outputs
    peak = read + _partial_sums(problem, which, taps)
    alive = read + cropped * outputs + problem.weights
    return Work(
        multiply_adds=products,
        summed=_lanes(products, row) // served,
        joined=outputs,
        strided=outputs if strided else 0,
        prepared=problem.weights,
        calls=1,
        temporary=max(alive, peak) if others > 1 else alive,
        peak=peak,
        **moves(problem, first),
    )


def _lanes(products: int, width: int) -> int:
    return -(-products // width) * filled(width)


def _partial_sums(problem: Problem, which: Map, taps: int) -> int:
    """Elements of sums that are still to be added up, which may be alive at once.

    Of an input gradient they are the sums of each loop, for every output channel. Of a
    weight gradient they are the summed rows of all taps.
    """
    _, others = channels_of_group(problem)
    pairs = problem.inputs * others
    if which == Map.WEIGHT:
        rows = problem.size[0] if problem.size else problem.batch
        return taps * pairs // max(1, rows_at_once(rows))
    loops = loops_of_taps(taps)
    if loops == 1:
        return pairs if others > 1 else 0
    return pairs * (loops + (others > 1))
