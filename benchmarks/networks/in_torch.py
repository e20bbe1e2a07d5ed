"""A network in PyTorch, channels first and contiguous, trained by its own SGD."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.networks._build import RATE, Build
from benchmarks.networks.descriptions import (
    EPSILON,
    Conv,
    Network,
    Norm,
    Relu,
    Tanh,
    Up,
    walk,
)

Tensors = Sequence[torch.Tensor]
Function = Callable[..., torch.Tensor]

_CONVS: tuple[Function, ...] = (F.conv1d, F.conv2d, F.conv3d)
_UPS: tuple[Function, ...] = (
    F.conv_transpose1d,
    F.conv_transpose2d,
    F.conv_transpose3d,
)
"""By the number of spatial axes, from 1."""


def _up(layer: Up, tensors: Tensors, x: torch.Tensor) -> torch.Tensor:
    return _UPS[x.ndim - 3](x, *tensors, stride=layer.stride, padding=layer.padding)


def _conv(layer: Conv, tensors: Tensors, x: torch.Tensor) -> torch.Tensor:
    return _CONVS[x.ndim - 3](x, *tensors, padding=layer.kernel // 2)


def _norm(layer: Norm, tensors: Tensors, x: torch.Tensor) -> torch.Tensor:
    del layer
    return F.batch_norm(x, None, None, *tensors, training=True, eps=EPSILON)


def _relu(layer: Relu, tensors: Tensors, x: torch.Tensor) -> torch.Tensor:
    del tensors
    return F.leaky_relu(x, layer.slope) if layer.slope else F.relu(x)


def _tanh(layer: Tanh, tensors: Tensors, x: torch.Tensor) -> torch.Tensor:
    del layer, tensors
    return torch.tanh(x)


_FUNCTIONS: dict[type, Function] = {
    Up: _up,
    Conv: _conv,
    Norm: _norm,
    Relu: _relu,
    Tanh: _tanh,
}


def build(network: Network) -> Build:
    """`network` in PyTorch."""
    parameters = [
        [torch.tensor(array, requires_grad=True) for array in arrays]
        for arrays in network.parameters()
    ]
    flat = [tensor for tensors in parameters for tensor in tensors]
    inputs, target = network.arrays()
    x, *skips = (torch.tensor(array) for array in inputs)
    wanted = torch.tensor(target)
    optimizer = torch.optim.SGD(flat, lr=RATE)

    def network_of_x() -> torch.Tensor:
        layers = (
            lambda x, layer=layer, tensors=tensors: _FUNCTIONS[type(layer)](
                layer, tensors, x
            )
            for layer, tensors in zip(network.layers, parameters, strict=True)
        )
        return walk(network.steps, layers, x, iter(skips), _join)

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return network_of_x()

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        error = F.mse_loss(network_of_x(), wanted)
        error.backward()
        optimizer.step()
        return error

    def gradients() -> list[np.ndarray]:
        error = F.mse_loss(network_of_x(), wanted)
        return [gradient.numpy() for gradient in torch.autograd.grad(error, flat)]

    return Build(
        forward=forward,
        step=step,
        output=lambda: forward().numpy(),
        gradients=gradients,
    )


def _join(x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, skip], dim=1)
