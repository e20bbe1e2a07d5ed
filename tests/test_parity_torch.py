"""PyTorch and MindSpore: the same values and gradients, and errors where they err."""

import contextlib
import dataclasses
import itertools
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
import oracles
from cases import CORE, TORCH, Case, random

torch = pytest.importorskip("torch", reason="compares with PyTorch")

FUNCTIONS = {
    1: (jconvt.conv_transpose1d, torch.nn.functional.conv_transpose1d),
    2: (jconvt.conv_transpose2d, torch.nn.functional.conv_transpose2d),
    3: (jconvt.conv_transpose3d, torch.nn.functional.conv_transpose3d),
}
OPTIONS = ("stride", "padding", "output_padding", "groups", "dilation")


def to_numpy(tensor):
    if tensor is None:
        return None
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.float().numpy().astype(jnp.bfloat16)
    return tensor.resolve_conj().numpy()


def with_batch(x, rank):
    return x if x.ndim == rank + 2 else x[None]


def case_of(x, w, b, options):
    """The call as a `Case`, for the oracles' geometry and magnitudes."""
    rank = w.ndim - 2
    x = with_batch(x, rank)
    names = {k: v if isinstance(v, int) else tuple(v) for k, v in options.items()}
    names = {
        k: v[0] if isinstance(v, tuple) and len(v) == 1 else v for k, v in names.items()
    }
    groups = names.get("groups", 1)
    return Case(
        "sample",
        x.shape[2:],
        w.shape[2:],
        **names,
        channels=(x.shape[1], w.shape[1] * groups),
        batch=x.shape[0],
        bias=b is not None,
    )


def assert_same(actual, desired, expected, dtype):
    """Both within the sum's own error of each other: PyTorch has one of its own."""
    if np.dtype(dtype).kind in "iu":
        return oracles.assert_close(actual, desired, dtype=dtype)
    return oracles.assert_close(
        actual,
        oracles.widen(desired),
        magnitude=2 * expected.magnitude + np.abs(desired).astype(np.float64),
        terms=expected.terms,
        dtype=dtype,
    )


def value_and_gradients(function, cotangent, *operands):
    """Both in one program."""

    @jax.jit
    def run(cotangent, *operands):
        value, pull = jax.vjp(function, *operands)
        return value, pull(cotangent)

    return run(cotangent, *operands)


def compare(x, w, b, options, gradients=True):
    """Value and gradients of both libraries for the same arrays (NumPy's)."""
    rank = w.ndim - 2
    ours, theirs = FUNCTIONS[rank]
    case = case_of(x, w, b, options)
    operands = [a for a in (x, w, b) if a is not None]
    tensors = [torch.tensor(a, requires_grad=gradients) for a in operands]
    desired = theirs(*tensors, **options)
    with jax.enable_x64(True):
        if not gradients:
            actual = ours(*operands, **options)
        else:
            g = random(np.random.default_rng(0), tuple(desired.shape), x.dtype)
            # A gradient of PyTorch is the conjugate of one of JAX.
            wanted = torch.autograd.grad(desired, tensors, torch.tensor(g.conj()))
            actual, pulled = value_and_gradients(partial(ours, **options), g, *operands)
    full = with_batch(x, rank)
    squeeze = x.ndim < full.ndim
    value = oracles.expect_value(full, w, b, **case.geometry)
    if squeeze:
        value = value._replace(value=value.value[0], magnitude=value.magnitude[0])
    assert_same(actual, to_numpy(desired), value, x.dtype)
    if gradients:
        expected = list(
            oracles.expect_gradients(
                g[None] if squeeze else g, full, w, **case.geometry
            )
        )
        if squeeze:
            expected[0] = expected[0]._replace(magnitude=expected[0].magnitude[0])
        for ours_, theirs_, bound in zip(pulled, wanted, expected, strict=False):
            assert_same(ours_, to_numpy(theirs_).conj(), bound, x.dtype)


# PyTorch's own samples ----------------------------------------------------------------

KINDS = {
    torch.float64: False,
    torch.complex128: True,
    torch.float32: False,
    torch.complex64: False,
    torch.int64: False,
}


def published(rank, dtype):
    """The sample inputs of the operation's own tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip(
            "torch.testing._internal.common_methods_invocations",
            reason="PyTorch's own samples",
            exc_type=ImportError,
        )
    name = f"nn.functional.conv_transpose{rank}d"
    (operation,) = [op for op in module.op_db if op.name == name]
    torch.manual_seed(0)
    return list(operation.sample_inputs("cpu", dtype))


@pytest.mark.parametrize("dtype", KINDS, ids=lambda d: str(d).removeprefix("torch."))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_published_samples(rank, dtype):
    """Those whose tuples are as long as the rank, in values and in gradients."""
    samples = published(rank, dtype)
    assert len(samples) >= 10
    gradients = KINDS[dtype]
    for sample in samples[:: 1 if gradients else 3]:
        x, (w, b) = sample.input, sample.args
        compare(*map(to_numpy, (x, w, b)), sample.kwargs, gradients)


@pytest.mark.parametrize("case", TORCH, ids=str)
def test_published_geometry(case):
    """The same samples, and the module tests', by our own table."""
    x, w, b, _ = case.arrays(np.complex128)
    compare(x, w, b, case.options, gradients=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_published_samples_in_sixteen_bits(rank, dtype):
    """As near to the exact sum as PyTorch's own tests ask."""
    for sample in published(rank, dtype)[::2]:
        arrays = list(map(to_numpy, (sample.input, *sample.args)))
        y = FUNCTIONS[rank][0](*arrays, **sample.kwargs)
        x = with_batch(arrays[0], rank)
        case = case_of(*arrays, sample.kwargs)
        expected = oracles.expect_value(x, *arrays[1:], **case.geometry)
        y = np.asarray(with_batch(y, rank))
        oracles.assert_expected(y, expected, arrays[0].dtype)


# A grid -------------------------------------------------------------------------------


def grid(count, seed):
    """Random options that PyTorch accepts, over all ranks."""
    rng = np.random.default_rng(seed)
    cases = []
    while len(cases) < count:
        rank = int(rng.integers(1, 4))
        each = lambda low, high, n=rank: tuple(  # noqa: E731
            int(i) for i in rng.integers(low, high, n)
        )
        groups = int(rng.integers(1, 4))
        stride, dilation = each(1, 5), each(1, 4)
        case = Case(
            f"{rank}d_{len(cases)}",
            each(1, 6 - rank),
            each(1, 7 - rank),
            stride=stride,
            dilation=dilation,
            padding=each(0, 4),
            output_padding=tuple(
                int(rng.integers(0, max(s, d)))
                for s, d in zip(stride, dilation, strict=True)
            ),
            groups=groups,
            channels=(
                groups * int(rng.integers(1, 3)),
                groups * int(rng.integers(1, 3)),
            ),
            batch=int(rng.integers(1, 3)),
            bias=bool(rng.integers(2)),
        )
        if min(case.output_shape) > 0:
            cases.append(case)
    return cases


@pytest.mark.parametrize("case", grid(24, seed=0), ids=str)
def test_random_options(case):
    x, w, b, _ = case.arrays(np.float64)
    compare(x, w, b, case.options)


TORCH_LIKE = [c for c in CORE if c.torch_like and 0 not in c.input_shape]
TORCH_LIKE = [c for c in TORCH_LIKE if 0 not in c.weight_shape + c.output_shape]


@pytest.mark.parametrize("case", TORCH_LIKE, ids=str)
def test_geometry(case):
    x, w, b, _ = case.arrays(np.float64)
    compare(x, w, b, case.options, gradients=False)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_positional_order(rank):
    """Every argument by position, each with a value of its own."""
    case = Case("positions", (5, 4, 3)[:rank], (3, 2, 3)[:rank], 3, 1, 2, 2, 2, (4, 6))
    x, w, b, _ = case.arrays(np.float64)
    options = [getattr(case, name) for name in OPTIONS]
    ours, theirs = FUNCTIONS[rank]
    with jax.enable_x64(True):
        y = ours(x, w, b, *options)
    desired = theirs(*map(torch.tensor, (x, w, b)), *options)
    np.testing.assert_allclose(y, desired.numpy(), rtol=1e-13, atol=1e-13)


def test_output_size_of_a_layer():
    """ConvTranspose2d(3, 4, 3, 3, 0, 2) on 6 by 6: sizes 18 to 20 and no other."""
    layer = torch.nn.ConvTranspose2d(3, 4, 3, 3, 0, 2)
    x = torch.randn(2, 3, 6, 6)
    arrays = [to_numpy(t) for t in (x, layer.weight, layer.bias)]
    for h, w in itertools.product(range(15, 24), repeat=2):
        call = lambda h=h, w=w: jconvt.conv_transpose2d(  # noqa: E731
            *arrays, stride=3, output_size=(h, w)
        )
        if 18 <= h <= 20 and 18 <= w <= 20:
            desired = to_numpy(layer(x, output_size=(h, w)))
            assert jconvt.output_shape(
                (2, 3, 6, 6), (3, 4, 3, 3), stride=3, output_size=(h, w)
            ) == (2, 4, h, w)
            if h == w:
                np.testing.assert_allclose(call(), desired, rtol=1e-5, atol=1e-5)
        else:
            with pytest.raises(ValueError, match="requested an output size"):
                layer(x, output_size=(h, w))
            with pytest.raises(ValueError, match=r"18.*20"):
                call()


# Errors -------------------------------------------------------------------------------

VALID = {"x": (2, 4, 5, 5), "w": (4, 3, 3, 3), "b": (6,), "groups": 2}
WRONG = {
    "stride 0": {"stride": 0},
    "stride of 0": {"stride": (2, 0)},
    "negative stride": {"stride": -1},
    "float stride": {"stride": 2.0},
    "float in stride": {"stride": (2, 1.5)},
    "str stride": {"stride": "2"},
    "None stride": {"stride": None},
    "three strides": {"stride": (1, 1, 1)},
    "no strides": {"stride": ()},
    "negative padding": {"padding": -1},
    "one negative padding": {"padding": (0, -1)},
    "float padding": {"padding": 1.0},
    "str padding": {"padding": "same"},
    "pair padding": {"padding": ((1, 1), (1, 1))},
    "three paddings": {"padding": (1, 1, 1)},
    "negative output padding": {"stride": 2, "output_padding": -1},
    "output padding of stride": {"stride": 2, "output_padding": 2},
    "one output padding of stride": {"stride": (3, 2), "output_padding": (2, 2)},
    "output padding, no stride": {"output_padding": 1},
    "output padding of both": {"stride": 2, "dilation": 3, "output_padding": 3},
    "float output padding": {"stride": 2, "output_padding": 1.0},
    "three output paddings": {"stride": 2, "output_padding": (1, 1, 1)},
    "dilation 0": {"dilation": 0},
    "negative dilation": {"dilation": (1, -2)},
    "float dilation": {"dilation": 1.0},
    "three dilations": {"dilation": (1, 1, 1)},
    "groups 0": {"groups": 0},
    "negative groups": {"groups": -1},
    "groups do not divide": {"groups": 3},
    "more groups than channels": {"groups": 8},
    "float groups": {"groups": 2.0},
    "tuple groups": {"groups": (2,)},
    "None groups": {"groups": None},
    "channels differ": {"x": (2, 6, 5, 5)},
    "weight of one dimension less": {"w": (4, 3, 3)},
    "weight of one dimension more": {"w": (4, 3, 3, 3, 3)},
    "input of one dimension": {"x": (5,)},
    "input of two dimensions": {"x": (4, 5)},
    "input of five dimensions": {"x": (1, 2, 4, 5, 5)},
    "bias of input channels": {"b": (4,)},
    "bias per group": {"b": (3,)},
    "scalar bias": {"b": ()},
    "bias of two dimensions": {"b": (6, 1)},
    "negative output": {"padding": 4},
}


def both(options):
    options = dict(options)
    shapes = [options.pop(name, VALID[name]) for name in ("x", "w", "b")]
    options = {"groups": VALID["groups"], **options}
    arrays = [np.ones(shape, np.float32) for shape in shapes]
    tensors = [torch.tensor(array) for array in arrays]
    return (
        lambda: jconvt.conv_transpose2d(*arrays, **options),
        lambda: torch.nn.functional.conv_transpose2d(*tensors, **options),
    )


def test_valid_call_raises_nowhere():
    ours, theirs = both({})
    np.testing.assert_allclose(ours(), to_numpy(theirs()), rtol=1e-6)


@pytest.mark.parametrize("options", WRONG.values(), ids=WRONG)
def test_error_where_torch_errs(options):
    ours, theirs = both(options)
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        theirs()
    with pytest.raises((TypeError, ValueError), match="conv_transpose2d") as caught:
        ours()
    assert caught.type in (TypeError, ValueError)


# What PyTorch accepts and the documented interface does not, with the reason.
STRICTER = {
    "tuple of one": ({"stride": (2,)}, "as many as there are axes, as in the seed"),
    "list of one": ({"padding": [1]}, "as many as there are axes, as in the seed"),
    "bool stride": ({"stride": True}, "bools are not ints"),
    "bool groups": ({"groups": True, "w": (4, 6, 3, 3)}, "bools are not ints"),
}


@pytest.mark.parametrize(
    ("options", "reason"), STRICTER.values(), ids=STRICTER, scope="module"
)
def test_stricter_than_torch(options, reason):
    ours, theirs = both(options)
    with contextlib.suppress(TypeError, RuntimeError):  # PyTorch's mind changes here
        theirs()
    with pytest.raises((TypeError, ValueError)):
        ours()


ACCEPTED = {
    "lists": {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 2]},
    "output padding under dilation": {"stride": 2, "dilation": 3, "output_padding": 2},
    "output padding of 2 by dilation 3": {"dilation": 3, "output_padding": 2},
    "numpy ints": {"stride": np.int64(2), "groups": np.int32(2)},
    "unbatched": {"x": (4, 5, 5)},
    "padding over the kernel": {"padding": 3, "x": (2, 4, 7, 7)},
    "kernel over the input": {"x": (2, 4, 1, 2)},
    "no batch": {"x": (0, 4, 5, 5)},
}


@pytest.mark.parametrize("options", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_as_by_torch(options):
    ours, theirs = both(options)
    np.testing.assert_allclose(ours(), to_numpy(theirs()), rtol=1e-6)


# MindSpore ----------------------------------------------------------------------------


# Its x, w and b, and the y that it expects, printed to eight digits.
MINDSPORE_INPUT = [[0.417021990, 0.720324516], [1.14374816e-4, 0.302332580]]
MINDSPORE_WEIGHT = [
    [[0.14675589, 0.09233859], [0.18626021, 0.34556073]],
    [[0.39676747, 0.53881675], [0.41919452, 0.6852195]],
]
MINDSPORE_BIAS = [0.20445225, 0.87811744]
MINDSPORE_OUTPUT = [
    [
        [0.2656369, 0.34863594, 0.27096134],
        [0.28214604, 0.52709454, 0.4812674],
        [0.20447356, 0.2608167, 0.30894494],
    ],
    [
        [1.0435501, 1.3885303, 1.2661824],
        [1.0529616, 1.5858095, 1.5346042],
        [0.87816536, 1.0049454, 1.0853312],
    ],
]


def test_mindspore_literal_values():
    """The numbers of its own test, which come from the type HF32.

    That rounds each operand to 12 bits, so errs by 2**-11 of each product; here all
    products are positive, and in the gradients one factor is one.
    """
    x = np.array([[MINDSPORE_INPUT]], np.float32)
    w = np.array([MINDSPORE_WEIGHT], np.float32)
    b = np.array(MINDSPORE_BIAS, np.float32)
    y, pull = jax.vjp(jconvt.conv_transpose2d, x, w, b)
    np.testing.assert_allclose(y[0], MINDSPORE_OUTPUT, rtol=2**-11)
    dx, dw, db = pull(jnp.ones_like(y))
    np.testing.assert_allclose(dx, np.full(x.shape, 2.8109741), rtol=2**-12)
    np.testing.assert_allclose(dw, np.full(w.shape, 1.4396896), rtol=2**-12)
    np.testing.assert_array_equal(db, [9, 9])


def test_mindspore_documentation_example():
    y = jconvt.conv_transpose2d(np.ones((1, 4, 5, 5)), np.ones((4, 8, 3, 3)))
    assert y.shape == (1, 8, 7, 7)


@pytest.mark.parametrize("batched", [True, False])
def test_mindspore_dynamic(batched):
    case = Case(
        "mindspore",
        (20, 15),
        (6, 6),
        stride=(4, 3),
        padding=(2, 3),
        output_padding=(1, 0),
        dilation=(1, 2),
        groups=2,
        channels=(10, 24),
        batch=1,
    )
    x, w, b, _ = case.arrays(np.float64)
    compare(x if batched else x[0], w, b, case.options)
    assert dataclasses.replace(case, name="other").output_shape == (1, 24, 79, 47)
