"""Signals in chunks: doors that cut a call's input, and put the outputs together.

What comes out must be what the call is without a cut, in every way of `ways.WAYS`.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from hypothesis import assume
from hypothesis import strategies as st

import jconvt.linen
import jconvt.nnx
import jconvt.streaming
from fuzz.config import CIRCULAR, Config, Cut
from fuzz.doors import Call, channels_last, linen_module, nnx_module
from fuzz.strategies import configs, lowerings, serving


class Signal(NamedTuple):
    """The functions of a stream: a step gives a state, outputs and their mask."""

    state: Any
    step: Callable[[Any, Any, Any], tuple[Any, Any, Any]]
    flush: Callable[[Any], Any]
    delay: int


def _functions(config: Config, x: Any, w: Any, b: Any) -> Signal:
    """`jconvt.streaming`."""
    cut = config.cut
    options: dict[str, Any] = {
        "axis": cut.axis,
        "stride": config.stride,
        "padding": config.padding,
        "output_padding": config.output_padding,
        "groups": config.groups,
        "dilation": config.dilation,
        "dimension_numbers": config.numbers,
        "preferred_element_type": config.preferred,
        "lowering": config.lowering,
    }
    space = _others(config)
    state = jconvt.streaming.init(
        w.shape, batch=config.batch, dtype=config.promoted, space=space, **options
    )
    options["input_delay"] = cut.before
    delay = jconvt.streaming.delay(w.shape, **options)

    def step(state: Any, chunk: Any, mask: Any) -> tuple[Any, Any, Any]:
        if mask is None:
            return (*jconvt.streaming.step(state, chunk, w, b, **options), None)
        return jconvt.streaming.masked_step(state, chunk, mask, w, b, **options)

    def flush(state: Any) -> Any:
        known = {"dtype": config.promoted, **options}
        if cut.after is None:
            return jconvt.streaming.flush(state, w, b, **known)
        return jconvt.streaming.masked_flush(state, w, b, **known)[0]

    return Signal(state, step, flush, delay)


def _nnx(config: Config, x: Any, w: Any, b: Any) -> Signal:
    """`jconvt.nnx.Streaming`."""
    cut = config.cut
    module = jconvt.nnx.Streaming(
        nnx_module(config, w, b),
        batch=config.batch,
        space=_others(config),
        axis=cut.axis,
        input_delay=cut.before,
        dtype=config.promoted,
    )

    def step(state: Any, chunk: Any, mask: Any) -> tuple[Any, Any, Any]:
        if mask is None:
            return None, module(chunk), None
        return None, *module.masked_step(chunk, mask)

    def flush(state: Any) -> Any:
        return module.flush() if cut.after is None else module.masked_flush()[0]

    return Signal(None, step, flush, module.delay)


def _linen(config: Config, x: Any, w: Any, b: Any) -> Signal:
    """`jconvt.linen.Streaming`."""
    cut = config.cut
    layer, parameters = linen_module(config, w, b)
    module = jconvt.linen.Streaming(
        layer, axis=cut.axis, input_delay=cut.before, dtype=config.promoted
    )
    fixed = {"params": {"layer": parameters}}
    empty = jax.lax.slice_in_dim(x, 0, 0, axis=_streamed_axis(config, 0))
    state = module.init(jax.random.key(0), empty)["stream"]

    def step(state: Any, chunk: Any, mask: Any) -> tuple[Any, Any, Any]:
        given = [chunk] if mask is None else [chunk, mask]
        y, changed = module.apply(
            {**fixed, "stream": state},
            *given,
            mutable=["stream"],
            method=None if mask is None else "masked_step",
        )
        return (changed["stream"], *((y, None) if mask is None else y))

    def flush(state: Any) -> Any:
        given = {**fixed, "stream": state}
        if cut.after is None:
            return module.apply(given, method="flush")
        return module.apply(given, method="masked_flush")[0]

    return Signal(state, step, flush, module.delay)


def _others(config: Config) -> tuple[int, ...]:
    """Input sizes of the axes that are not streamed."""
    return tuple(n for i, n in enumerate(config.space) if i != config.cut.axis)


def _streamed_axis(config: Config, which: int) -> int:
    """The streamed axis of the input (0) or of the output (2)."""
    spec = config.specs[which].replace("N", "" if config.batch is None else "N")
    return spec.index(config.plain_specs[0][2 + config.cut.axis])


def _through(begin: Callable[..., Signal], config: Config) -> Call:
    """A call that cuts its input, joins what the stream gives, and drops the delay.

    What comes before and after the signal are ones that must not be heard; where the
    stream is not silent there, all of the result is off.
    """
    cut, (along, made) = config.cut, (_streamed_axis(config, i) for i in (0, 2))

    def call(x: Any, w: Any, b: Any) -> Any:
        def ones(count: int) -> Any:
            shape = [count if i == along else n for i, n in enumerate(x.shape)]
            return jnp.ones(shape, x.dtype)

        size = x.shape[along]
        x = jnp.concatenate([ones(cut.before), x, ones(cut.after or 0)], along)
        mask = None
        if cut.after is not None:
            real = jnp.arange(x.shape[along]) < cut.before + size
            items = () if config.batch is None else (config.batch,)
            mask = jnp.broadcast_to(real, (*items, *real.shape))
        signal = begin(config, x, w, b)
        y = _played(signal, cut, x, mask, along, made)
        end = signal.delay + config.out[cut.axis]
        before, y, after = jnp.split(y, [signal.delay, end], made)
        return y + (jnp.sum(before) + jnp.sum(after)).astype(y.dtype)

    return call


def _played(
    signal: Signal, cut: Cut, x: Any, mask: Any, along: int, made: int
) -> jax.Array:
    """All outputs: of a loop, or of `lax.scan` over chunks of one length."""
    ends = list(itertools.accumulate(cut.lengths))[:-1]
    chunks = jnp.split(x, ends, along)
    masks = [None] * len(chunks) if mask is None else jnp.split(mask, ends, -1)
    state, parts = signal.state, []
    if state is not None and len(chunks) > 1 and len(set(cut.lengths)) == 1:

        def body(state: Any, chunk: Any) -> tuple[Any, Any]:
            state, y, _ = signal.step(state, *chunk)
            return state, y

        masks = None if mask is None else jnp.stack(masks)
        state, ys = jax.lax.scan(body, state, (jnp.stack(chunks), masks))
        parts = list(ys)
    else:
        for chunk, real in zip(chunks, masks, strict=True):
            state, y, _ = signal.step(state, chunk, real)
            parts.append(y)
    return jnp.concatenate([*parts, signal.flush(state)], made)


STREAMS: dict[str, Callable[[Config], Call]] = {
    "streaming": lambda config: _through(_functions, config),
    "nnx Streaming": lambda config: _through(_nnx, config),
    "linen Streaming": lambda config: _through(_linen, config),
}
"""Name -> the call of a config, through a stream."""


@st.composite
def streams(draw: st.DrawFn) -> Config:
    """Any call of which an axis is streamed, and any cut."""
    config = draw(configs(door="conv_transpose"))
    # The counts of a state are a minimum with a scalar, of which jet makes an error.
    assume(config.rank > 0 and config.way != "jet")
    axis = draw(st.integers(0, config.rank - 1))
    config = dataclasses.replace(config, more=None, cut=Cut(axis=axis, lengths=()))
    if config.paddings[axis] in CIRCULAR:
        paddings = list(config.paddings)
        paddings[axis] = "CAUSAL"
        config = dataclasses.replace(config, padding=tuple(paddings))
    assume(all(m >= 0 for m in config.out))
    before = draw(st.sampled_from([0, 0, 0, 1, 2]))
    after = draw(st.sampled_from([None, None, None, 0, 2]))
    total = before + config.space[axis] + (after or 0)
    lengths = draw(_lengths(total))
    cut = Cut(axis=axis, lengths=lengths, before=before, after=after)
    config = dataclasses.replace(config, cut=cut)
    return dataclasses.replace(
        config,
        door=draw(st.sampled_from(_doors(config))),
        lowering=draw(lowerings(serving(config))),
    )


@st.composite
def _lengths(draw: st.DrawFn, total: int) -> tuple[int, ...]:
    """Of chunks: all the same, or any."""
    same = [m for m in range(1, total + 1) if total % m == 0]
    if same and draw(st.booleans()):
        length = draw(st.sampled_from(same))
        return (length,) * (total // length)
    places = sorted(draw(st.lists(st.integers(0, total), max_size=3)))
    return tuple(b - a for a, b in itertools.pairwise([0, *places, total]))


def _doors(config: Config) -> list[str]:
    """Those that can say the layer."""
    floats = jnp.issubdtype(config.promoted, jnp.inexact)
    formats = config.numbers in (None, channels_last(config.rank))
    layers = floats and config.preferred is None and config.weight_dtype is None
    fits = layers and formats and config.rank in (1, 2, 3)
    return ["streaming"] * 3 + ["nnx Streaming", "linen Streaming"] * fits
