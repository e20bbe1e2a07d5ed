"""Who races on a GPU: JAX and PyTorch on one device, with float32 alike in both."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import jax

from benchmarks.contenders import Form, Prepared, Unsupported, pytorch
from benchmarks.contenders.jax_functions import (
    jconvt_first,
    jconvt_last,
    native,
    padded,
)
from benchmarks.contenders.jax_layers import flax
from benchmarks.layers import Layer

Make = Callable[[Layer, str, bool], Prepared]
"""From layer, dtype and whether gradients are wanted to a run."""

QUEUED = 10
"""Calls that a run queues on an accelerator: launching one overlaps with the others."""

PRECISIONS = {"highest": ("highest", "ieee"), "tf32": ("tensorfloat32", "tf32")}
"""How float32 is multiplied -> what that is called in JAX and in PyTorch."""


def calls() -> int:
    """How many calls a run makes."""
    return 1 if jax.default_backend() == "cpu" else QUEUED


@cache
def torch_device() -> str | None:
    """What PyTorch calls the device that JAX computes on; None where it has none."""
    if find_spec("torch") is None:
        return None
    if jax.default_backend() == "cpu":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else None


def set_precision(dtype: str, precision: str) -> None:
    """Let JAX and PyTorch multiply float32 in the same way, a key of `PRECISIONS`.

    PyTorch also times cuDNN's algorithms before it chooses one, as XLA does.
    """
    in_jax, in_torch = PRECISIONS[precision]
    chosen = in_jax if dtype == "float32" else None
    jax.config.update("jax_default_matmul_precision", chosen)
    if torch_device() is None:
        return
    import torch

    torch.backends.cuda.matmul.fp32_precision = in_torch
    torch.backends.cudnn.conv.fp32_precision = in_torch
    torch.backends.cudnn.benchmark = True


def free() -> None:
    """Give back the memory of what has raced."""
    jax.clear_caches()
    if torch_device() == "cuda":
        import torch

        torch.cuda.empty_cache()


def _in_jax(form: Callable[[Layer, str], Form]) -> Make:
    return lambda layer, dtype, train: form(layer, dtype).prepared(train, calls())


def _in_torch(channels_last: bool) -> Make:
    def make(layer: Layer, dtype: str, train: bool) -> Prepared:
        device = torch_device()
        if device is None:
            raise Unsupported
        return pytorch.torch(layer, dtype, train, channels_last, device, calls())

    return make


CONTENDERS: dict[str, Make] = {
    "jconvt": _in_jax(jconvt_first),
    "jconvt NHWC": _in_jax(jconvt_last),
    "torch": _in_torch(channels_last=False),
    "torch NHWC": _in_torch(channels_last=True),
    "native": _in_jax(native),
    "padded": _in_jax(padded),
    "flax": _in_jax(flax),
}
"""Name -> contender; the first one's result is what the others' are compared with."""
