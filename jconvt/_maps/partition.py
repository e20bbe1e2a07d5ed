"""Convolutions that XLA's partitioner divides wrongly are not chosen for many devices.

JAX leaves it to XLA to divide a program among devices. Where a kernel reaches beyond
the neighbouring device's share of space, XLA's program for a convolution has wrong
values or ends the process (jaxlib 0.8 to 0.10, also of `jax.lax.conv_general_dilated`
alone). Which axes are divided is not known when a program is lowered; how few elements
a share may have, is.
"""

from jconvt._call.call import Call, Sizes
from jconvt._call.problem import Map
from jconvt._choice.formulation import Formulation

_CONVOLUTIONS = (
    "lhs_dilation",
    "role_swapped",
    "space_to_batch",
    "phases",
    "fused_phases",
)


def is_divided_wrongly(
    made: Map, formulation: Formulation, call: Call, x: Sizes, devices: int
) -> bool:
    """Whether XLA may divide it wrongly, for an input of shape `x`.

    Input gradients that are not made as outputs were never wrong.
    """
    if devices == 1 or formulation.lowering not in _CONVOLUTIONS:
        return False
    if made == Map.INPUT and not formulation.turned:
        return False
    return any(
        isinstance(x[i], int) and axis.extent - 1 > axis.stride * (x[i] // devices)
        for axis, i in zip(call.geometry.axes, call.layout.input[2:], strict=True)
    )
