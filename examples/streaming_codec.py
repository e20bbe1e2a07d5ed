"""Decode sound in chunks of 20 ms, the same as at once: a decoder as codecs have it.

A causal decoder in the shape of EnCodec's and Mimi's makes 320 samples of each frame.
Frames and weights are fitted to a sung vowel, until the output is that sound. Then one
frame after the other is decoded under `jax.lax.scan`. Transposed convolutions keep
partial sums (`jconvt.streaming`), plain ones their last inputs. It needs optax:

    python examples/streaming_codec.py --picture spectrogram.png
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import jconvt
import jconvt.streaming

RATE = 16_000
STRIDES = (8, 5, 4, 2)  # 320 samples a frame
CHANNELS = (32, 32, 24, 16, 8)


def initial(seed: int = 0) -> list[jax.Array]:
    """The weights in the order of their calls."""
    rng, shapes = np.random.default_rng(seed), [(CHANNELS[0], CHANNELS[0], 7)]
    for stride, (a, b) in zip(STRIDES, pairwise(CHANNELS), strict=True):
        shapes += [(a, b, 2 * stride), (b // 2, b, 3), (b, b // 2, 1)]
    shapes.append((1, CHANNELS[-1], 7))
    return [jnp.asarray(rng.normal(0, (s[1] * s[2]) ** -0.5, s), "f4") for s in shapes]


def network(decoder: list[jax.Array], x: Any, conv: Callable, up: Callable) -> Any:
    """Frames ``(N, C, m)`` -> samples ``(N, 1, 320*m)``, by these convolutions."""
    weights, elu = iter(decoder), jax.nn.elu
    x = conv(x, next(weights))
    for stride in STRIDES:
        x = up(elu(x), next(weights), stride=stride, padding="CAUSAL")
        narrow = conv(elu(x), next(weights))
        x = x + conv(elu(narrow), next(weights))
    return conv(elu(x), next(weights))


def causal(x: jax.Array, weight: jax.Array) -> jax.Array:
    """A plain convolution with zeros before the first element."""
    return lax.conv_general_dilated(x, weight, (1,), [(weight.shape[-1] - 1, 0)])


@jax.jit
def whole(decoder: list[jax.Array], frames: jax.Array) -> jax.Array:
    """The samples of all frames at once."""
    return network(decoder, frames, causal, jconvt.conv_transpose)


def step(decoder: list[jax.Array], memory: list, frames: jax.Array) -> Any:
    """What to remember, ``[]`` at the beginning, and the samples of the next frames."""
    old, new = iter(memory), []

    def conv(x: jax.Array, weight: jax.Array) -> jax.Array:
        start = jnp.zeros((*x.shape[:2], weight.shape[-1] - 1), x.dtype)
        seen = jnp.concatenate([next(old, start), x], axis=-1)
        new.append(seen[..., x.shape[-1] :])
        return lax.conv_general_dilated(seen, weight, (1,), "VALID")

    def up(x: jax.Array, weight: jax.Array, **options: Any) -> jax.Array:
        start = jconvt.streaming.init(weight.shape, batch=len(x), **options)
        state, y = jconvt.streaming.step(next(old, start), x, weight, **options)
        new.append(state)
        return y

    return new, network(decoder, frames, conv, up)


@jax.jit
def stream(decoder: list[jax.Array], frames: jax.Array) -> jax.Array:
    """The samples of one frame after the other."""
    chunks = jnp.moveaxis(frames, -1, 0)[..., None]
    shapes, _ = jax.eval_shape(step, decoder, [], chunks[0])
    memory = jax.tree.map(jnp.zeros_like, shapes)
    return lax.scan(partial(step, decoder), memory, chunks)[1].reshape(1, 1, -1)


def vowel(seconds: float) -> np.ndarray:
    """A voice that glides from "a" to "i": harmonics, as loud as two formants say."""
    t = np.arange(round(seconds * 50) * 320) / RATE
    pitch = 150 + 30 * t / seconds + 4 * np.sin(35 * t)
    number = np.arange(1, 20)[:, None]
    formants = (700 - 400 * t / seconds, 1100 + 1100 * t / seconds)
    loud = sum(1 / (1 + ((number * pitch - f) / 100) ** 2) for f in formants)
    sound = (loud * np.sin(number * 2 * np.pi * np.cumsum(pitch) / RATE)).sum(axis=0)
    fade = np.minimum(1, np.minimum(t, seconds - t) / 0.05)
    return (fade * sound / np.abs(sound).max()).astype("f4")


def fit(sound: np.ndarray, steps: int) -> tuple[list[jax.Array], jax.Array, jax.Array]:
    """A decoder, frames that it makes the sound of, and the loss before each step."""
    shape = (1, CHANNELS[0], len(sound) // 320)
    learnt = initial(), jax.random.normal(jax.random.key(1), shape, "f4")
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, steps))

    def loss(learnt: Any) -> jax.Array:
        return jnp.mean((whole(*learnt)[0, 0] - sound) ** 2) / np.mean(sound**2)

    def descend(carry: Any, _: None) -> tuple[Any, jax.Array]:
        learnt, state = carry
        value, gradients = jax.value_and_grad(loss)(learnt)
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(learnt, updates), state), value

    run = partial(lax.scan, descend, length=steps)
    (learnt, _), losses = jax.jit(run)((learnt, optimizer.init(learnt)))
    return *learnt, losses


def draw(sounds: dict[str, np.ndarray], path: str) -> None:
    """Their spectrograms, below each other."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(sounds), sharex=True, layout="constrained")
    for ax, (name, sound) in zip(axes, sounds.items(), strict=True):
        ax.specgram(sound, NFFT=512, Fs=RATE, noverlap=448, vmin=-100)
        ax.set(title=name, ylabel="Hz", ylim=(0, 4000))
    figure.savefig(path)


def main(arguments: list[str] | None = None) -> None:
    """Fit, decode both ways, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.2)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--picture", help="a file for the spectrograms")
    options = parser.parse_args(arguments)
    sound = vowel(options.seconds)
    decoder, frames, losses = fit(sound, options.steps)
    print(f"error of the sound, as a part of its energy: {losses[-1]:.1e}")
    offline, chunks = (np.asarray(f(decoder, frames))[0, 0] for f in (whole, stream))
    print(f"in chunks it differs by {np.abs(offline - chunks).max():.0e} at most")
    if options.picture:
        draw({"sound": sound, "at once": offline, "in chunks": chunks}, options.picture)


if __name__ == "__main__":
    main()
