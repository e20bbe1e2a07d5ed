"""`gather` with Winograd's minimal filtering: fewer multiplications, more additions.

Two neighbouring blocks are computed together, as a pair. Along an axis whose residues
have 2 or 3 taps each, that takes 3 multiplications instead of 4, or 4 instead of 6
(`jconvt._lowerings.patches.filters`); with a 4x4 kernel and stride 2 it is 9 instead of
16. In return, sums of input elements and of products must be computed, and there are
more kernels to prepare. It saves multiplications, not memory traffic.

It cannot be used if the residues have one tap or more than 3, and for integers and
16-bit floats it would lose accuracy.
"""

import jax
import jax.numpy as jnp

from jconvt._call.call import Call
from jconvt._call.geometry import Axis, Geometry, Phase
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.patches.blocks import too_many_slices
from jconvt._lowerings.patches.filters import PAIRS
from jconvt._lowerings.patches.lower import lower_patches
from jconvt._lowerings.patches.work import variants_of_patches, work_of_patches
from jconvt._lowerings.row import Lowering
from jconvt._lowerings.work import Variant, Work


def unsupported(geometry: Geometry) -> str | None:
    """At least one axis must need fewer multiplications in pairs."""
    reason = too_many_slices(geometry)
    if reason is None and not any(map(is_paired, geometry.axes)):
        return (
            "it needs an axis whose output residues have 2 or 3 neighbouring taps at "
            "most, that is a kernel size from stride + 1 to 3*stride, undilated"
        )
    return reason


def is_paired(axis: Axis) -> bool:
    """Whether blocks along this axis are computed in pairs."""
    phases = axis.phases()
    return any(p.taps > 1 for p in phases) and all(map(_is_short, phases))


def paired_axes(geometry: Geometry) -> tuple[bool, ...]:
    """The last two axes that pairs suit.

    Over three axes there are up to 64 products with kernels of their own, whose program
    takes up to two minutes to compile.
    """
    able = [i for i, axis in enumerate(geometry.axes) if is_paired(axis)]
    return tuple(i in able[-_MOST_PAIRED:] for i in range(geometry.rank))


_MOST_PAIRED = 2


def _is_short(phase: Phase) -> bool:
    return phase.taps in (0, *PAIRS) and (phase.dilation == 1 or phase.taps <= 1)


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """`lower_patches`, with pairs on axes that need fewer multiplications then.

    Integers are not paired, because the filter of 3 taps divides by 2.
    """
    exact = not jnp.issubdtype(x.dtype, jnp.inexact)
    paired = tuple(p and not exact for p in paired_axes(call.geometry))
    return lower_patches(x, w, call, variant, which, paired)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """The counts of one map."""
    paired = paired_axes(problem.geometry)
    return work_of_patches(problem, variant, paired, which)


def not_on_cpu(which: Map, problem: Problem) -> str | None:
    """Only in float32 and float64: sums before the products lose accuracy."""
    del which
    if problem.dtype.name in ("float32", "float64"):
        return None
    return "its sums would lose accuracy in this dtype"


LOWERING = Lowering(
    name="winograd",
    summary="patches, and GEMMs of pairs of blocks with fewer multiplications",
    lower=lower,
    unsupported=unsupported,
    variants=variants_of_patches,
    work=work,
    not_on_cpu=not_on_cpu,
    own_layout=True,
    static_space=True,
)
