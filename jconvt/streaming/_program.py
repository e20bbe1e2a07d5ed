"""The programs of a step and of a flush, on checked arguments."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconvt._call.call import Call, Sizes
from jconvt._call.numerics import Numerics
from jconvt._maps.execute import add_bias, as_program, run
from jconvt._maps.explicit_axes import as_channels_of
from jconvt.streaming._state import State
from jconvt.streaming._stream import Stream


@as_program(3, 4)
@jax.named_scope("jconvt.streaming.step")
def advance(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None,
    call: Call,
    stream: Stream,
    state: State,
    mask: jax.Array | None,
) -> tuple[State, jax.Array, jax.Array]:
    """The next state, the outputs, and which of them are not after an end."""
    *_, axis = stream.input_axes(call.batched)
    count, s = x.shape[axis], stream.axis.stride
    # The sums of 16-bit floats are kept in float32, and rounded when they are emitted.
    wide = replace(call, numerics=call.numerics.summed())
    going, missing = _going(state.missing, mask, count)
    begun = state.heard[..., None] + _places(going.shape) >= stream.input_delay
    x = _where(going & begun, x, stream.input_axes(call.batched))
    y = run(x, w, None, wide)

    *batch, axis = stream.output_axes(call.batched)
    sums = jnp.moveaxis(state.sums, [*range(len(batch))], batch)
    sums = _pad(sums, axis, 0, count * s) + _pad(y, axis, stream.held, 0)
    kept = lax.slice_in_dim(sums, count * s, None, axis=axis)
    end = (count - missing) * s + stream.tail
    y, valid = _emit(
        lax.slice_in_dim(sums, 0, count * s, axis=axis),
        b,
        stream,
        call.numerics,
        call.operand,
        state.heard,
        end,
    )
    after = State(
        sums=jnp.moveaxis(kept, batch, [*range(len(batch))]),
        heard=jnp.minimum(state.heard + count, stream.most_heard),
        missing=jnp.minimum(missing, stream.most_missing),
    )
    return after, y, valid


@jax.named_scope("jconvt.streaming.flush")
def _drain(
    state: State,
    b: jax.Array | None,
    stream: Stream,
    numerics: Numerics,
    operand: np.dtype[Any],
) -> tuple[jax.Array, jax.Array]:
    """The last outputs, and which of them are not after an end."""
    *batch, axis = stream.output_axes(bool(state.heard.ndim))
    sums = jnp.moveaxis(state.sums, [*range(len(batch))], batch)
    sums = _pad(sums, axis, 0, stream.tail - stream.kept)
    end = stream.tail - state.missing * stream.axis.stride
    return _emit(sums, b, stream, numerics, operand, state.heard, end)


drain = jax.jit(_drain, static_argnums=(2, 3, 4), inline=True)


def _going(
    missing: jax.Array, mask: jax.Array | None, count: Any
) -> tuple[jax.Array, jax.Array]:
    """Which of `count` elements are before an end, and how many are after it in all."""
    going = jnp.broadcast_to(missing[..., None] == 0, (*missing.shape, count))
    if mask is not None:
        going &= lax.cummin(mask.astype(np.int32), axis=mask.ndim - 1) > 0
    return going, missing + count - going.sum(-1, dtype=np.int32)


def _emit(
    sums: jax.Array,
    b: jax.Array | None,
    stream: Stream,
    numerics: Numerics,
    operand: np.dtype[Any],
    heard: jax.Array,
    end: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Rounded sums plus bias, zeros before the signal and from `end` on."""
    batched = bool(heard.ndim)
    y = sums.astype(numerics.result)
    axes = stream.output_axes(batched)
    if b is not None:
        channel = stream.output_channel(batched)
        b = as_channels_of(y, jnp.asarray(b, operand), channel)
        y = add_bias(y, b, channel, numerics)
    places = _places((*heard.shape, y.shape[axes[-1]]))
    begun = heard[..., None] * stream.axis.stride + places >= stream.delay
    valid = places < end[..., None]
    return _where(begun & valid, y, axes), valid


def _where(keep: jax.Array, a: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """`a` where `keep`, whose axes are the `axes` of `a`, and zeros elsewhere."""
    if axes != tuple(sorted(axes)):
        keep = keep.T
    others = [axis for axis in range(a.ndim) if axis not in axes]
    return jnp.where(jnp.expand_dims(keep, others), a, jnp.zeros((), a.dtype))


def _places(shape: Sizes) -> jax.Array:
    """0, 1, ... along the last axis."""
    return lax.broadcasted_iota(np.int32, shape, len(shape) - 1)


def _pad(a: jax.Array, axis: int, low: Any, high: Any) -> jax.Array:
    """`a` with zeros at the ends of an axis, or without its last ``-high`` elements."""
    pads = [(low, high, 0) if i == axis else (0, 0, 0) for i in range(a.ndim)]
    return lax.pad(a, jnp.zeros((), a.dtype), pads)
