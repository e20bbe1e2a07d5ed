"""Settings of every test: eight simulated devices, and Hypothesis without a clock."""

import os

from hypothesis import HealthCheck, settings

# Before JAX is imported; the sharding tests need several devices.
_FLAG = "--xla_force_host_platform_device_count=8"
if _FLAG not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# The first call of a shape compiles, so that a time limit would measure XLA. The same
# examples every time: a failure in CI is one on any machine.
settings.register_profile(
    "jconvt",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("jconvt")
