"""Let jconvt compute the layers of a Flax model that is already trained, by one line.

A small network that enlarges pictures is made of Flax's layers, trained, and saved with
Orbax. `jconvt.nnx.replace_conv_transpose` changes the transposed convolutions of a new
model in place. It restores that checkpoint, gives the same pictures, and trains on with
the optimizer's state. Both are timed. It needs optax and orbax-checkpoint:

    python examples/flax_swap.py
"""

import argparse
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
from flax import nnx

import jconvt.nnx


class Decoder(nnx.Module):
    """``(N, H, W, 3)`` -> ``(N, 4*H, 4*W, 3)``."""

    def __init__(self, features: int, *, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(3, features, (3, 3), rngs=rngs)
        self.ups = nnx.List(
            nnx.ConvTranspose(features, features, (4, 4), strides=2, rngs=rngs)
            for _ in range(2)
        )
        self.last = nnx.Conv(features, 3, (3, 3), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """The pictures, four times as large."""
        x = nnx.relu(self.first(x))
        for up in self.ups:
            x = nnx.relu(up(x))
        return self.last(x)


def make(features: int) -> tuple[Decoder, nnx.Optimizer]:
    """A model and its optimizer, as at the beginning of training."""
    model = Decoder(features, rngs=nnx.Rngs(0))
    return model, nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)


@nnx.jit
def step(model: Decoder, optimizer: nnx.Optimizer, large: jax.Array) -> jax.Array:
    """Training for one step; the loss before it."""
    n, h, w, c = large.shape
    small = large.reshape(n, h // 4, 4, w // 4, 4, c).mean((2, 4))
    loss = lambda model: jnp.mean((model(small) - large) ** 2)  # noqa: E731
    value, gradients = nnx.value_and_grad(loss)(model)
    optimizer.update(model, gradients)
    return value


def train(
    model: Decoder, optimizer: nnx.Optimizer, large: jax.Array, steps: int
) -> tuple[list[float], float]:
    """The loss before each step, and the fastest step's seconds."""
    losses, seconds = [], []
    for _ in range(steps):
        begin = time.perf_counter()
        losses.append(float(step(model, optimizer, large)))
        seconds.append(time.perf_counter() - begin)
    return losses, min(seconds)


def save(path: Path, *parts: nnx.Module) -> None:
    """Model and optimizer as one checkpoint."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, nnx.to_pure_dict(nnx.state(parts)))


def restore(path: Path, *parts: nnx.Module) -> None:
    """A checkpoint into them, in place."""
    state = nnx.state(parts)
    with ocp.StandardCheckpointer() as checkpointer:
        stored = checkpointer.restore(path, nnx.to_pure_dict(state))
    nnx.replace_by_pure_dict(state, stored)
    nnx.update(parts, state)


def pictures(count: int, size: int) -> jax.Array:
    """Discs of random places, sizes and colours, ``(count, size, size, 3)``."""
    place, radius, colour = jax.random.split(jax.random.key(0), 3)
    centres = jax.random.uniform(place, (count, 2, 1, 1), "f4")
    grid = jnp.stack(jnp.meshgrid(*2 * [jnp.linspace(0, 1, size, dtype="f4")]))
    radii = jax.random.uniform(radius, (count, 1, 1), "f4", 0.1, 0.5)
    discs = jnp.linalg.norm(grid[None] - centres, axis=1) < radii
    return discs[..., None] * jax.random.uniform(colour, (count, 1, 1, 3), "f4")


def main(arguments: list[str] | None = None) -> None:
    """Train, save, swap, restore, train on."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args(arguments)
    large = pictures(8, options.size)
    model, optimizer = make(options.features)
    losses, before = train(model, optimizer, large, options.steps)
    print(
        f"Flax: loss {losses[0]:.4f} -> {losses[-1]:.4f}, {1e3 * before:.0f} ms a step"
    )
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder, "trained"), model, optimizer)
        swapped, its_optimizer = make(options.features)
        changed = jconvt.nnx.replace_conv_transpose(swapped)  # the one line
        restore(Path(folder, "trained"), swapped, its_optimizer)
    print("changed:", *(".".join(map(str, path)) for path in changed))
    small = large[:, ::4, ::4]
    difference = jnp.abs(swapped(small) - model(small)).max()
    print(f"restored, it differs by {difference:.0e} at most")
    losses, after = train(swapped, its_optimizer, large, options.steps)
    print(
        f"jconvt: loss {losses[0]:.4f} -> {losses[-1]:.4f}, {1e3 * after:.0f} ms a step"
    )


if __name__ == "__main__":
    main()
