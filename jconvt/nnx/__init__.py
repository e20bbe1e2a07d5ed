"""Layers for Flax NNX: PyTorch's constructors, Flax's own, and norms of their weights.

Thin: a layer checks its options, owns its parameters, and calls the same core as the
functions.
"""

try:
    from jconvt.nnx._drop_in import ConvTranspose
    from jconvt.nnx._norms import SpectralNorm, WeightNorm
    from jconvt.nnx._replace import replace_conv_transpose
    from jconvt.nnx._stream import Streaming, StreamState
    from jconvt.nnx._torch import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
except ModuleNotFoundError as error:
    if error.name != "flax":  # Flax is there, and something that it imports is missing.
        raise
    raise ImportError(
        "jconvt.nnx needs Flax, which is not installed: `pip install flax`. The "
        "functions of jconvt itself work without it.",
        name="flax",
    ) from None

__all__ = [
    "ConvTranspose",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "SpectralNorm",
    "StreamState",
    "Streaming",
    "WeightNorm",
    "replace_conv_transpose",
]
