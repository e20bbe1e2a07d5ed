"""The sizes of a call, as the choice and the explanation see them."""

from typing import Any

import numpy as np

from jconvt._call.geometry import Geometry, Size
from jconvt._call.layout import Layout
from jconvt._call.problem import Problem
from jconvt._lowerings.patches.sheet import is_features_first


def problem_of(
    batch: Size,
    size: tuple[Size, ...],
    weight_shape: tuple[Size, ...],
    geometry: Geometry,
    layout: Layout,
    dtype: np.dtype[Any],
) -> Problem:
    """The sizes of a call; a symbolic one counts as `_NOMINAL`."""
    in_channels, out_channels = (weight_shape[axis] for axis in layout.weight[:2])
    return Problem(
        geometry=geometry,
        batch=_int(batch),
        in_channels=_int(in_channels),
        out_channels=_int(out_channels) * geometry.groups,
        size=tuple(map(_int, size)),
        itemsize=dtype.itemsize,
        features_first=is_features_first(layout),
    )


def _int(n: Size) -> int:
    return n if isinstance(n, int) else _NOMINAL


_NOMINAL = 32
"""A size for the choice where the program is for every size."""
