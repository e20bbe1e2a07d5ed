"""On several devices: avoids convolutions that XLA's partitioner computes wrongly.

JAX leaves it to XLA to divide a program among devices. Of some convolutions, also of
`jax.lax.conv_general_dilated` alone, what XLA makes has wrong values, does not compile,
or ends the process (jaxlib 0.8 to 0.12):

- groups at stride 1, where channels are divided, and in a weight gradient where the
  batch is divided along one of several mesh axes;
- a kernel that reaches beyond the neighbouring device's share of space.

Which axes are divided is not known when a program is lowered; how few elements a share
may have, is. On a CPU, where many devices are simulated, every convolution that might
be divided wrongly is avoided. On GPUs and TPUs, which nearly always divide the batch
alone and of which there may be hundreds, the second rule would take the convolution
from every program; there `jconvt.sharding.conv_transpose` is for space.
"""

from jconvt._call.call import Call, Sizes
from jconvt._call.problem import Map
from jconvt._choice.formulation import Formulation
from jconvt._maps.target import Target

_PHASES = ("phases", "fused_phases")
_CONVOLUTIONS = (*_PHASES, "lhs_dilation", "role_swapped", "space_to_batch")


def divisible(
    made: Map,
    formulation: Formulation,
    call: Call,
    x: Sizes,
    target: Target,
) -> str:
    """The lowering to take instead, or its own, for an input of shape `x`."""
    name = formulation.lowering
    if target.devices == 1:
        return name
    geometry = call.trimmed
    grouped = geometry.groups > 1 and not formulation.by_group
    if grouped and name in (*_PHASES, "lhs_dilation"):
        # At stride 1 the weight gradient of these is counted several times.
        wrong = made == Map.WEIGHT and all(s == 1 for s in geometry.stride)
        name = "role_swapped" if wrong else "lhs_dilation"
    # An input gradient that is not made as an output was never wrong.
    as_output = made != Map.INPUT or formulation.turned
    avoided = target.platform == "cpu" and name in _CONVOLUTIONS and as_output
    return "gather" if avoided and _reaches_beyond(call, x, target.devices) else name


def _reaches_beyond(call: Call, x: Sizes, devices: int) -> bool:
    return any(
        isinstance(x[i], int) and axis.extent - 1 > axis.stride * (x[i] // devices)
        for axis, i in zip(call.geometry.axes, call.layout.input[2:], strict=True)
    )
