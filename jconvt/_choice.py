"""Which lowering ``lowering="auto"`` uses, for each of the three maps of a layer.

A layer in training runs three bilinear maps: the output, the input gradient and the
weight gradient. Reverse mode obtains the gradients by transposing a lowering in its
input or in its weight (`jconvt._differentiation`), so the choice for a gradient is the
lowering whose *transpose* is good:

================== ================================= ===============================
lowering           transposed in the input           transposed in the weight
================== ================================= ===============================
``lhs_dilation``   an ordinary strided convolution   a convolution with dilated input
``role_swapped``   a convolution, roles exchanged    cuDNN's backward-filter
``phases``         strided slices, convolutions      the same
``matmul``         one GEMM                          one GEMM
``overlap_add``    gathered blocks, one GEMM         gathered blocks, one GEMM
================== ================================= ===============================

The platform is known only when a program is lowered, so a choice is made for each
platform and `jax.lax.platform_dependent` picks: never `jax.default_backend()`.
"""

import math
from enum import StrEnum
from typing import Any

import jax.numpy as jnp
import numpy as np

from jconvt._geometry import Geometry
from jconvt._lowerings import LOWERINGS

AUTO = "auto"
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


class Slot(StrEnum):
    """One of the three maps of a layer."""

    FORWARD = "forward"
    INPUT_GRADIENT = "input gradient"
    WEIGHT_GRADIENT = "weight gradient"


def check_lowering(
    function: str, lowering: object, geometry: Geometry, static: bool
) -> str:
    """`lowering` if it is ``"auto"`` or serves the geometry, or the error."""
    if not isinstance(lowering, str):
        raise TypeError(f"{function}: `lowering` must be a string; got {lowering!r}.")
    if lowering == AUTO:
        return lowering
    if lowering not in LOWERINGS:
        raise ValueError(
            f"{function}: `lowering` must be one of auto, {', '.join(LOWERINGS)}; got "
            f"{lowering!r}."
        )
    reason = LOWERINGS[lowering].refuses(geometry, static)
    if reason is not None:
        raise ValueError(
            f"{function}: `lowering`={lowering!r} cannot serve this geometry: {reason};"
            f" got {geometry}."
        )
    return lowering


def choose(
    slot: Slot, platform: str, geometry: Geometry, dtype: np.dtype[Any], static: bool
) -> str:
    """The name of the lowering for a slot on a platform.

    `static` says that the spatial sizes are ints, not symbolic.
    """
    preferred = _PREFERENCES[platform == "cpu", _is_plain(platform, geometry, dtype)]
    serving = [
        name
        for name in (*preferred[slot], "lhs_dilation")
        if LOWERINGS[name].refuses(geometry, static) is None
    ]
    return next((n for n in serving if _is_compact(n, geometry)), "lhs_dilation")


def _is_compact(name: str, geometry: Geometry) -> bool:
    """Whether a lowering's program and its temporaries stay in proportion.

    `phases` writes out a convolution for each residue. `overlap_add` adds all that an
    element's extent spans, zeros of the dilation among them.
    """
    if name == "phases":
        return math.prod(geometry.stride) <= _MOST_PHASES
    if name == "overlap_add":
        return all(a.extent <= _MOST_ZEROS * a.kernel_size for a in geometry.axes)
    return True


def _is_plain(platform: str, geometry: Geometry, dtype: np.dtype[Any]) -> bool:
    """Whether the platform's own convolutions are fast for this geometry.

    XLA:CPU sends 1-d and 2-d convolutions of float32 (and of 16-bit floats, widened)
    to Eigen or YNNPACK; grouped, 3-d, float64, complex and integer ones run in plain
    loops. cuDNN's backward-data is matched for one group and no dilation.
    """
    if platform == "cpu":
        narrow = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize <= 4
        return geometry.groups == 1 and geometry.rank <= 2 and narrow
    return geometry.groups == 1 and all(d == 1 for d in geometry.dilation)


_MOST_PHASES = 64
"""More convolutions than this take longer to compile than they save."""

_MOST_ZEROS = 4
"""Extent over kernel size: a dilation's zeros are padded, kept and added."""

# (on a CPU, plain) -> slot -> lowerings in order of preference; then `lhs_dilation`.
_PREFERENCES: dict[tuple[bool, bool], dict[Slot, tuple[str, ...]]] = {
    (True, True): {
        Slot.FORWARD: ("matmul", "fused_phases", "phases", "overlap_add"),
        Slot.INPUT_GRADIENT: ("matmul", "lhs_dilation"),
        Slot.WEIGHT_GRADIENT: ("matmul", "overlap_add", "phases"),
    },
    (True, False): {
        Slot.FORWARD: ("matmul", "overlap_add", "phases"),
        Slot.INPUT_GRADIENT: ("matmul", "overlap_add", "phases"),
        Slot.WEIGHT_GRADIENT: ("matmul", "overlap_add", "phases"),
    },
    (False, True): {
        Slot.FORWARD: ("lhs_dilation",),
        Slot.INPUT_GRADIENT: ("lhs_dilation",),
        Slot.WEIGHT_GRADIENT: ("role_swapped", "phases"),
    },
    (False, False): {
        Slot.FORWARD: ("matmul", "phases"),
        Slot.INPUT_GRADIENT: ("matmul", "phases"),
        Slot.WEIGHT_GRADIENT: ("matmul", "phases"),
    },
}
