"""The three maps tap by tap in a wide type, straight from the definition.

Nothing here is jconvt's or JAX's. Of a result in float32 or narrower the sums are
float64's, of one in float64 those of NumPy's `longdouble`, of integers int64's. Beside
each sum stands that of the absolute values.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from benchmarks.layers import Layer

Array = np.ndarray[Any, Any]

einsum = partial(np.einsum, optimize=True)  # by BLAS where it has the type

MAPS = ("output", "input gradient", "weight gradient")


def wide(result: Any) -> Any:
    """The type in which results of type `result` are taken for exact."""
    if np.issubdtype(result, np.integer):
        return np.int64
    return np.longdouble if result == np.float64 else np.float64


def exact(layer: Layer, arrays: Mapping[str, Array], result: Any) -> dict[str, Array]:
    """Map -> its value; `arrays` are input, weight and cotangent."""
    x, w, g = (
        arrays[name].astype(wide(result)) for name in ("input", "weight", "cotangent")
    )
    groups, space = layer.groups, layer.spatial
    x = x.reshape(layer.batch, groups, -1, *space)
    w = w.reshape(groups, -1, *layer.weight_shape[1:])
    frame = _full(layer, x.dtype)
    _cropped(layer, frame)[...] = g
    cotangent = frame.reshape(layer.batch, groups, -1, *frame.shape[2:])
    full = _full(layer, x.dtype).reshape(cotangent.shape)
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for tap, window in _windows(layer):
        # n batch, g group, c and m channels in and out; i or ... space.
        full[..., *window] += einsum("ngc...,gcm->ngm...", x, w[..., *tap])
        part = cotangent[..., *window]
        dx += einsum("ngm...,gcm->ngc...", part, w[..., *tap])
        dw[..., *tap] = einsum("ngci,ngmi->gcm", _flat(x), _flat(part))
    y = _cropped(layer, full.reshape(frame.shape))
    return dict(
        zip(
            MAPS,
            (y, dx.reshape(layer.input_shape), dw.reshape(layer.weight_shape)),
            strict=True,
        )
    )


def magnitudes(
    layer: Layer, arrays: Mapping[str, Array], result: Any
) -> dict[str, Array]:
    """Map -> the sums of the absolute values of the products."""
    wider = {name: np.abs(array.astype(wide(result))) for name, array in arrays.items()}
    return exact(layer, wider, result)


def _full(layer: Layer, dtype: Any) -> Array:
    """Zeros of the full output, with room for what output_padding appends."""
    sizes = (
        (n - 1) * s + e + a
        for n, s, e, a in zip(
            layer.spatial,
            layer.stride,
            layer.extent,
            layer.output_padding,
            strict=True,
        )
    )
    return np.zeros((layer.batch, layer.out_channels, *sizes), dtype)


def _flat(array: Array) -> Array:
    """Space as one axis, the fourth."""
    return array.reshape(*array.shape[:3], -1)


def _cropped(layer: Layer, full: Array) -> Array:
    """The view of the full output that the padding leaves."""
    axes = zip(layer.padding, layer.output_spatial, strict=True)
    return full[..., *(slice(p, p + o) for p, o in axes)]


def _windows(layer: Layer) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each tap, and where in the full output it sends the input."""
    for tap in np.ndindex(*layer.kernel_size):
        yield (
            tap,
            tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(
                    tap, layer.dilation, layer.spatial, layer.stride, strict=True
                )
            ),
        )
