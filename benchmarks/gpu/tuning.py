"""`jconvt.tune` over the training steps of the networks, in a GPU's sizes."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import jconvt
from benchmarks.networks.descriptions import Network, dcgan, hifigan, unet, unet3d
from benchmarks.networks.in_flax import (
    Modules,
    channels_last,
    jconvt_conv,
    jconvt_up,
)
from benchmarks.progress import track

NETWORKS: Mapping[str, Callable[[], Network]] = {
    "dcgan": partial(dcgan, batch=128),
    "unet": partial(unet, batch=16),
    "hifigan": partial(hifigan, batch=8),
    "unet3d": partial(unet3d, batch=8),
}


def reports(
    networks: Mapping[str, Callable[[], Network]], seconds: float
) -> Iterator[tuple[str, jconvt.TuneReport]]:
    """Each network's name and what was measured in `seconds`."""
    for name, network in track("tune", networks):
        step, arguments = _step(network())
        yield name, jconvt.tune(step, *arguments, seconds=seconds).report


def _step(network: Network) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The loss and its gradients by all parameters; and the arrays that it takes."""
    parameters = jax.tree.map(jnp.asarray, network.parameters())
    inputs, target = jax.tree.map(channels_last, network.arrays())
    graph, state = nnx.split(Modules(network, parameters, jconvt_up, jconvt_conv))

    def step(state: Any, inputs: list[jax.Array], target: jax.Array) -> Any:
        def loss(state: Any) -> jax.Array:
            return jnp.mean((nnx.merge(graph, state)(*inputs) - target) ** 2)

        return jax.value_and_grad(loss)(state)

    return step, (state, inputs, target)
