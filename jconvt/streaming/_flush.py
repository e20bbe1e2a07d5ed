"""The end of a stream."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import IntOrInts, Padding
from jconvt._call.layout import DimensionNumbers
from jconvt._call.lowerings import Lowerings
from jconvt._call.numerics import Precision, as_dtype, check_array, settle_dtypes
from jconvt._call.tracebacks import ends_traceback
from jconvt.streaming._program import drain
from jconvt.streaming._state import State, check_state, check_sums, sums_shape
from jconvt.streaming._stream import Stream, stream_of


@ends_traceback
def flush(
    state: State,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    dtype: DTypeLike | None = None,
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
) -> jax.Array:
    """The outputs that are left after the last chunk of a signal.

    Args:
      state: what the last step gave.
      weight: ``(C_in, C_out/groups, *K)``.
      bias: ``(C_out,)``, added to every output, or None.
      dtype: what input, weight and bias promote to; None: what weight and bias do.
      input_delay: as in `step`.
      axis: which spatial axis is streamed, as in `init`.
      stride: as in `init`; the following options too.
      padding: output elements to crop of the whole output.
      output_padding: output elements appended at the end of the whole output.
      output_size: must be None.
      groups: number of groups of channels.
      dilation: output elements between neighbouring taps.
      dimension_numbers: layouts of input, weight and output.
      precision: as in `jax.lax.conv_general_dilated`.
      preferred_element_type: dtype of the result.
      lowering: without effect here.

    Returns:
      ``(N, C_out, *O)`` or ``(C_out, *O)``. Along the streamed axis there are as many
      elements as `delay` and the whole output have more than the steps gave. There may
      be none, as with ``padding="CAUSAL"``.

    Raises:
      TypeError: an argument has the wrong type, or the state another dtype.
      ValueError: an option is out of range, or the state does not fit.

    Example:
      >>> import jax.numpy as jnp, jconvt, jconvt.streaming
      >>> x, weight = jnp.array([[1., 2., 3.]]), jnp.array([[[1., 10., 100.]]])
      >>> state = jconvt.streaming.init(weight.shape)
      >>> state, y = jconvt.streaming.step(state, x, weight)
      >>> y, jconvt.streaming.flush(state, weight)
      (Array([[  1.,  12., 123.]], dtype=float32), Array([[230., 300.]], dtype=float32))
      >>> jconvt.conv_transpose(x, weight)
      Array([[  1.,  12., 123., 230., 300.]], dtype=float32)
    """
    function = "streaming.flush"
    stream = stream_of(
        function,
        check_array(function, "weight", weight).shape,
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
    del lowering
    y, _ = _flush(stream, state, weight, bias, dtype, precision, preferred_element_type)
    return y


@ends_traceback
def masked_flush(
    state: State,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    dtype: DTypeLike | None = None,
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
) -> tuple[jax.Array, jax.Array]:
    """The outputs that are left for signals of different lengths, and their mask.

    Args:
      state: what the last `masked_step` gave.
      weight: ``(C_in, C_out/groups, *K)``.
      bias: ``(C_out,)``, or None.
      dtype: as in `flush`.
      input_delay: as in `step`.
      axis: which spatial axis is streamed, as in `init`.
      stride: as in `init`; the following options too.
      padding: output elements to crop of the whole output.
      output_padding: output elements appended at the end of the whole output.
      output_size: must be None.
      groups: number of groups of channels.
      dilation: output elements between neighbouring taps.
      dimension_numbers: layouts of input, weight and output.
      precision: as in `jax.lax.conv_general_dilated`.
      preferred_element_type: dtype of the result.
      lowering: without effect here.

    Returns:
      The outputs of `flush`, zeros after the end of an item's result, and their mask,
      ``(N, count)`` or ``(count,)``: True before that end.

    Raises:
      TypeError: an argument has the wrong type, or the state another dtype.
      ValueError: an option is out of range, or the state does not fit.

    Example:
      >>> import jax.numpy as jnp, jconvt.streaming
      >>> weight = jnp.array([[[1., 1., 1.]]])
      >>> state = jconvt.streaming.init(weight.shape, batch=2)
      >>> mask = jnp.array([[True, True, True], [True, True, False]])
      >>> state, y, valid = jconvt.streaming.masked_step(
      ...     state, jnp.ones((2, 1, 3)), mask, weight)
      >>> y, valid = jconvt.streaming.masked_flush(state, weight)
      >>> y[:, 0]
      Array([[2., 1.],
             [1., 0.]], dtype=float32)
      >>> valid.sum(axis=1)
      Array([2, 1], dtype=int32)
    """
    function = "streaming.masked_flush"
    stream = stream_of(
        function,
        check_array(function, "weight", weight).shape,
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
    del lowering
    return _flush(stream, state, weight, bias, dtype, precision, preferred_element_type)


def _flush(
    stream: Stream,
    state: State,
    weight: ArrayLike,
    bias: ArrayLike | None,
    dtype: DTypeLike | None,
    precision: Precision,
    preferred_element_type: DTypeLike | None,
) -> tuple[jax.Array, jax.Array]:
    function, layout = stream.options.function, stream.options.layout
    check_state(function, state)
    w = check_array(function, "weight", weight)
    b = None if bias is None else check_array(function, "bias", bias)
    operands: Sequence[ArrayLike | DTypeLike] = [w] if b is None else [w, b]
    if dtype is not None:
        operands = [as_dtype(function, dtype)]
    operand, numerics = settle_dtypes(
        function, operands, precision, preferred_element_type
    )
    channels = w.shape[layout.weight[1]] * stream.options.groups
    if b is not None and b.shape != (channels,):
        raise ValueError(
            f"{function}: `bias` must have shape ({channels},), the output channels; "
            f"got {b.shape}."
        )
    batched = bool(np.ndim(state.heard))
    shape: list[int | None] = [None] * (stream.options.rank + 1 + batched)
    shape[stream.output_channel(batched)] = channels
    check_sums(function, state, sums_shape(stream, shape, batched), numerics)
    return drain(state, b, stream, numerics, operand)
