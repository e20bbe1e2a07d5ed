"""jconvt: transposed convolution for JAX, exact, fast and at home in Flax.

Functions are here; Flax layers are in `jconvt.nnx` and `jconvt.linen`, which are
imported on their own, so that `import jconvt` imports no Flax. `jconvt.sharding` is for
arrays whose space lies on several devices.
"""

import sys
import typing

from jconvt._functional import (
    conv_transpose,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from jconvt._shapes import output_shape

if typing.TYPE_CHECKING:
    from jconvt._explain import explain
    from jconvt._explanation import Candidate, Estimate, Explanation

# Here and nowhere else: the build reads this line. A checkout on PYTHONPATH may have no
# metadata of an installation, or those of another version.
__version__ = "0.1.0"

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


_IMPORTED_ALONE = ("initializers", "interop", "linen", "nnx", "plot", "sharding")
"""Modules that `import jconvt` leaves alone, for what they import."""


def __getattr__(name: str) -> typing.Any:
    """What `explain` needs, all lowerings, is loaded when it is asked for."""
    if name not in ("Candidate", "Estimate", "Explanation", "explain"):
        hint = f"; `import jconvt.{name}` first" if name in _IMPORTED_ALONE else ""
        # With name and obj Python adds what may have been meant.
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}{hint}",
            name=name,
            obj=sys.modules[__name__],
        )
    from jconvt import _explain

    return getattr(_explain, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
