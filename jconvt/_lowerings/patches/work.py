"""The counts and the variants of the lowerings by patches. No jax import."""

import math
from collections.abc import Sequence

from jconvt._call.problem import Map, Problem
from jconvt._lowerings.patches.blocks import Blocks, combinations_of, cut_axes
from jconvt._lowerings.work import (
    Variant,
    Work,
    copied,
    filled,
    lanes_of_product,
    moves,
    regrouped,
)


def elements_at_once(elements: int, nbytes: int) -> int:
    """How many of a block's elements one GEMM takes, if all patches have `nbytes`.

    Larger patches are made in equal parts, whose products are added.
    """
    gemms = min(elements, -(-nbytes // PATCH_BYTES))
    return -(-elements // gemms)


_SHORT_ROW = 4
"""With features last, a patch is made of rows of an element's channels. A row of fewer
takes as long as this many."""

PATCH_BYTES = 8 * 2**20
"""Patches of one GEMM have about this size at most."""


def variants_of_patches(problem: Problem) -> tuple[Variant, ...]:
    """Features first or last, and blocks early or not where that differs."""
    differ = any(a.low % a.stride for a in problem.geometry.axes)
    return tuple(
        Variant(first=first, early=early)
        for first in (True, False)
        for early in ((False, True) if differ else (False,))
    )


def work_of_patches(
    problem: Problem, variant: Variant, paired: tuple[bool, ...], which: Map
) -> Work:
    """The counts of `lower_patches` for one map."""
    geometry = problem.geometry
    cuts = cut_axes(geometry, problem.size, paired, variant.early)
    positions = problem.batch * math.prod(cut.tiles for cut in cuts)
    groups = geometry.groups
    macs = lanes = operands = gathered = kernels = made = calls = 0
    most_parts = 1
    for combination in combinations_of(cuts):
        pairs = list(zip(cuts, combination, strict=True))
        gemms = math.prod(cut.products(residues) for cut, residues in pairs)
        elements = math.prod(1 if cut.paired else r.taps for cut, r in pairs)
        features = math.prod(len(r.residues) for r in combination)
        k = elements * problem.in_channels // groups
        f = features * problem.out_channels // groups
        macs += gemms * groups * positions * k * f
        each = lanes_of_product(positions, k, f, variant.first, which)
        lanes += gemms * groups * each
        patches = gemms * groups * positions * k
        nbytes = elements * problem.inputs * problem.itemsize
        parts = -(-elements // elements_at_once(elements, nbytes))
        most_parts = max(most_parts, parts)
        products = gemms * groups * positions * f
        operands += patches + parts * products + gemms * groups * k * f
        gathered += patches
        kernels += gemms * groups * k * f
        made += products
        calls += gemms * parts
    unpadded = all(cut.pad == (0, 0) for cut in cuts)
    if not any(paired) and gathered == problem.inputs and unpadded:
        gathered = 0  # the only patch is the input as it is
    moved = copied(problem, variant.first)
    joined = made + problem.outputs
    strided = 0
    summed_in, summed_out = gathered, joined
    if any(paired) and not variant.first:
        # Rows shorter than a vector are summed no faster than a vector is.
        channels, row = problem.in_channels, problem.out_channels * geometry.stride[-1]
        summed_in = gathered * filled(channels) // channels
        summed_out = joined * filled(row) // row
    elif not variant.first:
        summed_in = gathered * -(-_SHORT_ROW // problem.in_channels)
    if variant.first and geometry.rank:
        strided += joined if geometry.stride[-1] > 1 else 0
        if paired[-1] and which == Map.OUTPUT:
            # Pairs are neighbours along the vectorised axis, and are read by strides.
            strided += 6 * gathered + 2 * joined
    return Work(
        multiply_adds=macs,
        lanes=lanes,
        operands=operands,
        gathered=summed_in,
        joined=summed_out,
        strided=strided,
        regrouped=0
        if variant.first
        else regrouped(problem, gathered) + regrouped(problem, made, of_output=True),
        prepared=kernels,
        calls=calls,
        temporary=moved + gathered + made + kernels,
        peak=moved
        + kernels
        + _most_alive(problem, variant, which, cuts, gathered, made, most_parts),
        **moves(problem, variant.first),
    )


def _most_alive(
    problem: Problem,
    variant: Variant,
    which: Map,
    cuts: Sequence[Blocks],
    gathered: int,
    made: int,
    parts: int,
) -> int:
    """Elements of patches and products alive at once, in XLA:CPU's programs at worst.

    Patches are copied once more where the matrices of groups are brought side by side,
    and into the operand of a weight gradient's GEMM. Products are copied once more
    where they are joined from several classes, twice where these are joined along
    several axes, where they do not go straight into the result, and where the
    products of several parts of the patches are added, of which each pads the input.
    Taken from `memory_analysis` of about 700 programs.
    """
    grouped = problem.geometry.groups > 1
    if grouped:
        gathered = max(gathered, problem.inputs)
    joins = min(sum(len(cut.classes) > 1 for cut in cuts), 2)
    output = which == Map.OUTPUT
    straight = output and not grouped and variant.first == problem.features_first
    again = grouped or which == Map.WEIGHT
    products = 1 if parts == 1 and (straight or (output and joins)) else 2
    padded = problem.inputs if parts > 1 else 0
    return padded + max(
        (1 + again) * gathered + made,
        gathered + products * made,
        (1 + joins) * made if joins or output else 2 * made,
    )
