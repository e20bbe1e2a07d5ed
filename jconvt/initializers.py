"""Initializers for transposed convolutions, in the style of `jax.nn.initializers`.

Each function here returns an initializer ``init(key, shape, dtype)``, for the layers of
this library (``weight_init``, ``bias_init``) and for any others.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes, lax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from jconvt._arguments import Shape, check_int


def torch_uniform(
    *, fan_in: int | None = None, dtype: DTypeLike | None = None
) -> Initializer:
    """PyTorch's default initialization of a transposed convolution.

    Uniform in [-b, b) with ``b = 1/sqrt(fan_in)``, for the weight and for the bias.
    PyTorch counts the fan-in of a transposed layer as ``C_out/groups * prod(K)``: of
    the *output* channels, although it is the input channels that are summed over.

    Args:
      fan_in: None (the default): derived from the shape, which must then be a weight's,
        ``(C_in, C_out/groups, *K)``. For a bias: give the weight's.
      dtype: dtype where the initializer is called with none; JAX's default float if
        None. Of a complex dtype real and imaginary part are drawn independently.

    Returns:
      ``init(key, shape, dtype)``.

    Raises:
      TypeError: `fan_in` is not an int.
      ValueError: `fan_in` is negative; in the initializer, a shape that tells no
        fan-in, or a dtype neither floating nor complex.

    Example:
      >>> import jax, jconvt.initializers
      >>> init = jconvt.initializers.torch_uniform()
      >>> weight = init(jax.random.key(0), (8, 4, 5, 5))
      >>> weight.shape, bool(abs(weight).max() <= 0.1)
      ((8, 4, 5, 5), True)
      >>> init = jconvt.initializers.torch_uniform(fan_in=4 * 5 * 5)
      >>> init(jax.random.key(1), (4,), "bfloat16").dtype
      dtype(bfloat16)
    """
    if fan_in is not None:
        check_int("torch_uniform", "fan_in", fan_in, 0)
    default_dtype = float if dtype is None else dtype

    def init(
        key: jax.Array,
        shape: Shape,
        dtype: DTypeLike | None = None,
        out_sharding: Any = None,
    ) -> jax.Array:
        # At least 1, so that a layer without output channels has (empty) parameters.
        bound = 1 / math.sqrt(max(_fan_in(shape) if fan_in is None else fan_in, 1))
        wanted = default_dtype if dtype is None else dtype
        result = np.dtype(dtypes.canonicalize_dtype(wanted))
        if not jnp.issubdtype(result, jnp.inexact):
            raise ValueError(
                f"torch_uniform: `dtype` must be floating or complex; got {result}."
            )

        def draw(key: jax.Array, dtype: np.dtype[Any]) -> jax.Array:
            return jax.random.uniform(
                key, tuple(shape), dtype, -bound, bound, out_sharding=out_sharding
            )

        if jnp.issubdtype(result, jnp.complexfloating):
            real = np.finfo(result).dtype
            return lax.complex(*(draw(k, real) for k in jax.random.split(key)))
        return draw(key, result)

    return init


def _fan_in(shape: Shape) -> int:
    """The fan-in of a weight (C_in, C_out/groups, *K), as PyTorch counts it."""
    if len(shape) < 2:
        raise ValueError(
            f"torch_uniform: `shape` must be a weight's, (C_in, C_out/groups, *kernel),"
            f" to tell the fan-in; got {tuple(shape)}. For a bias give `fan_in`."
        )
    return math.prod(shape[1:])
