"""A training step by the gradient of each example, on several devices, and exported.

A decoder learns to enlarge pictures. Each example's gradient is clipped before they are
averaged, as training with differential privacy does: `jax.vmap` of `jax.grad`, with the
batch sharded over the devices, so that each device makes the gradients of its own
examples. The whole step is exported for CPU, CUDA, ROCm and TPU, stored, read again,
and trains on as the function does. Without accelerators it runs on simulated devices.
It needs flatbuffers, with which JAX stores:

    python examples/sharded_decoder.py
"""

import argparse
import os
from functools import partial
from typing import NamedTuple

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")

import jax
import jax.numpy as jnp
from jax import export, lax
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

import jconvt

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
FEATURES = 16

double = partial(jconvt.conv_transpose2d, stride=2, padding=1)


class Weights(NamedTuple):
    """Two transposed convolutions, ``(C_in, C_out, 4, 4)``, and biases."""

    first: jax.Array
    first_bias: jax.Array
    second: jax.Array
    second_bias: jax.Array


export.register_namedtuple_serialization(Weights, serialized_name="Weights")


def initial() -> Weights:
    """Random kernels; each output element is reached by 4 taps a channel."""
    one, two = jax.random.split(jax.random.key(0))
    return Weights(
        jax.random.normal(one, (1, FEATURES, 4, 4), "f4") / 2,
        jnp.zeros(FEATURES, "f4"),
        jax.random.normal(two, (FEATURES, 1, 4, 4), "f4") / 2 / FEATURES**0.5,
        jnp.zeros(1, "f4"),
    )


def decode(weights: Weights, small: jax.Array) -> jax.Array:
    """``(1, H, W)`` -> ``(1, 4*H, 4*W)``, of one example or of a batch of them."""
    x = jax.nn.gelu(double(small, weights.first, weights.first_bias))
    return double(x, weights.second, weights.second_bias)


def loss(weights: Weights, large: jax.Array) -> jax.Array:
    """The error of one example, decoded from its means over 4 x 4 pixels."""
    small = lax.reduce_window(large, 0.0, lax.add, (1, 4, 4), (1, 4, 4), "VALID") / 16
    return jnp.mean((decode(weights, small) - large) ** 2)


def clipped(gradient: Weights, norm: float = 0.5) -> Weights:
    """One example's gradient, no longer than `norm`."""
    length = jnp.sqrt(sum(jnp.sum(part**2) for part in gradient))
    return jax.tree.map(lambda part: part / jnp.maximum(1, length / norm), gradient)


def gradients(weights: Weights, batch: jax.Array) -> tuple[jax.Array, Weights]:
    """Loss and clipped gradient of each example, its number in front."""
    one = jax.value_and_grad(loss)
    values, each = jax.vmap(one, in_axes=(None, 0))(weights, batch)
    return values, jax.vmap(clipped)(each)


@jax.jit
def step(weights: Weights, batch: jax.Array) -> tuple[Weights, jax.Array]:
    """Descent by the mean of the clipped gradients; the mean loss before it."""
    values, each = gradients(weights, batch)
    descend = lambda w, g: w - 0.3 * g.mean(axis=0)  # noqa: E731
    return jax.tree.map(descend, weights, each), values.mean()


def stored(weights: Weights, batch: jax.Array) -> bytearray:
    """The step for arrays like these, as bytes for four platforms."""
    return export.export(step, platforms=PLATFORMS)(weights, batch).serialize()


def pictures(count: int, size: int) -> jax.Array:
    """Discs of random places and sizes, ``(count, 1, size, size)``."""
    place, radius = jax.random.split(jax.random.key(1))
    centres = jax.random.uniform(place, (count, 2, 1, 1), "f4")
    grid = jnp.stack(jnp.meshgrid(*2 * [jnp.linspace(0, 1, size, dtype="f4")]))
    radii = jax.random.uniform(radius, (count, 1, 1), "f4", 0.1, 0.5)
    discs = jnp.linalg.norm(grid[None] - centres, axis=1) < radii
    return discs[:, None].astype("f4")


def make_mesh(count: int) -> Mesh:
    """Some devices in a row; that an array is sharded is part of its type."""
    devices = jax.devices()[:count]
    types = (AxisType.Explicit,)
    return jax.make_mesh((count,), ("batch",), axis_types=types, devices=devices)


def main(arguments: list[str] | None = None) -> None:
    """Train, export, and train on with what was stored."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args(arguments)
    mesh = make_mesh(min(4, jax.device_count()))
    with jax.set_mesh(mesh):
        batch = jax.device_put(pictures(options.examples, options.size), P("batch"))
        weights = jax.device_put(initial(), P())
        _, each = jax.jit(gradients)(weights, batch)
        print(f"gradients of single examples: {jax.typeof(each.second)}")
        for _ in range(options.steps):
            weights, value = step(weights, batch)
        print(f"loss {value:.4f} after {options.steps} steps")
        program = stored(weights, batch)
        again = export.deserialize(program)
        print(f"{len(program):,} bytes for {', '.join(again.platforms)}")
        (here, _), (there, _) = step(weights, batch), again.call(weights, batch)
        differences = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), here, there)
        print(f"its weights differ by {max(differences):.0e} at most")


if __name__ == "__main__":
    main()
