"""What the layers of `jconvt.nnx` and `jconvt.linen` have in common, tested on both.

Values are small integers in floating point, so that every sum is exact in any order
and results can be compared for equality.
"""

import inspect
import re
import subprocess
import sys
import textwrap

import flax.errors
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jconvt
import jconvt.linen
import jconvt.nnx
from configurations import mixes_dtypes

FUNCTIONS = {
    1: jconvt.conv_transpose1d,
    2: jconvt.conv_transpose2d,
    3: jconvt.conv_transpose3d,
}


def blank(key, shape, dtype):
    del key
    return jnp.asarray(np.zeros(shape, dtype))


class Nnx:
    """NNX layers, as functions of a dict of parameters."""

    package = jconvt.nnx

    @staticmethod
    def make(rank, *args, **options):
        layer = getattr(jconvt.nnx, f"ConvTranspose{rank}d")
        # Zeros where a test does not say otherwise: random bits take long to compile.
        zeros = dict.fromkeys(["weight_init", "bias_init"], blank)
        return layer(*args, **zeros | options, rngs=nnx.Rngs(0))

    @staticmethod
    def apply(layer, parameters, *args, **kwargs):
        copy = nnx.clone(layer)
        for name, value in parameters.items():
            setattr(copy, name, nnx.Param(value))
        return copy(*args, **kwargs)

    @staticmethod
    def parameters(layer, x):
        del x
        return {name: leaf[...] for name, leaf in nnx.state(layer).items()}

    @staticmethod
    def flax_dtype(x, dtype, param_dtype):
        layer = nnx.ConvTranspose(
            2, 3, (3, 3), dtype=dtype, param_dtype=param_dtype, rngs=nnx.Rngs(0)
        )
        return layer(x).dtype


class Linen:
    """Linen layers, as functions of a dict of parameters."""

    package = jconvt.linen

    @staticmethod
    def make(rank, *args, **options):
        return getattr(jconvt.linen, f"ConvTranspose{rank}d")(*args, **options)

    @staticmethod
    def apply(layer, parameters, *args, **kwargs):
        return layer.apply({"params": parameters}, *args, **kwargs)

    @staticmethod
    def parameters(layer, x):
        return layer.init(jax.random.key(0), x)["params"]

    @staticmethod
    def flax_dtype(x, dtype, param_dtype):
        layer = nn.ConvTranspose(3, (3, 3), dtype=dtype, param_dtype=param_dtype)
        return layer.init_with_output(jax.random.key(0), x)[0].dtype


@pytest.fixture(params=[Nnx, Linen], ids=["nnx", "linen"])
def flavour(request):
    return request.param


def integers(seed, shape, dtype=np.float32):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def parameters_of(in_channels, out_channels, kernel_size, groups=1, bias=True):
    weight = integers(1, (in_channels, out_channels // groups, *kernel_size))
    parameters = {"weight": jnp.asarray(weight)}
    if bias:
        parameters["bias"] = jnp.asarray(integers(2, (out_channels,)))
    return parameters


def text_of(f, *args):
    """The jaxpr of `f` as text, without addresses of objects."""
    return re.sub(r"0x[0-9a-f]+", "", str(jax.make_jaxpr(f)(*args)))


# rank, positional arguments, options, spatial size
LAYERS = {
    "1d": (1, (2, 3, 3), {}, (5,)),
    "1d all": (
        1,
        (4, 6, 5, 3, 2, 1),
        {"groups": 2, "bias": False, "dilation": 2},
        (4,),
    ),
    "2d": (2, (2, 3, 3), {}, (3, 4)),
    "2d stride": (2, (3, 2, (2, 4), (2, 3), (0, 1)), {}, (3, 4)),
    "2d positional": (2, (4, 6, 3, 2, 1, 1, 2, False, 2, "zeros"), {}, (3, 4)),
    "2d depthwise": (2, (4, 8, 4, 2, 1), {"groups": 4}, (4, 3)),
    "2d output_padding by dilation": (
        2,
        (2, 2, 3),
        {"output_padding": (2, 1), "dilation": 3},
        (2, 3),
    ),
    "3d": (3, (2, 3, 2, 2), {}, (2, 3, 2)),
    "3d all": (
        3,
        (2, 4, (3, 2, 1), (2, 1, 3)),
        {"padding": [1, 0, 0], "output_padding": (1, 0, 2), "groups": 2},
        (3, 2, 2),
    ),
}


@pytest.fixture(params=LAYERS)
def case(request):
    return LAYERS[request.param]


# Values -------------------------------------------------------------------------------


def function_options(rank, args, options):
    """The same options in the words of the function."""
    names = ["kernel_size", "stride", "padding", "output_padding", "groups", "bias"]
    named = dict(zip([*names, "dilation", "padding_mode"], args[2:], strict=False))
    named |= options
    kernel_size = named.pop("kernel_size")
    kernel_size = np.broadcast_to(kernel_size, (rank,)).tolist()
    named.pop("padding_mode", None)
    return kernel_size, named.pop("bias", True), named


def test_runs_the_program_of_the_function(flavour, case):
    """Outputs and gradients; so the values are those that other files test."""
    rank, args, options, space = case
    kernel_size, bias, named = function_options(rank, args, options)
    parameters = parameters_of(*args[:2], kernel_size, named.get("groups", 1), bias)
    layer = flavour.make(rank, *args, **options)

    def ours(parameters, x):
        return flavour.apply(layer, parameters, x)

    def function(parameters, x):
        return FUNCTIONS[rank](x, parameters["weight"], parameters.get("bias"), **named)

    for shape in [(2, args[0], *space), (args[0], *space)]:
        x = jnp.zeros(shape)
        wanted = text_of(with_gradients(function), parameters, x)
        assert text_of(with_gradients(ours), parameters, x) == wanted


def with_gradients(f):
    def g(parameters, x):
        y, pull = jax.vjp(f, parameters, x)
        return y, pull(jnp.ones_like(y))

    return g


def test_equals_torch(flavour, case):
    torch = pytest.importorskip("torch")
    rank, args, options, space = case
    kernel_size, bias, named = function_options(rank, args, options)
    parameters = parameters_of(*args[:2], kernel_size, named.get("groups", 1), bias)
    theirs = getattr(torch.nn, f"ConvTranspose{rank}d")(*args, **options)
    copies = {name: torch.tensor(np.asarray(p)) for name, p in parameters.items()}
    theirs.load_state_dict(copies)
    ours = flavour.make(rank, *args, **options)

    x = integers(0, (2, args[0], *space))
    their_x = torch.tensor(x, requires_grad=True)
    their_y = theirs(their_x)
    cotangent = integers(3, their_y.shape)
    their_y.backward(torch.tensor(cotangent))
    y, pull = jax.vjp(lambda p, x: flavour.apply(ours, p, x), parameters, x)
    gradients, dx = pull(cotangent)
    np.testing.assert_array_equal(y, their_y.detach())
    np.testing.assert_array_equal(dx, their_x.grad)
    assert gradients.keys() == dict(theirs.named_parameters()).keys()
    for name, parameter in theirs.named_parameters():
        np.testing.assert_array_equal(gradients[name], parameter.grad)


def test_unbatched_equals_torch(flavour):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.ConvTranspose2d(2, 3, 3, 2, groups=1)
    parameters = parameters_of(2, 3, (3, 3))
    theirs.load_state_dict(
        {name: torch.tensor(np.asarray(p)) for name, p in parameters.items()}
    )
    x = integers(0, (2, 4, 5))
    y = flavour.apply(flavour.make(2, 2, 3, 3, 2), parameters, x)
    with torch.no_grad():
        np.testing.assert_array_equal(y, theirs(torch.tensor(x)))


def test_data_format(flavour):
    options = {"stride": 2, "padding": 1, "groups": 2}
    first = flavour.make(2, 4, 6, 3, **options)
    last = flavour.make(2, 4, 6, 3, **options, data_format="NHWC")
    parameters = parameters_of(4, 6, (3, 3), 2)
    x = integers(0, (2, 4, 3, 4))
    y = flavour.apply(first, parameters, x)

    moved = flavour.apply(last, parameters, np.moveaxis(x, 1, -1))
    np.testing.assert_array_equal(moved, np.moveaxis(y, 1, -1))
    moved = flavour.apply(last, parameters, np.moveaxis(x[0], 0, -1))
    np.testing.assert_array_equal(moved, np.moveaxis(y[0], 0, -1))


@pytest.mark.parametrize(
    ("rank", "data_format"), [(1, "NWC"), (2, "NHWC"), (3, "NDHWC")]
)
def test_data_format_runs_the_program_of_the_function(flavour, rank, data_format):
    layer = flavour.make(rank, 2, 3, 3, 2, data_format=data_format)
    parameters = parameters_of(2, 3, (3,) * rank)
    x = jnp.zeros((2, *(3, 4, 5)[:rank], 2))

    def function(p, x):
        return FUNCTIONS[rank](
            x, p["weight"], p["bias"], stride=2, data_format=data_format
        )

    ours = text_of(lambda p, x: flavour.apply(layer, p, x), parameters, x)
    assert ours == text_of(function, parameters, x)


def test_flavours_agree():
    options = {"stride": 2, "output_padding": 1, "dilation": 2, "groups": 2}
    x, parameters = integers(0, (2, 4, 5, 5)), parameters_of(4, 6, (3, 3), 2)
    layers = {flavour: flavour.make(2, 4, 6, 3, **options) for flavour in (Nnx, Linen)}
    ours, theirs = (f.apply(layer, parameters, x) for f, layer in layers.items())
    np.testing.assert_array_equal(ours, theirs)
    assert repr(layers[Nnx]) == repr(layers[Linen])
    for flavour, layer in layers.items():
        shapes = jax.eval_shape(lambda x, f=flavour, m=layer: f.parameters(m, x), x)
        assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, parameters)


def test_without_channels_or_space(flavour):
    """PyTorch makes such layers too; their outputs are empty or all bias."""
    layer = flavour.make(2, 0, 4, 3)
    parameters = parameters_of(0, 4, (3, 3))
    y = flavour.apply(layer, parameters, jnp.zeros((2, 0, 3, 3)))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:1, :, :1, :1], (2, 4, 5, 5)))
    np.testing.assert_array_equal(y[0, :, 0, 0], parameters["bias"])
    layer = flavour.make(2, 3, 0, 3)
    assert flavour.parameters(layer, jnp.zeros((1, 3, 2, 2)))["bias"].shape == (0,)
    assert flavour.apply(
        layer, parameters_of(3, 0, (3, 3)), jnp.zeros((1, 3, 2, 2))
    ).shape == (1, 0, 4, 4)


# Output size --------------------------------------------------------------------------


@pytest.mark.parametrize("batched", [True, False])
def test_output_size_equals_torch(flavour, batched):
    torch = pytest.importorskip("torch")
    options = {"stride": (2, 3), "padding": 1, "output_padding": (1, 0)}
    theirs = torch.nn.ConvTranspose2d(2, 3, 3, **options)
    parameters = parameters_of(2, 3, (3, 3))
    theirs.load_state_dict(
        {name: torch.tensor(np.asarray(p)) for name, p in parameters.items()}
    )
    ours = flavour.make(2, 2, 3, 3, **options)
    x = integers(0, (2, 2, 4, 5) if batched else (2, 4, 5))
    # Batch and channels of a whole shape are not looked at.
    whole = (99, -1) if batched else (None,)
    for size in [(7, 13), [8, 14], (*whole, 7, 15), [*whole, 8, 13]]:
        y = flavour.apply(ours, parameters, x, output_size=size)
        with torch.no_grad():
            wanted = theirs(torch.tensor(x), output_size=size)
        np.testing.assert_array_equal(y, wanted)
        assert y.shape[-2:] == tuple(size[-2:])
    for size in [(6, 13), (9, 13), (7, 16), (7, 13, 1, 1, 1), (7,)]:
        with pytest.raises(ValueError, match="output_size"):
            flavour.apply(ours, parameters, x, size)
        with pytest.raises(ValueError, match=r"output.size"):
            theirs(torch.tensor(x), output_size=size)


def test_output_size_as_an_int_a_shape_or_channels_last(flavour):
    layer = flavour.make(2, 2, 3, 3, stride=2, output_padding=1, data_format="NHWC")
    parameters = parameters_of(2, 3, (3, 3))
    x = jnp.asarray(integers(0, (2, 4, 4, 2)))

    def shape(x, size=None):
        return flavour.apply(layer, parameters, x, size).shape

    assert shape(x) == (2, 10, 10, 3)
    assert shape(x, 9) == (2, 9, 9, 3)
    assert shape(x, (9, 10)) == (2, 9, 10, 3)
    assert shape(x, (0, 9, 10, 0)) == (2, 9, 10, 3)
    assert shape(x[0], (9, 10, 0)) == (9, 10, 3)
    assert shape(x, np.int64(10)) == (2, 10, 10, 3)


def test_symbolic_sizes(flavour):
    layer = flavour.make(1, 2, 3, 3, 2, 1)
    parameters = parameters_of(2, 3, (3,))
    n, size = jax.export.symbolic_shape("n, size")

    @jax.jit
    def double(x):
        whole = (x.shape[0], 3, 2 * x.shape[-1])
        return flavour.apply(layer, parameters, x, output_size=whole)

    x = jax.ShapeDtypeStruct((n, 2, size), jnp.float32)
    (y,) = jax.export.export(double)(x).out_avals
    assert y.shape == (n, 3, 2 * size)


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (
            (1, 3, 9),
            ValueError,
            "ConvTranspose2d: `output_size` must be an int, 2 ints or a whole output "
            "shape, which for an input of 4 axes has 4; got 3: (1, 3, 9).",
        ),
        (
            (9, 11),
            ValueError,
            "ConvTranspose2d: `output_size` must lie between (9, 9) and (10, 10) for "
            "an input of spatial size (4, 4); got (9, 11).",
        ),
        (
            (9, 9.0),
            TypeError,
            "ConvTranspose2d: `output_size[1]` must be an int; got 9.0 of type float.",
        ),
        (
            "9",
            TypeError,
            "ConvTranspose2d: `output_size` must be None, an int or a tuple or list of "
            "2 ints; got '9' of type str.",
        ),
    ],
)
def test_output_size_errors(flavour, size, error, message):
    layer = flavour.make(2, 2, 3, 3, stride=2)
    with pytest.raises(error) as caught:
        flavour.apply(layer, parameters_of(2, 3, (3, 3)), jnp.ones((1, 2, 4, 4)), size)
    assert str(caught.value) == message


# Dtypes -------------------------------------------------------------------------------


@mixes_dtypes
@pytest.mark.parametrize("param_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("dtype", [None, "float32", "bfloat16", "float16"])
def test_result_dtype_is_that_of_flax(flavour, dtype, param_dtype):
    layer = flavour.make(
        2, 2, 3, 3, data_format="NHWC", dtype=dtype, param_dtype=param_dtype
    )
    inputs = ["float32", "float16", "bfloat16", "int8", "int32", "uint8"]
    for x_dtype in inputs if dtype else [*inputs, "complex64"]:
        x = jax.ShapeDtypeStruct((1, 4, 4, 2), x_dtype)

        def ours(x):
            return flavour.apply(layer, flavour.parameters(layer, x), x)

        def theirs(x):
            return jnp.zeros((), flavour.flax_dtype(x, dtype, param_dtype))

        wanted = jax.eval_shape(theirs, x).dtype
        assert jax.eval_shape(ours, x).dtype == wanted, x_dtype


def test_dtype_casts_input_and_parameters(flavour):
    layer = flavour.make(1, 2, 3, 3, dtype=jnp.bfloat16)
    rng = np.random.default_rng(0)
    arrays = {"weight": (2, 3, 3), "bias": (3,), "x": (2, 2, 5)}
    arrays = {k: rng.normal(size=s).astype(np.float32) for k, s in arrays.items()}
    halves = [jnp.asarray(a, jnp.bfloat16) for a in arrays.values()]
    x = arrays.pop("x")

    y, pull = jax.vjp(lambda p, x: flavour.apply(layer, p, x), arrays, x)
    wanted = jconvt.conv_transpose1d(halves[2], halves[0], halves[1])
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, wanted)
    gradients, dx = pull(jnp.ones_like(y))
    assert {dx.dtype, *(g.dtype for g in gradients.values())} == {jnp.dtype("float32")}


@pytest.mark.parametrize("param_dtype", ["float16", jnp.complex64])
def test_param_dtype(flavour, param_dtype):
    def parameters(x):
        options = {"param_dtype": param_dtype, "weight_init": None, "bias_init": None}
        return flavour.parameters(flavour.make(1, 2, 3, 3, **options), x)

    shapes = jax.eval_shape(parameters, jnp.ones((1, 2, 4), param_dtype))
    dtypes = {name: leaf.dtype for name, leaf in shapes.items()}
    assert dtypes == dict.fromkeys(["weight", "bias"], jnp.dtype(param_dtype))


def test_strict_promotion(flavour):
    x = jnp.ones((1, 2, 4), jnp.bfloat16)
    with jax.numpy_dtype_promotion("strict"):
        layer = flavour.make(1, 2, 3, 3, dtype="bfloat16")
        parameters = flavour.parameters(layer, x)
        assert flavour.apply(layer, parameters, x).dtype == jnp.bfloat16
        with pytest.raises(ValueError, match="no available implicit dtype promotion"):
            flavour.apply(flavour.make(1, 2, 3, 3), parameters, x)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "highest"},
        {"precision": ("high", "default"), "lowering": "lhs_dilation"},
        {"preferred_element_type": "float32", "lowering": "phases"},
        {"lowering": jconvt.Lowerings(forward="gather", weight_gradient="phases")},
    ],
    ids=str,
)
def test_options_reach_the_function(flavour, options):
    parameters = parameters_of(2, 3, (3, 3))
    x = jnp.ones((1, 2, 4, 4))
    if "preferred_element_type" in options:
        x, parameters = jax.tree.map(lambda a: a.astype("bfloat16"), (x, parameters))
    layer = flavour.make(2, 2, 3, 3, 2, **options)
    ours = text_of(lambda p, x: flavour.apply(layer, p, x), parameters, x)
    function = text_of(
        lambda p, x: jconvt.conv_transpose2d(
            x, p["weight"], p["bias"], stride=2, **options
        ),
        parameters,
        x,
    )
    plain = text_of(
        lambda p, x: jconvt.conv_transpose2d(x, p["weight"], p["bias"], stride=2),
        parameters,
        x,
    )
    assert ours == function
    assert ours != plain


# Initial values -----------------------------------------------------------------------


def test_default_initial_values(flavour):
    layer = flavour.make(2, 32, 64, 5, groups=2, weight_init=None, bias_init=None)
    parameters = flavour.parameters(layer, jnp.ones((1, 32, 4, 4)))
    bound = 1 / np.sqrt(32 * 25)
    for name, shape in {"weight": (32, 32, 5, 5), "bias": (64,)}.items():
        assert parameters[name].shape == shape
        assert parameters[name].dtype == jnp.float32
        assert 0.9 * bound < float(abs(parameters[name]).max()) <= bound
    flat = parameters["weight"].ravel()[:64]
    assert not np.array_equal(flat, parameters["bias"])


def test_given_initializers(flavour):
    seen = []

    def init(key, shape, dtype):
        seen.append((shape, jnp.dtype(dtype).name))
        return jnp.full(shape, len(shape), dtype)

    layer = flavour.make(
        2,
        4,
        6,
        (2, 3),
        groups=2,
        weight_init=init,
        bias_init=init,
        param_dtype="float16",
    )
    parameters = flavour.parameters(layer, jnp.ones((1, 4, 2, 2), "float16"))
    assert set(seen) == {((4, 3, 2, 3), "float16"), ((6,), "float16")}
    assert float(parameters["weight"].max()) == 4
    assert float(parameters["bias"].max()) == 1


# What it says -------------------------------------------------------------------------

REPRS = {
    "ConvTranspose1d(2, 3, kernel_size=(4,), stride=(1,))": (1, (2, 3, 4), {}),
    "ConvTranspose2d(16, 33, kernel_size=(3, 5), stride=(2, 1), padding=(4, 2))": (
        2,
        (16, 33, [3, 5], (2, 1), [4, 2]),
        {"data_format": "NCHW", "param_dtype": jnp.float32},
    ),
    "ConvTranspose2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), "
    "output_padding=(1, 1), groups=2, bias=False, dilation=(2, 2), data_format='NHWC', "
    "dtype='bfloat16', param_dtype='float16', precision='highest', "
    "preferred_element_type='float32', lowering='phases')": (
        2,
        (4, 6, 3, 2, 1, 1, 2, False, 2),
        {
            "data_format": "NHWC",
            "dtype": jnp.bfloat16,
            "param_dtype": np.float16,
            "precision": jax.lax.Precision.HIGHEST,
            "preferred_element_type": "float32",
            "lowering": "phases",
        },
    ),
    "ConvTranspose1d(2, 3, kernel_size=(4,), stride=(1,), "
    "lowering=jconvt.Lowerings(forward='gather'))": (
        1,
        (2, 3, 4),
        {"lowering": jconvt.Lowerings(forward="gather")},
    ),
    "ConvTranspose3d(1, 1, kernel_size=(1, 2, 3), stride=(1, 1, 1), "
    "precision=('high', 'default'))": (
        3,
        (np.int64(1), 1, (1, np.int32(2), 3)),
        {"precision": ("high", "default")},
    ),
}


@pytest.mark.parametrize("text", REPRS)
def test_repr(flavour, text):
    rank, args, options = REPRS[text]
    assert repr(flavour.make(rank, *args, **options)) == text


@pytest.mark.parametrize("text", REPRS)
def test_repr_is_the_constructor_call(text):
    rank, args, options = REPRS[text]
    layer = eval(text, {"jconvt": jconvt} | vars(jconvt.linen))
    assert layer._config == Linen.make(rank, *args, **options)._config


PADDINGS = {
    "a name": ("same", "SAME"),
    "a list of one name": (["CAUSAL", "causal"], "CAUSAL"),
    "pairs": (((0, 1), (2, 2)), ((0, 1), 2)),
    "elements appended": (((-1, -1), 0), ((-1, -1), 0)),
    "a name for each axis": (("Circular", "SAME_LOWER"), ("CIRCULAR", "SAME_LOWER")),
    "all three": ((1, "CAUSAL"), (1, "CAUSAL")),
}


@pytest.mark.parametrize("name", PADDINGS)
def test_paddings_of_conv_transpose(flavour, name):
    """A layer takes them all, shows them, and computes what the function does."""
    given, shown = PADDINGS[name]
    layer = flavour.make(2, 2, 4, (4, 3), 2, padding=given)
    assert layer.padding == shown
    assert f"padding={shown!r}" in repr(layer)
    parameters, x = parameters_of(2, 4, (4, 3)), integers(3, (1, 2, 5, 4))
    y = flavour.apply(layer, parameters, x)
    wanted = jconvt.conv_transpose(x, **parameters, stride=2, padding=given)
    np.testing.assert_array_equal(y, wanted)
    again = flavour.make(2, 2, 4, (4, 3), 2, padding=layer.padding)
    assert repr(again) == repr(layer)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_repr_starts_as_that_of_torch(flavour, rank):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, f"ConvTranspose{rank}d")(2, 4, 3, 2, 1)
    assert repr(flavour.make(rank, 2, 4, 3, 2, 1)) == repr(theirs)


def test_signature(flavour):
    order = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "bias": True}
    order |= {"dilation": 1, "padding_mode": "zeros"}
    keywords = {"data_format": None, "dtype": None, "param_dtype": jnp.float32}
    keywords |= {"precision": None, "preferred_element_type": None, "lowering": "auto"}
    keywords |= {"weight_init": None, "bias_init": None}
    for rank in (1, 2, 3):
        layer = getattr(flavour.package, f"ConvTranspose{rank}d")
        parameters = inspect.signature(layer).parameters
        names = ["in_channels", "out_channels", "kernel_size", *order]
        assert list(parameters)[: len(names)] == names
        defaults = {name: p.default for name, p in parameters.items()}
        assert defaults | order | keywords == defaults
        for name in keywords:
            assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY


def test_signature_is_that_of_torch(flavour):
    torch = pytest.importorskip("torch")
    for name in ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"):
        ours = inspect.signature(getattr(flavour.package, name)).parameters
        theirs = inspect.signature(getattr(torch.nn, name)).parameters
        wanted = {
            n: p.default for n, p in theirs.items() if n not in ("device", "dtype")
        }
        assert {n: ours[n].default for n in list(ours)[: len(wanted)]} == wanted


# Errors -------------------------------------------------------------------------------

# id: (arguments after the rank, options, error, message after the layer's name)
BAD = {
    "in_channels float": (
        (2.0, 3, 3),
        {},
        TypeError,
        "`in_channels` must be an int; got 2.0 of type float.",
    ),
    "in_channels negative": (
        (-1, 3, 3),
        {},
        ValueError,
        "`in_channels` must be at least 0; got -1.",
    ),
    "out_channels bool": (
        (2, True, 3),
        {},
        TypeError,
        "`out_channels` must be an int; got True of type bool.",
    ),
    "out_channels negative": (
        (2, -3, 3),
        {},
        ValueError,
        "`out_channels` must be at least 0; got -3.",
    ),
    "kernel_size zero": (
        (2, 3, 0),
        {},
        ValueError,
        "`kernel_size` must be at least 1; got 0.",
    ),
    "kernel_size zero on one axis": (
        (2, 3, (3, 0)),
        {},
        ValueError,
        "`kernel_size[1]` must be at least 1; got 0.",
    ),
    "kernel_size too long": (
        (2, 3, (3, 3, 3)),
        {},
        ValueError,
        "`kernel_size` must hold 2 ints, one for each spatial axis; got 3: (3, 3, 3).",
    ),
    "kernel_size str": (
        (2, 3, "3"),
        {},
        TypeError,
        "`kernel_size` must be an int or a tuple or list of 2 ints; got '3' of type "
        "str.",
    ),
    "stride zero": (
        (2, 3, 3, 0),
        {},
        ValueError,
        "`stride` must be at least 1; got 0.",
    ),
    "stride float": (
        (2, 3, 3, 1.5),
        {},
        TypeError,
        "`stride` must be an int or a tuple or list of 2 ints; got 1.5 of type float.",
    ),
    "padding negative": (
        (2, 3, 3, 1, -1),
        {},
        ValueError,
        "`padding` must be at least 0; got -1.",
    ),
    "padding name": (
        (2, 3, 3, 1, (1, "SAM")),
        {},
        ValueError,
        "`padding[1]` must be an int, a (low, high) pair or one of VALID, SAME, "
        "SAME_LOWER, CAUSAL, CIRCULAR, CIRCULAR_LOWER; got 'SAM'. Did you mean 'SAME'?",
    ),
    "padding kind": (
        (2, 3, 3, 1, None),
        {},
        TypeError,
        "`padding` must be an int, a tuple or list of 2 ints or (low, high) pairs, or "
        "a string; got None of type NoneType.",
    ),
    "periodic with output_padding": (
        (2, 3, 3, 2, (1, "CIRCULAR"), (0, 1)),
        {},
        ValueError,
        "`output_padding[1]` must be 0 with padding[1] 'CIRCULAR', whose output is "
        "n*stride; got 1.",
    ),
    "output_padding too large": (
        (2, 3, 3, 2, 1, 2),
        {},
        ValueError,
        "`output_padding` must be smaller than `stride` or `dilation` on every spatial "
        "axis; on axis 0 got output_padding 2, stride 2, dilation 1.",
    ),
    "output_padding negative": (
        (2, 3, 3, 2, 1, (0, -1)),
        {},
        ValueError,
        "`output_padding[1]` must be at least 0; got -1.",
    ),
    "groups zero": (
        (2, 3, 3),
        {"groups": 0},
        ValueError,
        "`groups` must be at least 1; got 0.",
    ),
    "groups tuple": (
        (2, 2, 3),
        {"groups": (1, 1)},
        TypeError,
        "`groups` must be an int; got (1, 1) of type tuple.",
    ),
    "groups and in_channels": (
        (3, 4, 3),
        {"groups": 2},
        ValueError,
        "`in_channels` must be divisible by `groups`; got 3 and groups=2.",
    ),
    "groups and out_channels": (
        (4, 3, 3),
        {"groups": 2},
        ValueError,
        "`out_channels` must be divisible by `groups`; got 3 and groups=2.",
    ),
    "bias int": (
        (2, 3, 3),
        {"bias": 1},
        TypeError,
        "`bias` must be True or False; got 1 of type int. Its values are a parameter, "
        "see `bias_init`.",
    ),
    "dilation zero": (
        (2, 3, 3),
        {"dilation": (1, 0)},
        ValueError,
        "`dilation[1]` must be at least 1; got 0.",
    ),
    "padding_mode": (
        (2, 3, 3),
        {"padding_mode": "circular"},
        ValueError,
        "`padding_mode` must be 'zeros'; got 'circular'. For periodic data give "
        "padding='CIRCULAR'.",
    ),
    "padding_mode int": (
        (2, 3, 3),
        {"padding_mode": 0},
        TypeError,
        "`padding_mode` must be a string; got 0.",
    ),
    "data_format": (
        (2, 3, 3),
        {"data_format": "NWC"},
        ValueError,
        "`data_format` must be 'NCHW' or 'NHWC'; got 'NWC'. Did you mean 'NHWC'?",
    ),
    "data_format int": (
        (2, 3, 3),
        {"data_format": 1},
        TypeError,
        "`data_format` must be a string; got 1.",
    ),
    "dtype": (
        (2, 3, 3),
        {"dtype": "float33"},
        TypeError,
        "`dtype` must be a dtype; got 'float33'. Did you mean 'float32'?",
    ),
    "dtype of integers": (
        (2, 3, 3),
        {"dtype": jnp.int32},
        ValueError,
        "`dtype` must be floating or complex; got int32.",
    ),
    "param_dtype": (
        (2, 3, 3),
        {"param_dtype": None},
        TypeError,
        "`param_dtype` must be a dtype; got None.",
    ),
    "preferred_element_type": (
        (2, 3, 3),
        {"preferred_element_type": 3.0},
        TypeError,
        "`preferred_element_type` must be a dtype; got 3.0.",
    ),
    "precision": (
        (2, 3, 3),
        {"precision": 1},
        TypeError,
        "`precision` must be None, a string, a jax.lax.Precision or two of them; got "
        "1.",
    ),
    "lowering type": (
        (2, 3, 3),
        {"lowering": 3},
        TypeError,
        "`lowering` must be a string or a jconvt.Lowerings; got 3.",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_constructor_errors(flavour, name):
    args, options, error, message = BAD[name]
    with pytest.raises(error) as caught:
        flavour.make(2, *args, **options)
    assert str(caught.value) == f"ConvTranspose2d: {message}"


def test_a_lowering_that_cannot_serve_is_refused_at_once(flavour):
    with pytest.raises(
        ValueError, match=r"^ConvTranspose2d: `lowering`='matmul' cannot"
    ):
        flavour.make(2, 2, 3, 3, lowering="matmul")
    with pytest.raises(
        ValueError, match=r"^ConvTranspose1d: `lowering` must be one of"
    ):
        flavour.make(1, 2, 3, 3, lowering="fastest")
    with pytest.raises(
        ValueError, match=r"^ConvTranspose2d: `lowering.weight_gradient`='matmul' cann"
    ):
        flavour.make(2, 2, 3, 3, lowering=jconvt.Lowerings(weight_gradient="matmul"))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            np.ones((1, 3, 4, 4), np.float32),
            ValueError,
            "ConvTranspose2d: `input` must have as many channels as `weight` has input "
            "channels; got 3 on axis 1 of input (1, 3, 4, 4) and 2 on axis 0 of weight "
            "(2, 3, 3, 3).",
        ),
        (
            np.ones((2, 4), np.float32),
            ValueError,
            "ConvTranspose2d: `input` must have 4 axes (batched) or 3 (unbatched); got "
            "shape (2, 4).",
        ),
        (
            [[[1.0]]],
            TypeError,
            "ConvTranspose2d: `input` must be a JAX or NumPy array; got list.",
        ),
        (
            np.ones((1, 2, 4, 4), bool),
            TypeError,
            "ConvTranspose2d: `input` must hold integers, floats or complex numbers; "
            "got dtype bool.",
        ),
    ],
)
def test_call_errors(flavour, x, error, message):
    layer = flavour.make(2, 2, 3, 3)
    with pytest.raises(error) as caught:
        flavour.apply(layer, parameters_of(2, 3, (3, 3)), x)
    assert str(caught.value).startswith(message)


def test_wrong_parameters(flavour):
    layer = flavour.make(2, 2, 3, 3)
    parameters = parameters_of(2, 3, (3, 3)) | {"bias": jnp.ones((4,))}
    with pytest.raises((ValueError, flax.errors.ScopeParamShapeError), match="bias"):
        flavour.apply(layer, parameters, jnp.ones((1, 2, 4, 4)))


# Imports ------------------------------------------------------------------------------


def run_python(code):
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr


def test_flax_is_only_imported_for_layers():
    run_python("""
        import sys
        import jconvt
        import jconvt.initializers
        loaded = [name for name in sys.modules if name.split(".")[0] == "flax"]
        assert not loaded, loaded

        sys.modules["flax"] = None  # as if it were not installed
        for name in ("jconvt.nnx", "jconvt.linen"):
            try:
                __import__(name)
            except ImportError as error:
                wanted = f"{name} needs Flax, which is not installed: `pip install"
                assert str(error).startswith(wanted), error
            else:
                raise AssertionError(name)
    """)
