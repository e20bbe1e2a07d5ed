"""On several devices: what XLA's partitioner computes wrongly is not asked of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jconvt

KINDS = (AxisType.Auto, AxisType.Auto)


@pytest.mark.parametrize("lowering", ["auto", "phases", "fused_phases"])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("apart", [1, 2])
def test_a_weight_gradient_is_counted_once(apart, groups, lowering):
    """With the batch along one of two mesh axes: that of grouped phases was not.

    Stride and dilation 2 are computed as stride and dilation 1.
    """
    mesh = jax.make_mesh((2, 4), ("images", "other"), axis_types=KINDS)
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, (4, 8, 24, 24)).astype(np.float32)
    w = rng.integers(-4, 5, (8, 8 // groups, 3, 3)).astype(np.float32)

    @jax.jit
    def gradient(x, w):
        def loss(w):
            y = jconvt.conv_transpose2d(
                x,
                w,
                stride=apart,
                dilation=apart,
                padding=apart,
                groups=groups,
                lowering=lowering,
            )
            return jnp.sum(y**2)

        return jax.grad(loss)(w)

    expected = gradient(x, w)
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("images")))
    whole = jax.device_put(w, NamedSharding(mesh, PartitionSpec()))
    np.testing.assert_array_equal(gradient(sharded, whole), expected)
