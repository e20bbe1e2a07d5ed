"""One chunk of a stream."""

from typing import Unpack

import jax
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import IntOrInts, Padding
from jconvt._call.call import Call, RunOptions
from jconvt._call.layout import DimensionNumbers
from jconvt._call.lowerings import Lowerings
from jconvt._call.numerics import Precision, check_array
from jconvt._call.tracebacks import ends_traceback
from jconvt._maps.execute import check_arrays, settle_call
from jconvt.streaming._program import advance
from jconvt.streaming._state import (
    State,
    check_bools,
    check_state,
    check_sums,
    sums_shape,
)
from jconvt.streaming._stream import Stream, stream_of


@ends_traceback
def step(
    state: State,
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
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
) -> tuple[State, jax.Array]:
    """The next chunk of a signal: the outputs that it completes, and the next state.

    The outputs of all steps and of `flush`, joined along the streamed axis, are `delay`
    zeros and then `jconvt.conv_transpose` of the whole signal, up to the order of
    sums. Gradients flow through the state; `jax.lax.stop_gradient` of it ends them at
    the chunk.

    Args:
      state: what `init` or the last step gave.
      input: the chunk, ``(N, C_in, *S)`` or unbatched ``(C_in, *S)``, with any number
        of elements along the streamed axis: 0 gives no outputs and the same state.
      weight: ``(C_in, C_out/groups, *K)``.
      bias: ``(C_out,)``, added to every output of the signal, or None.
      input_delay: how many of the stream's first input elements come before the
        signal: the delay of the layer below. They count as zeros.
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
      lowering: ``"auto"``, the name of a lowering, or `jconvt.Lowerings`.

    Returns:
      The next state, and the outputs, ``(N, C_out, *O)`` or ``(C_out, *O)``: for m
      elements of the chunk ``m*stride`` along the streamed axis. 16-bit floats are
      summed in float32 across chunks too.

    Raises:
      TypeError: an argument has the wrong type, or the state another dtype.
      ValueError: an option is out of range, or shapes do not fit each other.

    Example:
      >>> import jax, jax.numpy as jnp, jconvt.streaming
      >>> from functools import partial
      >>> options = {"stride": 2, "padding": "CAUSAL"}
      >>> weight = jnp.array([[[1., 10., 100.]]])
      >>> state = jconvt.streaming.init(weight.shape, batch=1, **options)
      >>> step = jax.jit(partial(jconvt.streaming.step, **options))
      >>> state, y = step(state, jnp.array([[[1., 2.]]]), weight)
      >>> y
      Array([[[  1.,  10., 102.,  20.]]], dtype=float32)
      >>> state, y = step(state, jnp.array([[[3.]]]), weight)
      >>> y
      Array([[[203.,  30.]]], dtype=float32)
    """
    function = "streaming.step"
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
    settled = _settle(
        stream,
        state,
        (input, weight, bias),
        precision=precision,
        preferred_element_type=preferred_element_type,
        lowering=lowering,
    )
    after, y, _ = advance(*settled, stream, state, None)
    return after, y


@ends_traceback
def masked_step(
    state: State,
    input: ArrayLike,
    mask: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
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
) -> tuple[State, jax.Array, jax.Array]:
    """The next chunk of a batch of signals that end at different places.

    The signal of an item ends at the first element that the mask leaves out. All
    elements from there on count as zeros, whatever they hold, and outputs after the end
    of the item's result are zeros. Each item's outputs are those of its signal alone.
    `reset` begins a new signal.

    Args:
      state: what `init` or the last step gave.
      input: the chunk, ``(N, C_in, *S)`` or unbatched ``(C_in, *S)``.
      mask: bools of shape ``(N, m)``, or ``(m,)`` for unbatched input, for the m
        elements along the streamed axis: True before the end of an item's signal.
      weight: ``(C_in, C_out/groups, *K)``.
      bias: ``(C_out,)``, or None; nothing is added after the end.
      input_delay: as in `step`. The mask is True in these elements too.
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
      lowering: ``"auto"``, the name of a lowering, or `jconvt.Lowerings`.

    Returns:
      The next state, the outputs, ``(N, C_out, *O)`` or ``(C_out, *O)``, and their
      mask, ``(N, m*stride)`` or ``(m*stride,)``: True before the end of an item's
      result, also before its beginning. It is the mask for a layer on top.

    Raises:
      TypeError: an argument has the wrong type, or the state another dtype.
      ValueError: an option is out of range, or shapes do not fit each other.

    Example:
      >>> import jax.numpy as jnp, jconvt.streaming
      >>> weight = jnp.array([[[1., 1., 1.]]])
      >>> state = jconvt.streaming.init(weight.shape, batch=2)
      >>> mask = jnp.array([[True, True, True, True], [True, False, False, False]])
      >>> state, y, valid = jconvt.streaming.masked_step(
      ...     state, jnp.ones((2, 1, 4)), mask, weight)
      >>> y[:, 0]
      Array([[1., 2., 3., 3.],
             [1., 1., 1., 0.]], dtype=float32)
      >>> valid.sum(axis=1)
      Array([4, 3], dtype=int32)
    """
    function = "streaming.masked_step"
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
    x, w, b, call = _settle(
        stream,
        state,
        (input, weight, bias),
        precision=precision,
        preferred_element_type=preferred_element_type,
        lowering=lowering,
    )
    *_, streamed = stream.input_axes(call.batched)
    shape = (*state.heard.shape, x.shape[streamed])
    going = check_bools(function, "mask", mask, shape)
    return advance(x, w, b, call, stream, state, going)


def _settle(
    stream: Stream,
    state: State,
    operands: tuple[ArrayLike, ArrayLike, ArrayLike | None],
    **options: Unpack[RunOptions],
) -> tuple[jax.Array, jax.Array, jax.Array | None, Call]:
    """The operands as arrays, and the call for the chunk; or the error."""
    function = stream.options.function
    check_state(function, state)
    x, w, b = check_arrays(function, *operands)
    call = settle_call(
        stream.options,
        (x.shape, w.shape, None if b is None else b.shape),
        [a for a in (x, w, b) if a is not None],
        **options,
    )
    outputs = call.output_shape(x.shape, w.shape)
    shape = sums_shape(stream, outputs, call.batched)
    check_sums(function, state, shape, call.numerics)
    return x, w, b, call
