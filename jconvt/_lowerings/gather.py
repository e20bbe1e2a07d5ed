"""Low-resolution patches and one GEMM for each class of output residues.

The patches of the *undilated* input hold what one block of outputs reads; the GEMM's
features are the residues of the block. See `jconvt._lowerings.patches.lower`. Nothing
that is cropped is computed but the rest of a block, no zero is multiplied but the
border's.
"""

import jax

from jconvt._call.call import Call
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.patches.blocks import too_many_slices
from jconvt._lowerings.patches.lower import lower_patches
from jconvt._lowerings.patches.work import variants_of_patches, work_of_patches
from jconvt._lowerings.row import Lowering, takes_all
from jconvt._lowerings.work import Variant, Work


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """Patches on every axis, no pairs."""
    paired = (False,) * call.geometry.rank
    return lower_patches(x, w, call, variant, which, paired)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """What each of the three maps takes."""
    return work_of_patches(problem, variant, (False,) * problem.geometry.rank, which)


LOWERING = Lowering(
    name="gather",
    summary="patches of the input, one GEMM for each class of output residues",
    lower=lower,
    unsupported=too_many_slices,
    variants=variants_of_patches,
    work=work,
    not_on_cpu=takes_all,
    own_layout=True,
    static_space=True,
)
