"""One process of several that train together: rank, processes, port, file of results.

A script of `test_distributed.py`: JAX must know of the others before it starts.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jconvt

STEPS, BATCH = 5, 8


def decode(weights, latent):
    hidden = jconvt.conv_transpose2d(latent, weights["first"], stride=2, padding=1)
    hidden = jax.nn.tanh(hidden + weights["bias"][:, None, None])
    return jconvt.conv_transpose2d(hidden, weights["second"], stride=2)


def data():
    """All of the batch; a process hands on what lies on its devices."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(BATCH, 4, 3, 3)), rng.normal(size=(BATCH, 2, 12, 12))


def initial():
    rng = np.random.default_rng(1)
    shapes = {"first": (4, 6, 4, 4), "bias": (6,), "second": (6, 2, 2, 2)}
    return {name: 0.3 * rng.normal(size=shape) for name, shape in shapes.items()}


def train():
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    rows, whole = (NamedSharding(mesh, PartitionSpec(*p)) for p in (("data",), ()))

    def place(array, sharding):
        return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)

    def loss(weights, latent, target):
        return jnp.mean((decode(weights, latent) - target) ** 2)

    @jax.jit
    def step(weights, latent, target):
        gradients = jax.grad(loss)(weights, latent, target)
        return jax.tree.map(lambda w, g: w - 0.5 * g, weights, gradients)

    weights = {name: place(w, whole) for name, w in initial().items()}
    arrays = [place(array, rows) for array in data()]
    for _ in range(STEPS):
        weights = step(weights, *arrays)
    return {name: np.asarray(w.addressable_data(0)) for name, w in weights.items()}


def main():
    rank, count, port, path = sys.argv[1:]
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    if int(count) > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", int(count), int(rank))
    np.savez(path, processes=jax.process_count(), devices=jax.device_count(), **train())


if __name__ == "__main__":
    main()
