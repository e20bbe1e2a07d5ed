"""Weight and spectral norm of a weight ``(C_in, C_out/groups, *K)``, as in PyTorch.

Axes (`dim`) count in that weight, whatever the layout of the layer that owns it. The
formulas are those of `torch.nn.utils.parametrizations`, so that what it stores (the
magnitude, the two vectors) is what the layers here store.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.arguments import check_int, is_int

STARTING_STEPS = 15
"""Power iterations on the random vectors of a new layer, as in PyTorch."""


def check_axis(name: str, dim: Any, axes: int) -> int:
    """`dim` as an axis of the weight counted from 0, or the error.

    Not from the end: PyTorch's `weight_norm` reads -1 as None.
    """
    rule = "must be an axis of the weight (C_in, C_out/groups, *kernel), from 0 to"
    if not is_int(dim):
        raise TypeError(
            f"{name}: `dim` {rule} {axes - 1}; got {dim!r} of type "
            f"{type(dim).__name__}."
        )
    if not 0 <= dim < axes:
        raise ValueError(f"{name}: `dim` {rule} {axes - 1}; got {dim}.")
    return int(dim)


def check_steps(name: str, n_steps: Any) -> int:
    """The number of power iterations, at least 1."""
    return check_int(name, "n_steps", n_steps, 1)


def magnitude(weight: jax.Array, dim: int | None) -> jax.Array:
    """Euclidean norm over all axes but `dim`, which are kept with size 1.

    None: over all axes, a scalar.
    """
    squares = jnp.square(jnp.abs(weight))
    if dim is None:
        return jnp.sqrt(jnp.sum(squares))
    others = tuple(axis for axis in range(weight.ndim) if axis != dim)
    return jnp.sqrt(jnp.sum(squares, others, keepdims=True))


def weight_normalized(
    direction: jax.Array, scale: jax.Array, dim: int | None
) -> jax.Array:
    """The weight of that direction with norms `scale` along `dim`."""
    return direction * (scale / magnitude(direction, dim))


def _matrix(weight: jax.Array, dim: int) -> jax.Array:
    """The weight as a matrix with axis `dim` as rows and all others as columns."""
    rows = jnp.moveaxis(weight, dim, 0)
    return rows.reshape(rows.shape[0], -1)


Vectors = tuple[jax.Array, jax.Array]
"""Estimates of the first left and right singular vector of the matrix."""


def starting_vectors(
    weight: jax.Array, dim: int, keys: Vectors, epsilon: float
) -> Vectors:
    """Estimates from random vectors."""
    u, v = (
        _unit(jax.random.normal(key, (size,), weight.dtype), epsilon)
        for key, size in zip(keys, _matrix(weight, dim).shape, strict=True)
    )
    return power_iteration(weight, dim, (u, v), STARTING_STEPS, epsilon)


def power_iteration(
    weight: jax.Array, dim: int, vectors: Vectors, steps: int, epsilon: float
) -> Vectors:
    """Better estimates; constants for differentiation."""
    matrix = lax.stop_gradient(_matrix(weight, dim))
    u, v = vectors
    for _ in range(steps):
        u = _unit(matrix @ v, epsilon)
        v = _unit(matrix.conj().T @ u, epsilon)
    return u, v


def spectral_normalized(weight: jax.Array, dim: int, vectors: Vectors) -> jax.Array:
    """The weight over its first singular value, u^H W v."""
    u, v = lax.stop_gradient(vectors)
    return weight / jnp.vdot(u, _matrix(weight, dim) @ v)


def _unit(vector: jax.Array, epsilon: float) -> jax.Array:
    return vector / jnp.maximum(jnp.linalg.norm(vector), epsilon)
