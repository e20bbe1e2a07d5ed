"""Types of arrays inside `jax.shard_map`, which say over which devices they vary."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType


def alike(*arrays: jax.Array) -> list[jax.Array]:
    """The arrays, as varying over every mesh axis over which any of them does.

    An operation that computes one array from several wants that of its operands. The
    transpose sums the cotangent of an array that did not vary over the devices.
    """
    axes = [_varying(jax.typeof(a)) for a in arrays]
    every = frozenset[str]().union(*axes)
    return [
        _vary(a, tuple(sorted(every - own)))
        for a, own in zip(arrays, axes, strict=True)
    ]


def _varying(kind: Any) -> frozenset[str]:
    # jax before 0.10 has the names themselves.
    return kind.vma if hasattr(kind, "vma") else kind.mat.varying


def _vary(a: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    if not axes:
        return a
    # XLA:CPU ends the process (jaxlib 0.10) where cotangents of 16 bits are summed over
    # a mesh of which other axes are not manual; `lax.psum` alone does so too.
    kinds = set(jax.sharding.get_abstract_mesh().axis_types)
    is_short = jnp.issubdtype(a.dtype, jnp.floating) and a.dtype.itemsize < 4
    if is_short and kinds != {AxisType.Manual}:
        return _as_varying(a.astype(jnp.float32), axes).astype(a.dtype)
    return _as_varying(a, axes)


def _as_varying(a: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    if hasattr(lax, "pcast"):
        return lax.pcast(a, axes, to="varying")
    return lax.pvary(a, axes)  # jax 0.8  # pyright: ignore[reportAttributeAccessIssue]
