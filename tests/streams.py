"""Whole signals through `jconvt.streaming`, and a definition that shares no code."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np

from jconvt import streaming


def bound(*, input_delay=0, **options):
    """init, step, masked_step, flush, masked_flush and delay with their options."""
    delayed = {"input_delay": input_delay, **options}
    return (
        functools.partial(streaming.init, **options),
        *(
            functools.partial(f, **delayed)
            for f in (
                streaming.step,
                streaming.masked_step,
                streaming.flush,
                streaming.masked_flush,
                streaming.delay,
            )
        ),
    )


def cut(x, lengths, axis):
    """Chunks of these lengths along an axis, and then what is left."""
    return np.split(np.asarray(x), list(itertools.accumulate(lengths)), axis)


def streamed(chunks, w, b=None, *, time=2, space=(), dtype=None, **options):
    """What a stream of chunks gives, without the delay, joined along axis `time`."""
    init, step, _, flush, _, delay = bound(**options)
    numbers = options.get("dimension_numbers") or ["N"]
    batched = chunks[0].ndim == w.ndim
    batch = chunks[0].shape[numbers[0].index("N")] if batched else None
    made = dtype or jnp.result_type(*(a for a in (chunks[0], w, b) if a is not None))
    state = init(w.shape, batch=batch, space=space, dtype=made)
    parts = []
    for chunk in chunks:
        state, y = step(state, chunk, w, b)
        parts.append(y)
    parts.append(flush(state, w, b, dtype=dtype))
    assert {y.dtype for y in parts} == {parts[0].dtype}
    y = np.concatenate([np.asarray(part) for part in parts], time)
    before, result = np.split(y, [delay(w.shape)], time)
    assert not before.any()
    return result


def overlap_add(x, w, b=None, *, stride=1, dilation=1, crop=(0, 0), groups=1):
    """The definition along one axis: input element i adds its kernel at i*stride."""
    batch, channels, n = x.shape
    _, per_group, k = w.shape
    low, high = crop
    extent = dilation * (k - 1) + 1
    size = (n - 1) * stride + extent - low - high
    y = np.zeros((batch, per_group * groups, size), np.result_type(x, w))
    share = channels // groups
    for i, t, c, o in np.ndindex(n, k, channels, per_group):
        place = i * stride + t * dilation - low
        if 0 <= place < size:
            feature = c // share * per_group + o
            y[:, feature, place] += x[:, c, i] * w[c, o, t]
    return y if b is None else y + b[:, None]
