"""Weights between the layouts of the frameworks.

Ours is PyTorch's, (C_in, C_out/groups, *K), and transposes a convolution. Frameworks
differ in where the channels stand, in which of the two is divided by the groups, and in
whether the taps are those of a convolution of the dilated input: then they run the
other way along every spatial axis.
"""

import jax
import jax.numpy as jnp


def flip(weight: jax.Array) -> jax.Array:
    """The taps of a weight (., ., *K) the other way round. Its own inverse."""
    return jnp.flip(weight, tuple(range(2, weight.ndim)))


def regroup(weight: jax.Array, groups: int) -> jax.Array:
    """(A, B/groups, *K) -> (B, A/groups, *K): the channels change roles in each group.

    Group g holds A/groups rows. For one group this is an exchange of two axes, for
    more it is not. Its own inverse.
    """
    a, b, *kernel = weight.shape
    grouped = jnp.reshape(weight, (groups, a // groups, b, *kernel))
    swapped = jnp.swapaxes(grouped, 1, 2)
    return jnp.reshape(swapped, (groups * b, a // groups, *kernel))


def from_channels_last(kernel: jax.Array) -> jax.Array:
    """(*K, C_out, C_in) -> (C_in, C_out, *K)."""
    rank = kernel.ndim - 2
    return jnp.transpose(kernel, (rank + 1, rank, *range(rank)))
