"""jconvt: transposed convolution for JAX, exact, fast and at home in Flax.

Functions are here; Flax layers are in `jconvt.nnx` and `jconvt.linen`, which are
imported on their own, so that `import jconvt` imports no Flax.
"""

from importlib.metadata import version

from jconvt._explain import explain
from jconvt._explanation import Candidate, Estimate, Explanation
from jconvt._functional import (
    conv_transpose,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from jconvt._shapes import output_shape

__version__ = version("jconvt")

__all__ = [
    "Candidate",
    "Estimate",
    "Explanation",
    "__version__",
    "conv_transpose",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "explain",
    "output_shape",
]
