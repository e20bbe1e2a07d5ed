"""The state at the beginning of a stream."""

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jconvt._call.arguments import (
    IntOrInts,
    Padding,
    Shape,
    check_int,
    check_shape,
    is_symbolic,
)
from jconvt._call.geometry import Size
from jconvt._call.layout import DimensionNumbers, Layout
from jconvt._call.lowerings import Lowerings
from jconvt._call.numerics import Precision, as_dtype
from jconvt._call.tracebacks import ends_traceback
from jconvt._maps.execute import settle_call
from jconvt.streaming._state import State, sums_shape
from jconvt.streaming._stream import stream_of

_FUNCTION = "streaming.init"


@ends_traceback
def init(
    weight_shape: Shape,
    *,
    batch: Size | None = None,
    dtype: DTypeLike = np.float32,
    space: Shape = (),
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
) -> State:
    """The state of a stream before its first element.

    The options are those of `jconvt.conv_transpose` of the whole signal. Give the same
    ones to all functions of this module, best with `functools.partial`.

    Args:
      weight_shape: ``(C_in, C_out/groups, *K)``: ints.
      batch: the number of items N; None: chunks have no batch axis.
      dtype: what input, weight and bias promote to.
      space: ``(*S,)``: input sizes of the spatial axes that are not streamed, in the
        order of `stride`. Empty where there is one spatial axis.
      axis: which of the spatial axes is streamed: 0 is the first one, such as time in
        ``"NCDHW"``.
      stride: output elements between neighbouring input elements, as in
        `jconvt.conv_transpose`; the following options too.
      padding: output elements to crop of the whole output. Along the streamed axis
        anything but ``"CIRCULAR"`` and ``"CIRCULAR_LOWER"``.
      output_padding: output elements appended at the end of the whole output.
      output_size: must be None, since the length of the signal is not known.
      groups: number of groups of channels.
      dilation: output elements between neighbouring taps.
      dimension_numbers: layouts of input, weight and output.
      precision: as in `jax.lax.conv_general_dilated`.
      preferred_element_type: dtype of the result.
      lowering: ``"auto"``, the name of a lowering, or `jconvt.Lowerings`.

    Returns:
      A `State` of zeros. Along the streamed axis it has
      ``max(dilation*(K-1) + 1 - stride, 0)`` partial sums for each output channel, and
      more only where the crop (low, high) is unusual: where low is negative, or
      high is larger than ``dilation*(K-1) + 1 - stride``. The latter includes kernels
      shorter than the stride with no crop at all: the whole output ends before the last
      gap, so a step holds the gap of its chunk back, which is ``stride`` less the
      kernel's extent.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument is out of range, or a padding cannot be streamed.

    Example:
      >>> import jax.numpy as jnp, jconvt.streaming
      >>> state = jconvt.streaming.init((8, 4, 16), batch=2, stride=8, padding="CAUSAL")
      >>> state.sums.shape
      (2, 4, 8)
      >>> jconvt.streaming.init((8, 4, 3, 4, 4), batch=2, space=(16, 16), stride=2,
      ...                       padding=["CAUSAL", 1, 1]).sums.shape
      (2, 4, 1, 32, 32)
    """
    stream = stream_of(
        _FUNCTION,
        weight_shape,
        axis=axis,
        output_size=output_size,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
        dimension_numbers=dimension_numbers,
    )
    if batch is not None and not is_symbolic(batch):
        batch = check_int(_FUNCTION, "batch", batch, 0)
    sizes = list(check_shape(_FUNCTION, "space", space))
    rank = stream.options.rank
    if len(sizes) != rank - 1:
        raise ValueError(
            f"{_FUNCTION}: `space` must hold {rank - 1} sizes, one for each spatial "
            f"axis that is not streamed; got {tuple(sizes)}."
        )
    sizes.insert(stream.number, 0)
    layout, batched = stream.options.layout, batch is not None
    shape = _input_shape(layout, batch, weight_shape[layout.weight[0]], sizes)
    call = settle_call(
        stream.options,
        (shape, weight_shape, None),
        [as_dtype(_FUNCTION, dtype)],
        precision=precision,
        preferred_element_type=preferred_element_type,
        lowering=lowering,
    )
    outputs = call.output_shape(shape, tuple(weight_shape))
    counts = (batch,) if batched else ()
    return State(
        sums=jnp.zeros(
            sums_shape(stream, outputs, batched), call.numerics.accumulation
        ),
        heard=jnp.zeros(counts, np.int32),
        missing=jnp.zeros(counts, np.int32),
    )


def _input_shape(
    layout: Layout, batch: Size | None, channels: Size, space: Shape
) -> tuple[Size, ...]:
    """The shape of an input; `batch` None: without the batch axis."""
    sizes = dict(zip(layout.input, (batch, channels, *space), strict=True))
    shape = (sizes[axis] for axis in range(len(sizes)))
    return tuple(size for size in shape if size is not None)
