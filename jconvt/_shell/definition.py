"""The three maps of a layer by their definition: what `doctor` measures jconvt against.

NumPy and loops alone, nothing of the library. Arrays are channels first.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = tuple[int, ...]


class Maps(NamedTuple):
    """What a layer makes of (input, weight, cotangent)."""

    output: Floats
    input_gradient: Floats
    weight_gradient: Floats


def three_maps(
    x: Floats,
    w: Floats,
    cotangent: Floats,
    *,
    stride: Ints,
    crop: Ints,
    dilation: Ints,
    groups: int,
) -> Maps:
    """Input element i and tap t meet at output ``i*stride + t*dilation - crop``."""
    (batch, channels, *space), (_, per_group, *kernel) = x.shape, w.shape
    size = cotangent.shape[2:]
    xs = x.reshape(batch, groups, channels // groups, *space)
    ws = w.reshape(groups, channels // groups, per_group, *kernel)
    gs = cotangent.reshape(batch, groups, per_group, *size)
    y, dx, dw = np.zeros_like(gs), np.zeros_like(xs), np.zeros_like(ws)
    for i in np.ndindex(*space):
        for t in np.ndindex(*kernel):
            places = zip(i, t, stride, dilation, crop, strict=True)
            o = tuple(i * s + t * d - low for i, t, s, d, low in places)
            if all(0 <= place < n for place, n in zip(o, size, strict=True)):
                one, tap, out = (..., *i), (..., *t), (..., *o)
                y[out] += np.einsum("ngc,gcm->ngm", xs[one], ws[tap])
                dx[one] += np.einsum("ngm,gcm->ngc", gs[out], ws[tap])
                dw[tap] += np.einsum("ngc,ngm->gcm", xs[one], gs[out])
    return Maps(y.reshape(cotangent.shape), dx.reshape(x.shape), dw.reshape(w.shape))
