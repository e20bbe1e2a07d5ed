"""PyTorch models: every transposed convolution by its dotted name."""

from typing import Any

from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._ported import PortedLayer
from jconvt.interop._torch import from_torch

FUNCTION = "from_torch_model"


@ends_traceback
def from_torch_model(model: Any) -> dict[str, PortedLayer]:
    """The transposed convolutions of a PyTorch model, by name.

    Each layer is read as `from_torch` reads it, weight norm, spectral norm and other
    parametrizations applied. Nothing in the model changes.

    Args:
      model: a `torch.nn.Module`, with any modules in it.

    Returns:
      ``{name: layer}`` for every `torch.nn.ConvTranspose1d`, ``2d`` and ``3d``, with
      the dotted names and in the order of ``model.named_modules()``. A module that the
      model holds under several names is one layer under all of them. If the model is
      itself such a layer, its name is ``""``.

    Raises:
      TypeError: `model` is no module, or one that TorchScript has compiled.
      ValueError: a lazy layer that has seen no data, a layer with a forward of its own
        or without values; each names the layer.
      ImportError: PyTorch is not installed.

    Example:
      >>> import torch
      >>> from jconvt.interop import from_torch_model
      >>> model = torch.nn.Sequential(
      ...     torch.nn.ConvTranspose1d(8, 4, 16, stride=8, padding=4), torch.nn.ReLU(),
      ...     torch.nn.ConvTranspose1d(4, 2, 8, stride=4, padding=2))
      >>> layers = from_torch_model(model)
      >>> list(layers)
      ['0', '2']
      >>> layers["2"]
      PortedLayer(4, 2, kernel_size=(8,), stride=(4,), padding=((2, 2),))
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"{FUNCTION}: `model` must be a torch.nn.Module; got "
            f"{type(model).__name__}. Of a state dict give each layer's prefix and "
            f"options to from_torch; files are not loaded here."
        )
    classes = (
        torch.nn.ConvTranspose1d,
        torch.nn.ConvTranspose2d,
        torch.nn.ConvTranspose3d,
    )
    read: dict[Any, PortedLayer] = {}
    layers: dict[str, PortedLayer] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(
                f"{FUNCTION}: `model` must not be compiled by TorchScript, which "
                f"leaves no layers to read; module {name!r} is a "
                f"{type(module).__name__}. Give the model that it was made of."
            )
        if isinstance(module, classes):
            if module not in read:
                read[module] = _layer(name, module)
            layers[name] = read[module]
    return layers


def _layer(name: str, module: Any) -> PortedLayer:
    """The layer, or the error of `from_torch` with the name of the module."""
    try:
        return from_torch(module)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error} In module {name!r} of the model.") from error
