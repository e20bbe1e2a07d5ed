"""From PyTorch: layers, weight-normed or not, and entries of state dicts."""

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from jconvt._call.arguments import IntOrInts, is_int
from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._port import port
from jconvt.interop._ported import PortedLayer

# Magnitude and direction of a weight norm, in `torch.nn.utils` and its successor.
_WEIGHT_NORM = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


class TorchOptions(TypedDict, total=False):
    """What a state dict does not tell of a layer."""

    stride: IntOrInts
    padding: IntOrInts
    output_padding: IntOrInts
    groups: int
    dilation: IntOrInts


@ends_traceback
def from_torch(
    source: Any, prefix: str = "", **options: Unpack[TorchOptions]
) -> PortedLayer:
    """A layer of PyTorch, or its entries in a state dict.

    Weight norm is resolved, in the form of `torch.nn.utils.weight_norm` and in that of
    `torch.nn.utils.parametrizations.weight_norm`: the ported layer has the product, as
    a plain weight. Of a module with other parametrizations it is the weight in
    evaluation mode; nothing in the module changes. Nothing is unpickled: load a file
    with ``torch.load(..., weights_only=True)`` or as safetensors, and give the mapping.

    Args:
      source: a `torch.nn.ConvTranspose1d`, ``2d`` or ``3d``, also one made by its lazy
        class once it has seen data; or a mapping from names to tensors or NumPy arrays,
        with ``weight`` (or the two entries of its weight norm) and maybe ``bias``.
      prefix: of the names in the mapping, such as ``"decoder.up"``.
      **options: `stride`, `padding`, `output_padding`, `groups` and `dilation`, as in
        PyTorch. A mapping does not hold them: `stride` must be given with it, the
        others default to PyTorch's. A module has its own, so none is given with it.

    Returns:
      The layer, for channels-first data, with the rank of the weight and, if JAX has
      it enabled, its dtype.

    Raises:
      TypeError: `source` is neither, such as a forward convolution; a mapping without
        `stride`; an option of the wrong kind.
      ValueError: a lazy module without parameters, a module with a forward of its own,
        a mapping without the names, or with a bias that fits a forward convolution
        alone; an option out of range.

    Example:
      >>> import numpy as np
      >>> from jconvt.interop import from_torch
      >>> state = {"up.weight": np.ones((8, 2, 4), "float32"), "up.bias": np.ones(4)}
      >>> from_torch(state, "up", stride=2, padding=1, groups=2)
      PortedLayer(8, 4, kernel_size=(4,), stride=(2,), padding=((1, 1),), groups=2)
    """
    unknown = sorted(set(options) - TorchOptions.__annotations__.keys())
    if unknown:
        raise TypeError(
            f"from_torch: options must be of {', '.join(TorchOptions.__annotations__)};"
            f" got {', '.join(unknown)}."
        )
    if isinstance(source, Mapping):
        weight, bias = _from_state(source, prefix)
        _check_stride(prefix, options)
        _check_transposed(weight, bias, options.get("groups", 1))
    else:
        if prefix or options:
            raise ValueError(
                "from_torch: `prefix` and options are for a state dict; a module has "
                f"its own. Got {', '.join(filter(None, [prefix, *options]))}."
            )
        weight, bias, options = _from_module(source)
    return port("from_torch", weight, bias, **options, symmetric_padding=True)


def _from_state(state: Mapping[str, Any], prefix: str) -> tuple[Any, Any]:
    """Weight and bias among the names that begin with `prefix`."""
    if prefix and not prefix.endswith("."):
        prefix += "."
    if f"{prefix}weight" in state:
        weight = _array(f"{prefix}weight", state[f"{prefix}weight"])
    else:
        weight = _normed_weight(state, prefix)
    name = f"{prefix}bias"
    bias = _array(name, state[name]) if state.get(name) is not None else None
    return weight, bias


def _check_stride(prefix: str, options: TorchOptions) -> None:
    """A TypeError unless `stride` is among the options of a state dict."""
    if "stride" in options:
        return
    call = ", ".join(["state_dict", *([repr(prefix)] if prefix else []), "stride=..."])
    raise TypeError(
        f"from_torch: `stride` must be given with a state dict; got "
        f"{', '.join(options) or 'no options'}. A state dict holds the weight and bias "
        f"of a layer, but not its stride, padding, output_padding, groups and dilation."
        f" Write from_torch({call}), and the others where they are not PyTorch's "
        f"defaults; or pass the module, which has them all."
    )


def _check_transposed(weight: Any, bias: Any, groups: Any) -> None:
    """A ValueError if the bias fits (C_out, C_in, *K) and not (C_in, C_out, *K)."""
    if bias is None or np.ndim(weight) < 2 or not is_int(groups):
        return
    rows, columns = weight.shape[:2]
    if bias.shape != (rows,) or rows == columns * groups:
        return
    possible = rows // max(columns, 1)
    hint = (
        f" If the layer is transposed and has groups, give groups={possible}."
        if columns and rows % columns == 0
        else ""
    )
    raise ValueError(
        f"from_torch: `weight` must be (C_in, C_out/groups, *K) and `bias` (C_out,); "
        f"got weight {weight.shape} and bias {bias.shape} with groups={groups}, which "
        f"looks like the weight of a forward convolution, (C_out, C_in, *K).{hint}"
    )


def _normed_weight(state: Mapping[str, Any], prefix: str) -> np.ndarray[Any, Any]:
    for names in _WEIGHT_NORM:
        magnitude, direction = (f"{prefix}{name}" for name in names)
        if magnitude in state and direction in state:
            g = _array(magnitude, state[magnitude])
            v = _array(direction, state[direction])
            return _weight_norm(g, v)
    here = sorted(str(name) for name in state if str(name).startswith(prefix))
    kernels = [n for n in here if n.endswith(".weight") and len(np.shape(state[n])) > 2]
    hint = ""
    if kernels:
        name = kernels[0].removesuffix(".weight")
        hint = f"Name a layer, as in from_torch(state_dict, '{name}', stride=...). "
    raise ValueError(
        f"from_torch: the state dict must hold '{prefix}weight', or both entries of its"
        f" weight norm; under this prefix it holds {', '.join(here) or 'nothing'}. "
        f"{hint}Of other parametrizations give the module."
    )


def _weight_norm(g: Any, v: Any) -> np.ndarray[Any, Any]:
    """``g * v / |v|``, the norm over every axis along which g has one entry.

    With PyTorch's default ``dim=0`` that is one norm for each *input* channel; with
    ``dim=None`` g is a scalar. Where v too has one entry there is nothing to sum.
    """
    if g.ndim and (
        g.ndim != v.ndim
        or any(m not in (1, n) for m, n in zip(g.shape, v.shape, strict=True))
    ):
        raise ValueError(
            f"from_torch: the magnitude of a weight norm must have the shape of its "
            f"direction, {v.shape}, with ones where the norm sums; got {g.shape}."
        )
    wide = np.result_type(v.dtype, np.float64)
    axes = tuple(i for i in range(v.ndim) if not g.ndim or g.shape[i] == 1)
    norm = np.sqrt(np.sum(np.abs(v.astype(wide)) ** 2, axis=axes, keepdims=True))
    return np.asarray(v.astype(wide) * (g.astype(wide) / norm)).astype(v.dtype)


def _from_module(module: Any) -> tuple[Any, Any, TorchOptions]:
    """Weight, bias and options of a module, or the error."""
    import torch

    classes = {
        cls: cls.forward
        for cls in (
            torch.nn.ConvTranspose1d,
            torch.nn.ConvTranspose2d,
            torch.nn.ConvTranspose3d,
        )
    }
    forward = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    if isinstance(module, forward):
        raise TypeError(
            f"from_torch: `source` must be a transposed convolution; got "
            f"{type(module).__name__}, a forward convolution, which "
            f"jax.lax.conv_general_dilated or flax.nnx.Conv computes."
        )
    if not isinstance(module, tuple(classes)):
        raise TypeError(
            f"from_torch: `source` must be a torch.nn.ConvTranspose1d, 2d or 3d, or a "
            f"state dict; got {type(module).__name__}. For the layers of a model there "
            f"is from_torch_model; files are not loaded here."
        )
    # Not by `module.weight`, which a parametrization would compute.
    uninitialized = torch.nn.parameter.UninitializedParameter
    if any(isinstance(parameter, uninitialized) for parameter in module.parameters()):
        raise ValueError(
            f"from_torch: `source` must have parameters; got a {type(module).__name__} "
            f"that has seen no data yet. Call it once, or give a state dict."
        )
    if type(module).forward not in classes.values():
        raise ValueError(
            f"from_torch: `source` must compute as its base class does; got "
            f"{type(module).__name__}, which has a forward of its own."
        )
    bias = None if module.bias is None else _array("bias", module.bias)
    options: Any = {
        name: getattr(module, name) for name in TorchOptions.__annotations__
    }
    return _array("weight", _module_weight(module)), bias, options


def _module_weight(module: Any) -> Any:
    """The weight that a call would use now, without its effects on the module."""
    import torch
    from torch.nn.utils.parametrize import is_parametrized
    from torch.nn.utils.spectral_norm import SpectralNorm
    from torch.nn.utils.weight_norm import WeightNorm

    with torch.no_grad():
        if is_parametrized(module, "weight"):
            parametrization = module.parametrizations["weight"]
            training = parametrization.training
            try:  # in training mode a spectral norm would go on iterating
                return parametrization.eval()()
            finally:
                parametrization.train(training)
        # Before a call `module.weight` is of the call before.
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == "weight":
                return hook.compute_weight(module)
            if isinstance(hook, SpectralNorm) and hook.name == "weight":
                return hook.compute_weight(module, do_power_iteration=False)
        return module.weight


def _array(name: str, value: Any) -> Any:
    """A tensor or array as a NumPy (or JAX) array of the same dtype."""
    if not hasattr(value, "detach"):
        return value if isinstance(value, jax.Array) else np.asarray(value)
    import torch

    if value.is_meta:
        raise ValueError(
            f"from_torch: `{name}` must have values; it is on PyTorch's meta device."
        )
    value = value.detach().cpu().resolve_conj().resolve_neg()
    if value.dtype == torch.bfloat16:  # which PyTorch does not tell NumPy of
        return value.view(torch.int16).numpy().view(jnp.bfloat16)
    return value.numpy()
