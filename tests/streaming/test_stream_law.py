"""A signal in any chunks is the transposed convolution of the whole signal."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import jconvt
import oracles
from configurations import mixes_dtypes
from jconvt import streaming
from streams import cut, overlap_add, streamed


def integers(rng, shape, dtype=np.float32):
    """Small whole numbers, so that sums are exact in any order."""
    return rng.integers(-4, 5, shape).astype(dtype)


@st.composite
def signals(draw):
    """Lengths of chunks, sizes and options along one axis."""
    found = {
        "stride": draw(st.integers(1, 4)),
        "dilation": draw(st.integers(1, 3)),
        "groups": draw(st.integers(1, 2)),
        "crop": (draw(st.integers(-3, 4)), draw(st.integers(-3, 5))),
    }
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    kernel, n = draw(st.integers(1, 4)), sum(lengths)
    extent = found["dilation"] * (kernel - 1) + 1
    assume(n > 0)
    assume((n - 1) * found["stride"] + extent - sum(found["crop"]) >= 0)
    return lengths, kernel, found, draw(st.booleans()), draw(st.integers(0, 99))


@given(signals())
@settings(max_examples=20)
def test_any_cut_is_the_whole(signal):
    """Any crop, also negative; kernels smaller than the stride; chunks of nothing."""
    lengths, kernel, found, with_bias, seed = signal
    rng = np.random.default_rng(seed)
    x = integers(rng, (2, 4, sum(lengths)))
    w = integers(rng, (4, 3, kernel))
    b = integers(rng, 3 * found["groups"]) if with_bias else None
    options = {**found, "padding": [found["crop"]]}
    del options["crop"]
    chunks = cut(x, lengths, 2)
    expected = overlap_add(x, w, b, **found)
    np.testing.assert_array_equal(streamed(chunks, w, b, **options), expected)


@given(signals(), st.integers(0, 2), st.integers(0, 1))
@settings(max_examples=10)
def test_any_cut_is_pytorchs(signal, p, more):
    torch = pytest.importorskip("torch")
    lengths, kernel, found, with_bias, seed = signal
    options = {name: found[name] for name in ("stride", "dilation", "groups")}
    options |= {"padding": p, "output_padding": more}
    extent = options["dilation"] * (kernel - 1) + 1
    n = sum(lengths)
    assume(more < max(options["stride"], options["dilation"]))
    assume((n - 1) * options["stride"] + extent - 2 * p + more > 0)
    rng = np.random.default_rng(seed)
    x, w = integers(rng, (2, 4, n)), integers(rng, (4, 3, kernel))
    b = integers(rng, 3 * options["groups"]) if with_bias else None
    expected = torch.nn.functional.conv_transpose1d(
        torch.from_numpy(x),
        torch.from_numpy(w),
        None if b is None else torch.from_numpy(b),
        **options,
    )
    found = streamed(cut(x, lengths, 2), w, b, **options)
    np.testing.assert_array_equal(found, expected.numpy())


RULES = {
    "VALID": oracles.valid_crop,
    "SAME": oracles.same_crop,
    "SAME_LOWER": oracles.same_lower_crop,
    "CAUSAL": oracles.causal_crop,
}


@pytest.mark.parametrize("padding", RULES)
@pytest.mark.parametrize(("kernel", "stride"), [(5, 2), (2, 3)])
def test_named_paddings(padding, kernel, stride):
    rng = np.random.default_rng(0)
    x, w = integers(rng, (1, 2, 5)), integers(rng, (2, 2, kernel))
    crop = RULES[padding](5, kernel, stride, 1)
    found = streamed(cut(x, [2, 1], 2), w, stride=stride, padding=padding)
    np.testing.assert_array_equal(found, overlap_add(x, w, stride=stride, crop=crop))


@pytest.mark.parametrize("name", ["SAME", "SAME_LOWER", "CAUSAL", "VALID"])
def test_usual_paddings_hold_nothing_back(name):
    """The state has extent minus stride sums: what later elements may add to."""
    state = streaming.init((2, 3, 9), batch=4, stride=2, dilation=2, padding=name)
    assert state.sums.shape == (4, 3, 2 * 8 + 1 - 2)
    state = streaming.init((2, 3, 2), batch=4, stride=5, padding=name)
    assert state.sums.shape == (4, 3, 0)


# Axes and layouts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specs", "time", "axis"),
    [
        (("NCH", "IOH", "NCH"), 2, 0),
        (("NHC", "HIO", "NHC"), 1, 0),
        (("HNC", "OHI", "CHN"), 1, 0),
        (("NCHW", "IOHW", "NCHW"), 2, 0),
        (("NHWC", "HWIO", "NHWC"), 2, 1),
        (("WCHN", "HWIO", "CNWH"), 3, 0),
        (("NCDHW", "IODHW", "NCDHW"), 2, 0),
        (("NDHWC", "DHWOI", "NCDHW"), 4, 2),
    ],
)
@pytest.mark.parametrize("batched", [True, False])
def test_layouts(specs, time, axis, batched):
    """`time` is the streamed axis of the output; `axis` counts spatial axes alone."""
    space = specs[1].replace("I", "").replace("O", "")
    rng = np.random.default_rng(1)
    size, kernel = dict(zip(space, (5, 4, 6), strict=False)), (3, 2, 4)
    kernel = dict(zip(space, kernel, strict=False))
    sizes = {**size, "N": 2, "C": 4, "I": 4, "O": 3}
    x = integers(rng, [sizes[a] for a in specs[0]])
    w = integers(rng, [({**sizes, **kernel})[a] for a in specs[1]])
    b = integers(rng, 6)
    crops = [(1, 0), (0, 1), (2, -1)][: len(space)]
    options = {"stride": (2, 1, 3)[: len(space)], "groups": 2}
    expected = oracles.scatter(
        oracles.permute(x, specs[0], f"NC{space}"),
        oracles.permute(w, specs[1], f"IO{space}"),
        b,
        crop=crops,
        dilation=(1,) * len(space),
        **options,
    )
    expected = oracles.permute(expected, f"NC{space}", specs[2])
    along = specs[0].index(space[axis])
    if not batched:
        x = np.take(x, 1, specs[0].index("N"))
        expected = np.take(expected, 1, specs[2].index("N"))
        along -= along > specs[0].index("N")
        time -= time > specs[2].index("N")
    found = streamed(
        cut(x, [1, 2], along),
        w,
        b,
        time=time,
        space=[n for i, n in enumerate(size.values()) if i != axis],
        axis=axis,
        padding=crops,
        dimension_numbers=specs,
        **options,
    )
    np.testing.assert_array_equal(found, expected)


def test_video_may_be_periodic_in_space():
    rng = np.random.default_rng(2)
    x, w = integers(rng, (1, 2, 4, 5)), integers(rng, (2, 3, 3, 4))
    options = {"stride": 2, "padding": ("CAUSAL", "CIRCULAR")}
    found = streamed(cut(x, [3], 2), w, space=[5], **options)
    full = oracles.scatter(
        *(x, w),
        stride=(2, 2),
        crop=((0, 1), (0, 0)),
        dilation=(1, 1),
    )
    around = full[..., :10].copy()
    around[..., :2] += full[..., 10:]
    np.testing.assert_array_equal(found, np.roll(around, -1, axis=-1))


# Dtypes -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "complex64"])
def test_dtypes_are_exact(dtype):
    """Integers modulo two to the number of their bits."""
    rng = np.random.default_rng(3)
    x, w = (rng.integers(0, 200, s).astype(dtype) for s in [(1, 3, 6), (3, 2, 5)])
    wide = np.complex128 if dtype == "complex64" else np.int64
    expected = overlap_add(x.astype(wide), w.astype(wide), stride=2).astype(dtype)
    found = streamed(cut(x, [1, 3], 2), w, stride=2)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_16_bit_floats_are_rounded_once(dtype):
    """Sums that span chunks are as those inside of one: in float32."""
    rng = np.random.default_rng(4)
    x, w = (jnp.asarray(rng.normal(size=s), dtype) for s in [(1, 9, 8), (9, 2, 12)])
    found = streamed([x[..., i : i + 1] for i in range(8)], w, stride=2)
    expected = oracles.scatter(x, w, stride=(2,), crop=((0, 0),), dilation=(1,))
    bound = oracles.scatter(
        *(np.abs(oracles.widen(x)), np.abs(oracles.widen(w))),
        stride=(2,),
        crop=((0, 0),),
        dilation=(1,),
    )
    oracles.assert_close(found, expected, magnitude=bound, terms=54, dtype=dtype)
    state = streaming.init(w.shape, batch=1, dtype=dtype, stride=2)
    assert state.sums.dtype == np.float32


def test_preferred_element_type():
    rng = np.random.default_rng(5)
    x, w = integers(rng, (1, 3, 6), np.int8), integers(rng, (3, 2, 5), np.int8)
    found = streamed(cut(x * 30, [4], 2), w, preferred_element_type=np.int32)
    assert found.dtype == np.int32
    wide = overlap_add((x * 30).astype(np.int32), w.astype(np.int32))
    np.testing.assert_array_equal(found, wide)


@mixes_dtypes
def test_operands_are_promoted_together():
    """A flush, which sees no input, is told what they promote to."""
    x, w = np.ones((1, 1, 4), np.float32), jnp.ones((1, 1, 3), jnp.bfloat16)
    found = streamed(cut(x, [2], 2), w, dtype=np.float32)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0, 0], [1, 2, 3, 3, 2, 1])


# Chunks -------------------------------------------------------------------------------


def test_an_empty_chunk_changes_nothing():
    rng = np.random.default_rng(6)
    options = {"stride": 2, "padding": [(3, -1)]}
    w, b = integers(rng, (2, 3, 5)), np.ones(3, np.float32)
    state = streaming.init(w.shape, batch=2, **options)
    state, _ = streaming.step(state, integers(rng, (2, 2, 3)), w, b, **options)
    after, y = streaming.step(state, np.ones((2, 2, 0), np.float32), w, b, **options)
    assert y.shape == (2, 3, 0)
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_a_state_is_arrays_of_zeros_at_first():
    state = streaming.init((2, 3, 5), batch=2, padding=[(-1, 2)])
    leaves = jax.tree.leaves(state)
    assert len(leaves) == 3
    assert all(isinstance(leaf, jax.Array) and not leaf.any() for leaf in leaves)


def test_nothing_grows_with_what_was_heard():
    """After a long signal the counts stand still."""
    options = {"stride": 2, "padding": 3, "input_delay": 2}
    w = np.ones((1, 1, 5), np.float32)
    state = streaming.init(w.shape, stride=2, padding=3)
    step = functools.partial(streaming.step, weight=w, **options)
    counts = []
    for _ in range(5):
        state, _ = step(state, np.zeros((1, 3), np.float32))
        counts.append(int(state.heard))
    assert counts == [3, 4, 4, 4, 4]


def test_every_lowering_is_the_same():
    rng = np.random.default_rng(7)
    x, w = integers(rng, (1, 2, 6)), integers(rng, (2, 3, 4))
    for lowering in ("phases", "lhs_dilation", "overlap_add"):
        found = streamed(cut(x, [3], 2), w, stride=2, lowering=lowering)
        np.testing.assert_array_equal(found, overlap_add(x, w, stride=2))


def test_nonfinite_values_reach_what_they_are_in():
    """As at once: those outputs alone that an element is part of."""
    x, w = np.ones((1, 1, 6), np.float32), np.ones((1, 1, 3), np.float32)
    x[..., 1] = np.inf
    found = streamed(cut(x, [2, 2], 2), w, padding=1)
    whole = np.asarray(jconvt.conv_transpose(x, w, padding=1))
    np.testing.assert_array_equal(found, whole)
    assert np.isinf(found).sum() == 3
