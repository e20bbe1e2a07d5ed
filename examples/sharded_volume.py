"""Train on a volume of which no device ever holds more than its share.

A small decoder learns to make a volume four times as fine along each axis. Volume,
activations and cotangents are cut along their depth, a slab for each device, and the
two transposed convolutions exchange the edges of the slabs
(`jconvt.sharding.conv_transpose`). The weights are on every device, and their gradients
are summed. Without accelerators it runs on simulated devices:

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python examples/sharded_volume.py
"""

import argparse
import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import jconvt.sharding

FACTOR = 4
FEATURES = 8
SLABS = PartitionSpec(None, None, "slabs")
WHOLE = PartitionSpec()

# Twice the size, exactly: so each slab of the output is made of one of the input.
enlarge = partial(
    jconvt.sharding.conv_transpose,
    mesh_axes=("slabs", None, None),
    stride=2,
    padding=1,
)


class Weights(NamedTuple):
    """Two layers, each ``(C_in, C_out, 4, 4, 4)`` with a bias."""

    first: jax.Array
    first_bias: jax.Array
    second: jax.Array
    second_bias: jax.Array


def initial(key: jax.Array) -> Weights:
    """Random kernels; each output element is reached by 2 taps an axis."""
    one, two = jax.random.split(key)
    kernel = (4, 4, 4)
    return Weights(
        jax.random.normal(one, (1, FEATURES, *kernel)) / math.sqrt(8),
        jnp.zeros(FEATURES),
        jax.random.normal(two, (FEATURES, 1, *kernel)) / math.sqrt(8 * FEATURES),
        jnp.zeros(1),
    )


def decode(weights: Weights, coarse: jax.Array) -> jax.Array:
    """A slab of ``(1, 1, D, H, W)`` -> a slab four times as fine."""
    features = enlarge(coarse, weights.first, weights.first_bias)
    return enlarge(jax.nn.gelu(features), weights.second, weights.second_bias)


def average(volume: jax.Array) -> jax.Array:
    """The mean of each cube of ``FACTOR`` elements a side."""
    window = (1, 1, FACTOR, FACTOR, FACTOR)
    total = lax.reduce_window(volume, 0.0, lax.add, window, window, "VALID")
    return total / FACTOR**3


def loss(weights: Weights, volume: jax.Array) -> jax.Array:
    """The mean squared error over all slabs."""
    error = decode(weights, average(volume)) - volume
    return lax.pmean(jnp.mean(error**2), "slabs")


def slab(index: tuple[slice, ...], size: int) -> np.ndarray:
    """A part of the volume: spheres, as a function of where a voxel is."""
    axes = [(np.arange(size)[part] + 0.5) / size for part in index[2:]]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    waves = np.sin(9 * x) * np.sin(7 * y) * np.sin(11 * z)
    return np.tanh(8 * waves).astype(np.float32)[None, None]


def load(mesh: Mesh, size: int) -> jax.Array:
    """The volume ``(1, 1, size, size, size)``, each device's slab made for it alone."""
    shape = (1, 1, size, size, size)
    sharding = NamedSharding(mesh, SLABS)
    return jax.make_array_from_callback(shape, sharding, lambda i: slab(i, size))


def train(mesh: Mesh, size: int, steps: int, rate: float = 0.3) -> Iterator[float]:
    """The loss before each step of gradient descent."""
    volume = load(mesh, size)
    weights = jax.device_put(initial(jax.random.key(0)), NamedSharding(mesh, WHOLE))
    step = compiled_step(mesh, weights, volume, rate)
    for _ in range(steps):
        value, weights = step(weights, volume)
        yield float(value)


def compiled_step(
    mesh: Mesh, weights: Weights, volume: jax.Array, rate: float
) -> jax.stages.Compiled:
    """(weights, volume) -> (loss, new weights), as one program for all devices."""
    shared = jax.shard_map(
        loss, mesh=mesh, in_specs=(WHOLE, SLABS), out_specs=PartitionSpec()
    )

    @jax.jit
    def step(weights: Weights, volume: jax.Array) -> tuple[jax.Array, Weights]:
        value, gradients = jax.value_and_grad(shared)(weights, volume)
        descend = lambda w, g: w - rate * g  # noqa: E731
        return value, jax.tree.map(descend, weights, gradients)

    return step.lower(weights, volume).compile()


def main(arguments: list[str] | None = None) -> None:
    """Train, and say what a device holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=96, help="voxels a side")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args(arguments)
    count = jax.device_count()
    mesh = jax.make_mesh((count,), ("slabs",), axis_types=(AxisType.Auto,))
    if options.size % (FACTOR * count):
        parser.error(
            f"--size must be a multiple of {FACTOR * count} on {count} devices"
        )
    volume = load(mesh, options.size)
    share = volume.addressable_shards[0].data.nbytes
    print(f"volume {volume.nbytes:,} bytes, of which a device holds {share:,}")
    for i, value in enumerate(train(mesh, options.size, options.steps)):
        print(f"step {i:3}  loss {value:.5f}")


if __name__ == "__main__":
    main()
