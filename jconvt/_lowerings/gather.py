"""Low-resolution patches and one GEMM for each class of output residues.

The patches of the *undilated* input hold what one block of outputs reads; the GEMM's
features are the residues of the block. See `jconvt._lowerings.patches.lower`. Nothing
that is cropped is computed but the rest of a block, no zero is multiplied but the
border's.
"""

import jax

from jconvt._call.geometry import Geometry
from jconvt._call.layout import Layout
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Problem, Slot, Variant, Work
from jconvt._lowerings.patches.blocks import too_many_slices
from jconvt._lowerings.patches.lower import lower_patches
from jconvt._lowerings.patches.work import variants_of_patches, work_of_patches
from jconvt._lowerings.row import Lowering


def lower(
    x: jax.Array,
    w: jax.Array,
    geometry: Geometry,
    layout: Layout,
    numerics: Numerics,
    variant: Variant,
    slot: Slot,
) -> jax.Array:
    """Patches on every axis, no pairs."""
    paired = (False,) * geometry.rank
    return lower_patches(x, w, geometry, layout, numerics, variant, slot, paired)


def work(problem: Problem, variant: Variant, slot: Slot) -> Work:
    """What each of the three maps takes."""
    return work_of_patches(problem, variant, (False,) * problem.geometry.rank, slot)


LOWERING = Lowering(
    name="gather",
    summary="patches of the input, one GEMM for each class of output residues",
    lower=lower,
    unsupported=too_many_slices,
    variants=variants_of_patches,
    work=work,
    own_layout=True,
    static_space=True,
)
