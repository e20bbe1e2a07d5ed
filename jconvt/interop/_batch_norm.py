"""A batch norm behind a layer, folded into the layer's weight and bias."""

import numbers
from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jconvt._call.arguments import check_channels, spatial_rank
from jconvt._call.numerics import Numerics, check_array
from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._ported import PortedLayer

FUNCTION = "fold_batch_norm"

Foldable = TypeVar("Foldable", PortedLayer, tuple[ArrayLike, ArrayLike | None])


@ends_traceback
def fold_batch_norm(
    layer: Foldable,
    mean: ArrayLike,
    variance: ArrayLike,
    scale: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    *,
    epsilon: float = 1e-5,
) -> Foldable:
    """A layer that computes the layer and an inference-time batch norm behind it.

    Of the layer's output y the batch norm makes
    ``(y - mean) * scale / sqrt(variance + epsilon) + offset``, each channel with its
    own numbers. The folding computes in the dtype of the weight, for 16-bit floats in
    float32.

    Args:
      layer: a ported layer; or the pair ``(weight, bias)`` of arrays, the weight
        ``(C_in, C_out/groups, *K)`` and the bias ``(C_out,)`` or None. The groups of a
        pair follow from the length of `mean`.
      mean: ``(C_out,)``, the running mean; `running_mean` in PyTorch.
      variance: ``(C_out,)``, the running variance; `running_var` in PyTorch.
      scale: ``(C_out,)``, or None for 1; `weight` in PyTorch, `gamma` in Keras.
      offset: ``(C_out,)``, or None for 0; `bias` in PyTorch, `beta` in Keras.
      epsilon: what is added to the variance. The default is PyTorch's and Flax's;
        Keras's is 1e-3.

    Returns:
      What `layer` is: a ported layer with the same options, or a pair. It has a bias
      even if `layer` has none.

    Raises:
      TypeError: an argument that is no array of numbers, or an `epsilon` that is no
        number.
      ValueError: a shape that does not fit, a weight that is not of real floats, a
        complex argument, or a variance that is not positive with `epsilon` added.

    Example:
      >>> import numpy as np
      >>> from jconvt.interop import fold_batch_norm, from_mindspore
      >>> up = from_mindspore({"weight": np.ones((8, 2, 4), "float32")}, stride=2)
      >>> mean, variance = np.array([1., 3.]), np.array([4., 16.])
      >>> folded = fold_batch_norm(up, mean, variance, epsilon=0)
      >>> folded
      PortedLayer(8, 2, kernel_size=(4,), stride=(2,))
      >>> folded.weight[0, :, 0].tolist(), folded.bias.tolist()
      ([0.5, 0.25], [-0.5, -0.75])
      >>> weight, bias = fold_batch_norm((up.weight, None), np.ones(2), np.ones(2))
      >>> weight.shape, bias.shape
      ((8, 2, 4), (2,))
    """
    norm = {"mean": mean, "variance": variance, "scale": scale, "offset": offset}
    arrays = {k: _real(k, v) for k, v in norm.items() if v is not None}
    if isinstance(layer, PortedLayer):
        weight, bias, groups = layer.weight, layer.bias, layer.config.options.groups
    else:
        weight, bias = _pair(layer)
        groups = _groups(weight.shape, np.shape(mean))
    if not jnp.issubdtype(weight.dtype, jnp.floating):
        raise ValueError(
            f"{FUNCTION}: the layer's weight must be of real floats to be scaled; got "
            f"{weight.dtype}."
        )
    channels = weight.shape[1] * groups
    for name, array in [*arrays.items(), ("the layer's bias", bias)]:
        if array is not None and array.shape != (channels,):
            said = name if " " in name else f"`{name}`"
            raise ValueError(
                f"{FUNCTION}: {said} must have shape ({channels},), one number for "
                f"each output channel of the layer; got {array.shape}."
            )
    _check_positive(arrays["variance"], epsilon)
    weight, bias = _fold(weight, bias, groups, arrays, float(epsilon))
    if isinstance(layer, PortedLayer):
        return replace(layer, weight=weight, bias=bias)
    return weight, bias


def _fold(
    weight: jax.Array,
    bias: jax.Array | None,
    groups: int,
    norm: dict[str, jax.Array],
    epsilon: float,
) -> tuple[jax.Array, jax.Array]:
    """Weight and bias of the layer with the norm."""
    wide = Numerics(None, np.dtype(weight.dtype)).accumulation
    wide_norm = {name: array.astype(wide) for name, array in norm.items()}
    factor = wide_norm.get("scale", 1) / jnp.sqrt(wide_norm["variance"] + epsilon)
    # Group g holds C_in/groups rows, and its columns are the output channels from
    # g * C_out/groups on.
    rows, columns, *kernel = weight.shape
    grouped = jnp.reshape(weight, (groups, rows // groups, columns, *kernel))
    each = jnp.reshape(factor, (groups, 1, columns, *(1 for _ in kernel)))
    folded = jnp.reshape(grouped.astype(wide) * each, weight.shape)
    moved = (0 if bias is None else bias.astype(wide)) - wide_norm["mean"]
    moved = moved * factor + wide_norm.get("offset", 0)
    dtype = weight.dtype
    if bias is not None and jnp.issubdtype(bias.dtype, jnp.floating):
        dtype = bias.dtype
    return folded.astype(weight.dtype), moved.astype(dtype)


def _real(name: str, value: Any) -> jax.Array:
    """An argument as an array of real numbers."""
    array = jnp.asarray(check_array(FUNCTION, name, value))
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"{FUNCTION}: `{name}` must be real; got dtype {array.dtype}.")
    return array


def _pair(layer: Any) -> tuple[jax.Array, jax.Array | None]:
    """Weight and bias of a pair, or a TypeError."""
    if not isinstance(layer, tuple | list) or len(layer) != 2:
        raise TypeError(
            f"{FUNCTION}: `layer` must be a PortedLayer or a pair (weight, bias); got "
            f"{type(layer).__name__}. Read a layer first, for example with "
            f"jconvt.interop.from_flax."
        )
    weight, bias = layer
    w = jnp.asarray(check_array(FUNCTION, "weight", weight))
    spatial_rank(FUNCTION, w.shape)
    b = None if bias is None else jnp.asarray(check_array(FUNCTION, "bias", bias))
    return w, b


def _groups(weight_shape: tuple[int, ...], mean_shape: tuple[int, ...]) -> int:
    """The groups of a weight whose output channels are as many as the means."""
    per_group = weight_shape[1]
    if len(mean_shape) != 1 or not per_group or mean_shape[0] % per_group:
        raise ValueError(
            f"{FUNCTION}: `mean` must have shape (C_out,), for a weight {weight_shape} "
            f"as (C_in, C_out/groups, *K) a multiple of {per_group}; got {mean_shape}."
        )
    groups = mean_shape[0] // per_group
    check_channels(FUNCTION, weight_shape[0], groups)
    return groups


def _check_positive(variance: jax.Array, epsilon: Any) -> None:
    """An error unless all of ``variance + epsilon``, where it is known, is above 0."""
    if not isinstance(epsilon, numbers.Real) or isinstance(epsilon, bool):
        raise TypeError(
            f"{FUNCTION}: `epsilon` must be a number; got {type(epsilon).__name__}."
        )
    if isinstance(variance, Tracer):
        return
    sums = np.asarray(variance).astype(np.float64) + float(epsilon)
    wrong = np.flatnonzero(~(sums > 0))
    if wrong.size:
        raise ValueError(
            f"{FUNCTION}: `variance` must be positive with `epsilon` added; got "
            f"{sums[wrong[0]]} in channel {wrong[0]} with epsilon={epsilon}."
        )
