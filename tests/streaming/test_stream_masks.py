"""Signals of different lengths in one batch, and new signals in the middle of it."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jconvt import streaming
from streams import bound, cut, overlap_add

GEOMETRIES = {  # kernel, options, crop
    "overlap": (5, {"stride": 2}, (0, 0)),
    "cropped": (5, {"stride": 2, "padding": 2}, (2, 2)),
    "gaps": (2, {"stride": 3}, (0, 0)),
    "appended": (3, {"stride": 2, "padding": [(-2, -3)]}, (-2, -3)),
    "held": (3, {"stride": 2, "padding": [(0, 3)]}, (0, 3)),
    "dilated": (3, {"stride": 2, "padding": [(1, 0)], "dilation": 2}, (1, 0)),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES)


def whole_numbers(rng, *shape):
    return rng.integers(-4, 5, shape).astype(np.float32)


def masked_run(x, mask, lengths, w, b, **options):
    """Outputs and mask of a whole stream in chunks, without the delay."""
    init, _, step, _, flush, delay = bound(**options)
    state = init(w.shape, batch=len(x))
    parts = []
    for chunk, real in zip(cut(x, lengths, 2), cut(mask, lengths, 1), strict=True):
        state, *part = step(state, chunk, real, w, b)
        parts.append(part)
    parts.append(flush(state, w, b))
    y, valid = (np.concatenate(p, -1) for p in zip(*parts, strict=True))
    before = delay(w.shape)
    assert not y[..., :before].any()
    assert valid[:, :before].all()
    return y[..., before:], valid[:, before:]


@given(
    st.sampled_from(list(GEOMETRIES)),
    st.lists(st.integers(2, 6), min_size=2, max_size=2),
    st.lists(st.integers(0, 3), max_size=2),
    st.integers(0, 3),
)
@settings(max_examples=20)
def test_each_item_is_as_if_alone(geometry, counts, lengths, more):
    """Whatever its masked elements hold, with zeros after its end, and its own mask."""
    kernel, options, crop = GEOMETRIES[geometry]
    n = max(counts) + more
    rng = np.random.default_rng(0)
    x, w = whole_numbers(rng, 2, 2, n), whole_numbers(rng, 2, 3, kernel)
    b = np.ones(3, np.float32)
    mask = np.arange(n) < np.array(counts)[:, None]
    x[~np.broadcast_to(mask[:, None], x.shape)] = np.nan
    y, valid = masked_run(x, mask, lengths, w, b, **options)
    known = {name: options.get(name, 1) for name in ("stride", "dilation")}
    for item, count in enumerate(counts):
        alone = overlap_add(x[item : item + 1, :, :count], w, b, crop=crop, **known)
        size = alone.shape[2]
        np.testing.assert_array_equal(y[item, :, :size], alone[0])
        assert not y[item, :, size:].any()
        np.testing.assert_array_equal(valid[item], np.arange(y.shape[2]) < size)


@geometries
def test_a_full_mask_is_no_mask(geometry):
    kernel, options, _ = GEOMETRIES[geometry]
    rng = np.random.default_rng(1)
    x, w = whole_numbers(rng, 2, 2, 4), whole_numbers(rng, 2, 3, kernel)
    init, step, masked_step, flush, masked_flush, _ = bound(**options)
    state = init(w.shape, batch=2)
    plain, y = step(state, x, w)
    masked, z, valid = masked_step(state, x, np.ones((2, 4), bool), w)
    np.testing.assert_array_equal(y, z)
    assert valid.all()
    last, valid = masked_flush(masked, w)
    np.testing.assert_array_equal(flush(plain, w), last)
    assert valid.all()


def test_a_signal_ends_once():
    """Elements after the first that is masked are masked too, in later chunks too."""
    rng = np.random.default_rng(2)
    x, w = whole_numbers(rng, 1, 2, 6), whole_numbers(rng, 2, 3, 1)
    mask = np.array([[True, False, True, True, True, True]])
    y, valid = masked_run(x, mask, [3], w, None)
    assert valid.sum() == 1
    np.testing.assert_array_equal(y[..., :1], overlap_add(x[..., :1], w))
    state = streaming.init(w.shape, batch=1)
    state, _, _ = streaming.masked_step(state, x, mask, w)
    _, y = streaming.step(state, x, w)
    assert not y.any(), "a step without a mask goes on after the end"


def test_unbatched_masks():
    w, x = np.ones((1, 1, 3), np.float32), np.full((1, 4), np.inf, np.float32)
    x[0, :2] = 1
    state = streaming.init(w.shape)
    mask = np.array([True, True, False, False])
    state, y, valid = streaming.masked_step(state, x, mask, w)
    np.testing.assert_array_equal(y, [[1, 2, 2, 1]])
    np.testing.assert_array_equal(valid, [True] * 4)
    y, valid = streaming.masked_flush(state, w)
    np.testing.assert_array_equal(y, [[0, 0]])
    assert valid.shape == (2,)
    assert not valid.any()


# Reset --------------------------------------------------------------------------------


@geometries
def test_a_reset_item_begins_anew(geometry):
    """It gives what a new state gives, and the other items go on."""
    kernel, options, _ = GEOMETRIES[geometry]
    rng = np.random.default_rng(3)
    x, w = whole_numbers(rng, 2, 2, 8), whole_numbers(rng, 2, 3, kernel)
    init, step, masked_step, flush, _, _ = bound(**options)
    mask = np.array([[True] * 4, [True, False, False, False]])
    begun, _, _ = masked_step(init(w.shape, batch=2), x[..., :4], mask, w)
    state = streaming.reset(begun, np.array([False, True]))
    new, _ = step(init(w.shape, batch=2), x[..., 4:], w)
    old, _ = step(begun, x[..., 4:], w)
    found, y = step(state, x[..., 4:], w)
    for item, expected in ((0, old), (1, new)):
        for leaf, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(leaf[item], wanted[item])
    last = flush(found, w)
    np.testing.assert_array_equal(last[0], flush(old, w)[0])
    np.testing.assert_array_equal(last[1], flush(new, w)[1])
    assert y.shape == (2, 3, 4 * options["stride"])


def test_reset_where_the_batch_is_not_the_first_axis():
    numbers = ("HNC", "IOH", "HCN")
    step = functools.partial(streaming.step, dimension_numbers=numbers)
    w = np.ones((1, 1, 3), np.float32)
    state = streaming.init(w.shape, batch=2, dimension_numbers=numbers)
    assert state.sums.shape[0] == 2
    state, _ = step(state, np.ones((4, 2, 1), np.float32), w)
    state = streaming.reset(state, jnp.array([True, False]))
    _, y = step(state, np.zeros((2, 2, 1), np.float32), w)
    np.testing.assert_array_equal(y[:, 0], [[0, 2], [0, 1]])


def test_reset_of_an_unbatched_stream():
    w = np.ones((1, 1, 3), np.float32)
    state = streaming.init(w.shape)
    heard, _ = streaming.step(state, np.ones((1, 4), np.float32), w)
    for where in (True, False):
        found = streaming.reset(heard, np.array(where))
        wanted = state if where else heard
        for leaf, expected in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(leaf, expected)


# Layers on top of each other ----------------------------------------------------------

LAYERS = [  # kernel, options, crop, stride
    (4, {"stride": 2, "padding": 1}, (1, 1)),
    (5, {"stride": 3, "padding": [(2, 0)]}, (2, 0)),
    (3, {"stride": 1, "padding": [(-1, 2)]}, (-1, 2)),
]


def activation(y):
    """Not zero at zero, so that what comes before a signal must be left out."""
    return y * y + 1


@pytest.mark.parametrize("lengths", [[3, 1], [0, 5], [2, 2, 2]])
def test_a_stack_is_the_stack_at_once(lengths):
    rng = np.random.default_rng(4)
    x = whole_numbers(rng, 1, 2, 6)
    weights = [rng.integers(-1, 2, (2, 2, k)).astype("f") for k, *_ in LAYERS]
    b = np.ones(2, np.float32)
    layers = [(w.shape, o) for w, (_, o, _) in zip(weights, LAYERS, strict=True)]
    delays = streaming.stack_delays(layers)
    assert delays == (1, 1 * 3 + 2, 1 * 3 + 2 + 0)
    expected = x
    for i, (w, (_, options, crop)) in enumerate(zip(weights, LAYERS, strict=True)):
        expected = activation(expected) if i else expected
        expected = overlap_add(expected, w, b, crop=crop, stride=options["stride"])
    parts = [*cut(x, lengths, 2)]
    for i, (w, (_, options, _)) in enumerate(zip(weights, LAYERS, strict=True)):
        before = delays[i - 1] if i else 0
        init, step, _, flush, _, _ = bound(**options, input_delay=before)
        state, outputs = init(w.shape, batch=1), []
        for part in parts:
            state, y = step(state, activation(part) if i else part, w, b)
            outputs.append(np.asarray(y))
        parts = [*outputs, np.asarray(flush(state, w, b))]
    y = np.concatenate(parts, -1)
    assert not y[..., : delays[-1]].any()
    np.testing.assert_array_equal(y[..., delays[-1] :], expected)


def test_a_stack_of_masked_layers():
    """The mask of a layer's outputs is the mask of the next layer's inputs."""
    rng = np.random.default_rng(5)
    counts = [3, 5]
    x = whole_numbers(rng, 2, 2, 6)
    weights = [rng.integers(-1, 2, (2, 2, k)).astype("f") for k, *_ in LAYERS]
    mask = np.arange(6) < np.array(counts)[:, None]
    layers = [(w.shape, o) for w, (_, o, _) in zip(weights, LAYERS, strict=True)]
    delays = streaming.stack_delays(layers)
    parts = list(zip(cut(x, [2, 2], 2), cut(mask, [2, 2], 1), strict=True))
    for i, (w, (_, options, _)) in enumerate(zip(weights, LAYERS, strict=True)):
        before = delays[i - 1] if i else 0
        init, _, step, _, flush, _ = bound(**options, input_delay=before)
        state, outputs = init(w.shape, batch=2), []
        for part, real in parts:
            state, *y = step(state, activation(part) if i else part, real, w)
            outputs.append(y)
        parts = [*outputs, flush(state, w)]
    y = np.concatenate([p for p, _ in parts], -1)[..., delays[-1] :]
    for item, count in enumerate(counts):
        wanted = x[item : item + 1, :, :count]
        for i, (w, (_, options, crop)) in enumerate(zip(weights, LAYERS, strict=True)):
            wanted = activation(wanted) if i else wanted
            wanted = overlap_add(wanted, w, crop=crop, stride=options["stride"])
        size = wanted.shape[2]
        np.testing.assert_array_equal(y[item, :, :size], wanted[0])
        assert not y[item, :, size:].any()


@given(
    *(st.integers(1, 5), st.integers(1, 4), st.integers(-4, 6), st.integers(-4, 6)),
    st.integers(0, 3),
)
@settings(max_examples=10)
def test_the_delay_is_the_place_of_the_first_output(k, s, low, high, before):
    """Found by a stream: a bias is added to outputs of the signal alone."""
    n = 20 + before
    assume((n - 1) * s + k - low - high > 0)
    options = {"stride": s, "padding": [(low, high)]}
    w = np.zeros((1, 1, k), np.float32)
    expected = streaming.delay(w.shape, input_delay=before, **options)
    state = streaming.init(w.shape, **options)
    x, b = np.zeros((1, 40), np.float32), np.ones(1, np.float32)
    _, y = streaming.step(state, x, w, b, input_delay=before, **options)
    assert int(np.argmax(np.asarray(y[0]) > 0)) == expected
