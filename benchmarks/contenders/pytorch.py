"""PyTorch's functional transposed convolutions."""

from typing import Any

import numpy as np

from benchmarks.contenders._prepared import Prepared, Unsupported
from benchmarks.layers import Layer


def torch(layer: Layer, dtype: str, train: bool, channels_last: bool) -> Prepared:
    """`torch.nn.functional.conv_transpose1d/2d/3d`, contiguous or channels last."""
    import torch as pt

    formats = {2: pt.channels_last, 3: pt.channels_last_3d}
    if channels_last and layer.rank not in formats:
        raise Unsupported
    arrays = layer.arrays()
    made = {k: pt.tensor(v).to(getattr(pt, dtype)) for k, v in arrays.items()}
    if channels_last:
        for name in ("input", "weight", "cotangent"):
            made[name] = made[name].to(memory_format=formats[layer.rank])
    operands = [made[name].requires_grad_() for name in ("input", "weight", "bias")]
    function = getattr(pt.nn.functional, f"conv_transpose{layer.rank}d")

    def run() -> Any:
        with pt.set_grad_enabled(train):
            y = function(*operands, **layer.options)
        return pt.autograd.grad(y, operands, made["cotangent"]) if train else y

    def result() -> np.ndarray:
        found = run()
        return (found[0] if train else found).double().numpy()

    return Prepared(run=run, result=result)
