"""A fence that XLA:CPU does not fuse across.

XLA:CPU fuses the packing of a GEMM's operand into a loop of its own for each GEMM that
reads it, and the unpacking of several GEMMs' results into one loop with strided reads:
up to five times slower than packing once, contiguously, and keeping it.
`jax.lax.optimization_barrier` does not hold there (jaxlib 0.10 expands it before
fusion). A call that is not inlined does: what it takes and what it gives are arrays in
memory. XLA's inliner leaves alone a call whose frontend attribute says so; where the
attribute is not known, the call is inlined and only time is lost.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata


def fenced(function: Callable[..., Any], *arrays: Any) -> Any:
    """``function(*arrays)``, computed apart; its transpose is computed apart too."""
    with set_xla_metadata(inlineable="false"):
        return jax.jit(function)(*arrays)
