"""Low-resolution patches and one GEMM for each class of output residues.

The patches of the *undilated* input hold what one block of outputs reads; the GEMM's
features are the residues of the block. See `jconvt._lowerings._patches`. Nothing that
is cropped is computed but the rest of a block, no zero is multiplied but the border's.
"""

import jax

from jconvt._geometry import Geometry
from jconvt._layout import Layout
from jconvt._lowerings._blocks import too_many_slices
from jconvt._lowerings._common import Lowering
from jconvt._lowerings._patch_work import variants_of_patches, work_of_patches
from jconvt._lowerings._patches import lower_patches
from jconvt._lowerings._problem import Problem, Slot, Variant, Work
from jconvt._numerics import Numerics


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
