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

is_about_jit = pytest.mark.skipif(
    jax.config.jax_disable_jit, reason="is about what jax.jit makes of a call"
)

keeps_traces = pytest.mark.skipif(
    jax.config.jax_check_tracer_leaks,
    reason="looks for traces that are kept, and jax_check_tracer_leaks keeps none",
)
