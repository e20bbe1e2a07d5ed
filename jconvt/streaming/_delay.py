"""How many outputs of a stream come before the result."""

from collections.abc import Mapping, Sequence
from typing import Any

from jax.typing import DTypeLike

from jconvt._call.arguments import IntOrInts, Padding, Shape
from jconvt._call.layout import DimensionNumbers
from jconvt._call.lowerings import Lowerings
from jconvt._call.numerics import Precision
from jconvt._call.tracebacks import ends_traceback
from jconvt.streaming._stream import stream_of


@ends_traceback
def delay(
    weight_shape: Shape,
    *,
    input_delay: int = 0,
    axis: int = 0,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    output_size: None = None,
    groups: int = 1,
    dilation: IntOrInts = 1,
    dimension_numbers: DimensionNumbers | None = None,
    precision: Precision = None,
    preferred_element_type: DTypeLike | None = None,
    lowering: str | Lowerings = "auto",
) -> int:
    """The number of outputs of a stream that come before the result, all zeros.

    Only arithmetic. With (low, high) the crop of the streamed axis, e the kernel's
    extent ``dilation*(K-1) + 1`` and s the stride, it is ``input_delay*s + low +
    max(0, high - (e - s), -low)``: 0 under padding 0 where e >= s, and under
    ``"CAUSAL"``.

    Args:
      weight_shape: ``(C_in, C_out/groups, *K)``: ints.
      input_delay: input elements before the signal: the delay of the layer below.
      axis: which spatial axis is streamed, as in `init`.
      stride: as in `init`; the following options too.
      padding: output elements to crop of the whole output.
      output_padding: output elements appended at the end of the whole output.
      output_size: must be None.
      groups: number of groups of channels.
      dilation: output elements between neighbouring taps.
      dimension_numbers: layouts of input, weight and output.
      precision: without effect here.
      preferred_element_type: without effect here.
      lowering: without effect here.

    Returns:
      An int, in output elements along the streamed axis.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument is out of range, or a padding cannot be streamed.

    Example:
      >>> import jconvt.streaming
      >>> jconvt.streaming.delay((8, 4, 16), stride=8, padding=4)
      4
      >>> jconvt.streaming.delay((8, 4, 16), stride=8, padding="CAUSAL")
      0
      >>> jconvt.streaming.delay((8, 4, 16), stride=8, padding=4, input_delay=3)
      28
    """
    del precision, preferred_element_type, lowering
    stream = stream_of(
        "streaming.delay",
        weight_shape,
        input_delay=input_delay,
        axis=axis,
        output_size=output_size,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
        dimension_numbers=dimension_numbers,
    )
    return stream.delay


@ends_traceback
def stack_delays(
    layers: Sequence[tuple[Shape, Mapping[str, Any]]], *, input_delay: int = 0
) -> tuple[int, ...]:
    """The delay of each layer's outputs, for layers on top of each other.

    Between the layers there may be any function of single elements, such as an
    activation.

    Args:
      layers: for each layer its weight's shape and its options, the first layer first.
      input_delay: input elements of the first layer before the signal.

    Returns:
      An int for each layer, in elements of its output. That of a layer is the
      `input_delay` of the next, and the last one is the delay of the whole stack.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument is out of range, or a padding cannot be streamed.

    Example:
      >>> import jconvt.streaming
      >>> layers = [((8, 4, 16), {"stride": 8, "padding": 4}),
      ...           ((4, 2, 4), {"stride": 2, "padding": 1})]
      >>> jconvt.streaming.stack_delays(layers)
      (4, 9)
    """
    delays: list[int] = []
    for weight_shape, options in layers:
        input_delay = delay(weight_shape, input_delay=input_delay, **options)
        delays.append(input_delay)
    return tuple(delays)
