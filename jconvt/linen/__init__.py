"""Layers for Flax Linen: PyTorch's constructors, Flax's own, and norms.

Thin: a layer checks its options, owns its parameters, and calls the same core as the
functions.
"""

try:
    from jconvt.linen._drop_in import ConvTranspose
    from jconvt.linen._norms import SpectralNorm, WeightNorm
    from jconvt.linen._stream import Streaming
    from jconvt.linen._torch import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
except ModuleNotFoundError as error:
    if error.name != "flax":  # Flax is there, and something that it imports is missing.
        raise
    raise ImportError(
        "jconvt.linen needs Flax, which is not installed: `pip install flax`. The "
        "functions of jconvt itself work without it.",
        name="flax",
    ) from None

__all__ = [
    "ConvTranspose",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "SpectralNorm",
    "Streaming",
    "WeightNorm",
]
