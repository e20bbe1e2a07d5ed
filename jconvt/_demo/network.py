"""A small FSRCNN: layers at low resolution, and a transposed convolution at the end.

After Dong, Loy and Tang, "Accelerating the Super-Resolution Convolutional Neural
Network" (2016), with leaky ReLUs and the bicubic enlargement added to the output.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

import jconvt.nnx
from jconvt._demo.photos import FACTOR

FEATURES, MAPPED, MAPPINGS = 32, 16, 4
KERNEL = 9


class SuperResolution(nnx.Module):
    """(N, H, W, 1) brightness in [0, 1] -> (N, FACTOR*H, FACTOR*W, 1)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.extract = nnx.Conv(1, FEATURES, (5, 5), rngs=rngs)
        self.shrink = nnx.Conv(FEATURES, MAPPED, (1, 1), rngs=rngs)
        self.mappings = nnx.List(
            [nnx.Conv(MAPPED, MAPPED, (3, 3), rngs=rngs) for _ in range(MAPPINGS)]
        )
        self.expand = nnx.Conv(MAPPED, FEATURES, (1, 1), rngs=rngs)
        self.enlarge = jconvt.nnx.ConvTranspose2d(
            FEATURES,
            1,
            KERNEL,
            stride=FACTOR,
            padding=KERNEL // 2,
            output_padding=FACTOR - 1,
            data_format="NHWC",
            weight_init=nnx.initializers.zeros,  # at first the output is bicubic
            bias_init=nnx.initializers.zeros,
            rngs=rngs,
        )

    def __call__(self, image: jax.Array) -> jax.Array:
        shrunk = nnx.leaky_relu(self.shrink(nnx.leaky_relu(self.extract(image))))
        mapped = shrunk
        for mapping in self.mappings:
            mapped = nnx.leaky_relu(mapping(mapped))
        expanded = nnx.leaky_relu(self.expand(mapped + shrunk))
        return bicubic(image) + self.enlarge(expanded)


def bicubic(images: jax.Array) -> jax.Array:
    """Bicubic enlargement, equal to Pillow's except for rounding."""
    n, height, width, channels = images.shape
    shape = (n, FACTOR * height, FACTOR * width, channels)
    return jax.image.resize(images, shape, "cubic")


def with_flax_layer(network: SuperResolution) -> SuperResolution:
    """A copy of `network`, weights included, whose last layer is Flax's own."""
    extent, crop = KERNEL - 1, KERNEL // 2
    layer = nnx.ConvTranspose(
        FEATURES,
        1,
        (KERNEL, KERNEL),
        (FACTOR, FACTOR),
        # Flax counts zeros around the input, PyTorch counts cropped outputs.
        padding=((extent - crop, extent - crop + FACTOR - 1),) * 2,
        transpose_kernel=True,
        rngs=nnx.Rngs(0),
    )
    copy: Any = nnx.clone(network)
    layer.kernel = nnx.Param(copy.enlarge.weight[...].transpose(2, 3, 1, 0))
    layer.bias = nnx.Param(copy.enlarge.bias[...])
    copy.enlarge = layer
    return copy


def make_optimizer(network: SuperResolution) -> nnx.Optimizer[SuperResolution]:
    """Adam; each `train_step` sets its learning rate."""
    import optax

    adam = optax.inject_hyperparams(optax.adam)(learning_rate=0.0)
    return nnx.Optimizer(network, adam, wrt=nnx.Param)


@nnx.jit
def train_step(
    network: SuperResolution,
    optimizer: nnx.Optimizer[SuperResolution],
    small: ArrayLike,
    large: ArrayLike,
    learning_rate: float,
) -> jax.Array:
    """One step of Adam on one batch, in place; returns the mean squared error."""

    def loss(network: SuperResolution) -> jax.Array:
        inner = slice(FACTOR, -FACTOR)  # at the border the network sees padding
        return jnp.mean((network(jnp.asarray(small)) - large)[:, inner, inner] ** 2)

    error, gradients = nnx.value_and_grad(loss)(network)
    optimizer.opt_state.hyperparams["learning_rate"][...] = learning_rate
    optimizer.update(network, gradients)
    return error


@nnx.jit
def enlarge(network: SuperResolution, small: ArrayLike) -> jax.Array:
    """The network's output for a batch, compiled."""
    return network(jnp.asarray(small))
