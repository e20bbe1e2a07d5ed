"""What is wrong with a stream is said before anything is traced."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from jconvt import streaming

X, W, B = (jnp.ones(s, jnp.float32) for s in [(2, 4, 5), (4, 3, 6), (3,)])
MASK = np.ones((2, 5), bool)
STATE = streaming.init(W.shape, batch=2)


def step(state=STATE, input=X, weight=W, bias=B, **options):
    return streaming.step(state, input, weight, bias, **options)


def masked(mask):
    return streaming.masked_step(STATE, X, mask, W)


def flush(state=STATE, weight=W, bias=B, **options):
    return streaming.flush(state, weight, bias, **options)


def init(weight_shape=W.shape, **options):
    return streaming.init(weight_shape, **options)


DOORS = {
    "init": init,
    "step": step,
    "masked_step": lambda **options: streaming.masked_step(
        STATE, X, MASK, W, **options
    ),
    "flush": flush,
    "masked_flush": lambda **options: streaming.masked_flush(STATE, W, **options),
    "delay": lambda **options: streaming.delay(W.shape, **options),
}

EVERYWHERE = [  # options, error, text after the function's name
    (
        {"output_size": 9},
        ValueError,
        "`output_size` must be None, since the length of a signal in chunks is not "
        "known; got 9. Write `output_padding`, the number of output elements to "
        "append.",
    ),
    (
        {"padding": "CIRCULAR"},
        ValueError,
        "`padding` must not be periodic along the streamed axis, whose first outputs "
        "would need its last inputs; got 'CIRCULAR' on spatial axis 0. 'CAUSAL' and "
        "'SAME' give as many outputs.",
    ),
    (
        {"axis": 1},
        ValueError,
        "`axis` must be smaller than 1, the number of spatial axes; got 1. It counts "
        "spatial axes alone: 0 is the first after batch and channels.",
    ),
    ({"axis": -1}, ValueError, "`axis` must be at least 0; got -1."),
    ({"axis": "time"}, TypeError, "`axis` must be an int; got 'time' of type str."),
    ({"stride": 0}, ValueError, "`stride` must be at least 1; got 0."),
    ({"padding": "CASUAL"}, ValueError, "Did you mean 'CAUSAL'?"),
    ({"groups": 3}, ValueError, "divisible by `groups`; got 4 channels and groups=3."),
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("options", "error", "text"), EVERYWHERE)
def test_options(door, options, error, text):
    with pytest.raises(error, match=re.escape(text)) as found:
        DOORS[door](**options)
    assert str(found.value).startswith(f"streaming.{door}: ")


@pytest.mark.parametrize("door", ["step", "masked_step", "flush", "delay"])
def test_input_delay(door):
    with pytest.raises(ValueError, match="`input_delay` must be at least 0; got -1"):
        DOORS[door](input_delay=-1)
    with pytest.raises(TypeError, match=r"`input_delay` must be an int; got 1\.5"):
        DOORS[door](input_delay=1.5)
    with pytest.raises(ValueError, match="`input_delay` must not be larger than"):
        DOORS[door](input_delay=2**40)


CALLS = [  # call, error, text
    (lambda: step(precision=3), TypeError, "streaming.step: `precision` must be None"),
    (lambda: flush(precision=3), TypeError, "streaming.flush: `precision` must be"),
    (lambda: init(batch=-1), ValueError, "`batch` must be at least 0; got -1."),
    (lambda: init(batch=2.0), TypeError, "`batch` must be an int; got 2.0"),
    (lambda: init(dtype="bool"), TypeError, "`dtype` must hold integers, floats"),
    (lambda: init(W), TypeError, "Give its .shape"),
    (lambda: init((4, 3)), ValueError, "`weight` must have a spatial axis"),
    (lambda: init((4, 3, 0)), ValueError, "`weight_shape[2]` must be at least 1"),
    (
        lambda: init((4, 3, 6, 6), batch=2),
        ValueError,
        "`space` must hold 1 sizes, one for each spatial axis that is not streamed; "
        "got ().",
    ),
    (lambda: init((4, 3, 6, 6), space=8), TypeError, "`space` must be a tuple or list"),
    (lambda: init(lowering="fast"), ValueError, "streaming.init: `lowering` must be"),
    (
        lambda: step((STATE, X)),
        TypeError,
        "streaming.step: `state` must be what jconvt.streaming.init or step gave; got "
        "tuple. A step gives (state, outputs).",
    ),
    (
        lambda: step(stride=2),
        ValueError,
        "streaming.step: `state` must hold sums of shape (2, 3, 4) for these "
        "arguments; got (2, 3, 5). Give jconvt.streaming.init the same options and "
        "the sizes of the chunk.",
    ),
    (lambda: step(input=X[0]), ValueError, "sums of shape (3, 5) for these"),
    (
        lambda: step(input=X.astype(np.int32), weight=W.astype(np.int32), bias=None),
        TypeError,
        "`state` must hold sums of dtype int32 for these arguments; got float32. Give "
        "jconvt.streaming.init as `dtype` what input, weight and bias promote to.",
    ),
    (lambda: step(input=X[:, :3]), ValueError, "`input` must have as many channels"),
    (lambda: step(input=X[..., None]), ValueError, "`input` must have 3 axes"),
    (lambda: step(input=[1.0]), TypeError, "`input` must be a JAX or NumPy array"),
    (
        lambda: step(bias=X[0, :, 0]),
        ValueError,
        "`bias` must have shape (3,)",
    ),
    (lambda: step(lowering="matmul"), ValueError, "streaming.step: `low"),
    (
        lambda: masked(MASK[:, :4]),
        ValueError,
        "streaming.masked_step: `mask` must have shape (2, 5); got (2, 4).",
    ),
    (
        lambda: masked(MASK.astype(int)),
        TypeError,
        "`mask` must be a JAX or NumPy array of bools; got dtype int64.",
    ),
    (lambda: masked(None), TypeError, "`mask` must be a JAX or NumPy array of bools"),
    (
        lambda: flush(padding=[(-1, 0)]),
        ValueError,
        "streaming.flush: `state` must hold sums of shape (any, 3, 6) for these",
    ),
    (lambda: flush(dtype=np.int32), TypeError, "`state` must hold sums of dtype int32"),
    (
        lambda: flush(bias=X[0, :, 0]),
        ValueError,
        "`bias` must have shape (3,)",
    ),
    (lambda: flush(W), TypeError, "streaming.flush: `state` must be what"),
    (
        lambda: streaming.reset(STATE, np.ones(3, bool)),
        ValueError,
        "streaming.reset: `where` must have shape (2,); got (3,).",
    ),
    (
        lambda: streaming.reset(STATE, [True, False]),
        TypeError,
        "`where` must be a JAX or NumPy array of bools; got list.",
    ),
    (lambda: streaming.reset(X, MASK), TypeError, "streaming.reset: `state` must be"),
    (
        lambda: streaming.stack_delays([(W.shape, {"stride": 0})]),
        ValueError,
        "streaming.delay: `stride` must be at least 1",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), CALLS)
def test_arguments(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()


def test_other_axes_keep_their_own_errors():
    with pytest.raises(ValueError, match="the output size must not be negative"):
        streaming.init((1, 1, 3, 3), space=[2], padding=(0, 4))
