"""im2col without inserted zeros: patches of the input, one GEMM for each residue class.

The output is cut into blocks of ``stride`` outputs. A row of the patch matrix holds the
input elements that one block needs, and the GEMM makes the block's residues as its
features::

    y[q, (r, c_out)] = sum of patches[q, (m, c_in)] * taps[(m, c_in), (r, c_out)]

Residues that need different elements are in different classes, with a GEMM each. The
only zeros multiplied are those of the border, and the only cropped outputs computed are
in the first and the last block. It computes every geometry with a few hundred patch
slices at most; the patches take memory. See `jconvt._lowerings.patches.lower`.
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
    """`lower_patches` without minimal filtering on any axis."""
    paired = (False,) * call.geometry.rank
    return lower_patches(x, w, call, variant, which, paired)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """The counts of one map."""
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
