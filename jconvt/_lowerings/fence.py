"""`fenced`: a call that XLA:CPU does not fuse with the code around it.

Without it, XLA:CPU repeats the rearrangement of a GEMM's operand for each GEMM that
reads it, and fuses the rearrangement of several results into one loop with strided
reads. That is up to five times slower than to rearrange once, into contiguous memory.

`jax.lax.optimization_barrier` does not help, because jaxlib 0.10 removes it before
fusion. A call that is not inlined does: its arguments and results are arrays in memory.
A frontend attribute tells XLA not to inline it; where XLA does not know the attribute,
only time is lost.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata


def fenced(function: Callable[..., Any], *arrays: Any) -> Any:
    """``function(*arrays)`` as a call that is not fused; nor is its transpose."""
    with set_xla_metadata(inlineable="false"):
        return jax.jit(function)(*arrays)
