"""`gather` with pairs of blocks made by minimal filtering: fewer multiplications.

Along an axis whose residues have 2 or 3 taps, a pair of blocks takes 3 products in
place of 4, or 4 in place of 6 (`jconvt._lowerings.patches.filters`). With a kernel of 4
and stride 2 on two axes that is 9 in place of 16. The price is sums of patches and of
products, and a kernel for every product.
"""

import jax
import jax.numpy as jnp

from jconvt._call.geometry import Axis, Geometry, Phase
from jconvt._call.layout import Layout
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Problem, Slot, Variant, Work
from jconvt._lowerings.patches.blocks import too_many_slices
from jconvt._lowerings.patches.filters import PAIRS
from jconvt._lowerings.patches.lower import lower_patches
from jconvt._lowerings.patches.work import variants_of_patches, work_of_patches
from jconvt._lowerings.row import Lowering


def unsupported(geometry: Geometry) -> str | None:
    """Some axis must gain by pairs."""
    reason = too_many_slices(geometry)
    if reason is None and not any(map(is_paired, geometry.axes)):
        return (
            "it needs an axis whose output residues have 2 or 3 neighbouring taps at "
            "most, that is a kernel size from stride + 1 to 3*stride, undilated"
        )
    return reason


def is_paired(axis: Axis) -> bool:
    """Whether blocks along this axis are made in pairs."""
    phases = axis.phases()
    return any(p.taps > 1 for p in phases) and all(map(_is_short, phases))


def _is_short(phase: Phase) -> bool:
    return phase.taps in (0, *PAIRS) and (phase.dilation == 1 or phase.taps <= 1)


def lower(
    x: jax.Array,
    w: jax.Array,
    geometry: Geometry,
    layout: Layout,
    numerics: Numerics,
    variant: Variant,
    slot: Slot,
) -> jax.Array:
    """Patches, in pairs wherever an axis gains by it.

    Integers are not paired: a filter of 3 taps has halves.
    """
    exact = not jnp.issubdtype(x.dtype, jnp.inexact)
    paired = tuple(not exact and is_paired(axis) for axis in geometry.axes)
    return lower_patches(x, w, geometry, layout, numerics, variant, slot, paired)


def work(problem: Problem, variant: Variant, slot: Slot) -> Work:
    """What each of the three maps takes."""
    paired = tuple(map(is_paired, problem.geometry.axes))
    return work_of_patches(problem, variant, paired, slot)


LOWERING = Lowering(
    name="winograd",
    summary="patches, and GEMMs of pairs of blocks with fewer multiplications",
    lower=lower,
    unsupported=unsupported,
    variants=variants_of_patches,
    work=work,
    own_layout=True,
    static_space=True,
)
