"""What a test cannot pass under, for a reason that is not this library's: its marks."""

import jax
import pytest

mixes_dtypes = pytest.mark.skipif(
    jax.config.jax_numpy_dtype_promotion == "strict",
    reason="mixes dtypes on purpose, which jax_numpy_dtype_promotion=strict refuses",
)

counts_traces = pytest.mark.skipif(
    jax.config.jax_disable_jit,
    reason="counts traces, of which jax_disable_jit makes one a call",
)
