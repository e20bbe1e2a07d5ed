"""Layers as the choice sees them: sizes alone."""

from dataclasses import replace

import numpy as np

from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem
from jconvt._choice.choose import choose

CANONICAL, SHARES = "lhs_dilation", "space_to_batch"


def geometry(k, s, d=1, groups=1, rank=1):
    crop = ((0, 0),) * rank
    return Geometry(
        kernel_size=(k,) * rank,
        stride=(s,) * rank,
        dilation=(d,) * rank,
        crop=crop,
        groups=groups,
    )


def enlarging(k, s, groups=1, rank=2):
    """Cropped so that the output is `s` times the input, which shares divide evenly."""
    plain = geometry(k, s, groups=groups, rank=rank)
    low = (k - s) // 2
    return replace(plain, crop=((low, k - s - low),) * rank)


def problem(
    geometry,
    n=8,
    batch=2,
    channels=(16, 16),
    first=True,
    dtype=np.float32,
    static=True,
):
    return Problem(
        geometry=geometry.trim()[0],
        batch=batch,
        in_channels=channels[0],
        out_channels=channels[1],
        size=(n,) * geometry.rank,
        dtype=np.dtype(dtype),
        features_first=first,
        static=static,
    )


def chosen(platform, layer, **more):
    """The lowering of each of the three maps."""
    return [choose(slot, platform, layer, **more).lowering for slot in Map]
