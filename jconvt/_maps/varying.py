"""Types of arrays inside `jax.shard_map`, which say over which devices they vary."""

from typing import Any

import jax
from jax import lax


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
    if hasattr(lax, "pcast"):
        return lax.pcast(a, axes, to="varying")
    return lax.pvary(a, axes)  # jax 0.8  # pyright: ignore[reportAttributeAccessIssue]
