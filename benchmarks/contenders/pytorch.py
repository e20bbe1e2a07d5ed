"""PyTorch's functional transposed convolutions."""

from typing import Any

import numpy as np

from benchmarks.contenders._prepared import Prepared, Unsupported
from benchmarks.layers import Layer


def torch(
    layer: Layer,
    dtype: str,
    train: bool,
    channels_last: bool,
    device: str = "cpu",
    calls: int = 1,
) -> Prepared:
    """`torch.nn.functional.conv_transpose1d/2d/3d`, contiguous or channels last.

    A run on `device` "cuda" queues `calls` and awaits them.
    """
    import torch as pt

    formats = {2: pt.channels_last, 3: pt.channels_last_3d}
    if channels_last and layer.rank not in formats:
        raise Unsupported
    arrays = layer.arrays()
    made = {k: pt.tensor(v).to(device, getattr(pt, dtype)) for k, v in arrays.items()}
    if channels_last:
        for name in ("input", "weight", "cotangent"):
            made[name] = made[name].to(memory_format=formats[layer.rank])
    operands = [made[name].requires_grad_() for name in ("input", "weight", "bias")]
    function = getattr(pt.nn.functional, f"conv_transpose{layer.rank}d")

    def call() -> Any:
        with pt.set_grad_enabled(train):
            y = function(*operands, **layer.options)
        return pt.autograd.grad(y, operands, made["cotangent"]) if train else y

    def run() -> Any:
        for _ in range(calls - 1):
            call()
        found = call()
        if device == "cuda":
            pt.cuda.synchronize()
        return found

    def result() -> np.ndarray:
        found = call()
        return (found[0] if train else found).double().cpu().numpy()

    return Prepared(run=run, result=result)
