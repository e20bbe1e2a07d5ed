"""The three maps in a wide type, by the definition that `doctor` uses too.

Of a result in float32 or narrower the sums are float64's, of one in float64 those of
NumPy's `longdouble`, of integers int64's. Beside each sum stands that of the absolute
values.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.layers import Layer
from jconvt._shell.definition import three_maps

Array = np.ndarray[Any, Any]

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
    maps = three_maps(
        x,
        w,
        g,
        stride=layer.stride,
        crop=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
    )
    return dict(zip(MAPS, maps, strict=True))


def magnitudes(
    layer: Layer, arrays: Mapping[str, Array], result: Any
) -> dict[str, Array]:
    """Map -> the sums of the absolute values of the products."""
    wider = {name: np.abs(array.astype(wide(result))) for name, array in arrays.items()}
    return exact(layer, wider, result)
