"""The drop-in layers against Flax's own, over Flax's whole option space.

Where a test does not say otherwise, operands are small integers in floating point: all
sums are exact in any order, and results must be equal, not near.
"""

import dataclasses
import functools
import inspect
import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jconvt
import jconvt.linen
import jconvt.nnx
from configurations import mixes_dtypes
from flax_layers import FLAVOURS, Linen, Nnx, assert_same, results, whole
from jconvt._layers.flax import EXTRAS, settle_fields
from oracles import assert_close
from programs import equations

RNGS = functools.partial(nnx.Rngs, 7)
both = pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=FLAVOURS)


def lower_triangle(shape):
    return jnp.asarray(np.tril(np.ones(shape, np.float32)))


# spatial size, kernel_size, fields
CASES = {
    "default": ((5,), (3,), {}),
    "kernel_size int": ((5,), 4, {"strides": 2}),
    "no space": ((), (), {}),
    "strides int": ((4, 3), (3, 4), {"strides": 2}),
    "strides list": ((4, 3), [3, 2], {"strides": [2, 3]}),
    "strides None": ((4, 3), (3, 2), {"strides": None, "kernel_dilation": None}),
    "3d": ((3, 2, 3), (2, 3, 2), {"strides": (2, 1, 3)}),
    **{
        f"{padding} {name}{' transposed' if transposed else ''}": (
            (n,),
            (k,),
            {
                "strides": s,
                "kernel_dilation": d,
                "padding": padding,
                "transpose_kernel": transposed,
            },
        )
        for padding in ("SAME", "VALID", "CIRCULAR")
        for transposed in (False, True)
        for name, (n, k, s, d) in {
            "odd": (5, 5, 2, 1),
            "even": (5, 4, 1, 1),
            "kernel below stride": (4, 2, 3, 1),
            "kernel above input": (2, 7, 1, 1),
            "dilated": (4, 3, 2, 3),
        }.items()
    },
    "circular 2d": (
        (3, 4),
        (4, 3),
        {"strides": (2, 3), "padding": "CIRCULAR", "transpose_kernel": True},
    ),
    "padding int": ((4, 5), (3, 2), {"strides": 2, "padding": 3}),
    "padding ints": ((4, 5), (3, 2), {"strides": 2, "padding": (0, 2)}),
    "padding pairs": ((4, 5), (3, 2), {"strides": 2, "padding": ((0, 3), (2, 1))}),
    "padding list": ((4, 5), (3, 2), {"padding": [1, (2, 0)]}),
    "padding negative": ((6,), (3,), {"strides": 2, "padding": ((-2, 1),)}),
    "padding int negative": ((6,), (3,), {"strides": 2, "padding": -1}),
    "padding large": (
        (3,),
        (2,),
        {"strides": 2, "padding": ((6, 5),), "transpose_kernel": True},
    ),
    "no bias": ((5,), (3,), {"use_bias": False}),
    "mask": ((5, 4), (3, 2), {"mask": lower_triangle((3, 2, 3, 4)), "strides": 2}),
    "mask transposed": (
        (5,),
        (3,),
        {"mask": lower_triangle((3, 4, 3)), "transpose_kernel": True},
    ),
    "precision": ((5,), (3,), {"precision": "highest"}),
    "precision pair": ((5,), (3,), {"precision": (jax.lax.Precision.HIGH,) * 2}),
    "bfloat16": ((5,), (3,), {"dtype": jnp.bfloat16}),
    "float16 parameters": (
        (5,),
        (3,),
        {"param_dtype": jnp.float16, "dtype": jnp.float32},
    ),
    "complex": ((5,), (3,), {"param_dtype": jnp.complex64}),
}
NAMES = [
    pytest.param(name, marks=mixes_dtypes) if name == "complex" else name
    for name in CASES
]
IN, OUT = 3, 4


def layer_of(flavour, package, name, **more):
    _, kernel_size, fields = CASES[name]
    return flavour.make(package, IN, OUT, kernel_size, **fields | more)


def pair(flavour, name, **more):
    """The same layer of Flax and of ours."""
    packages = flavour.flax, flavour.ours
    return [layer_of(flavour, package, name, **more) for package in packages]


def operands(layer, *sizes, flavour=Nnx):
    """Parameters of a layer, and an input of these sizes."""
    x = jnp.asarray(whole(1, (*sizes, IN)))
    shapes = jax.tree.map(jnp.shape, flavour.parameters(layer, x))
    dtype = layer.param_dtype
    return {k: jnp.asarray(whole(2, s)).astype(dtype) for k, s in shapes.items()}, x


def assert_equal_to_flax(layers, parameters, x):
    """Outputs and gradients of a layer made by `layers(flavour, package)`."""
    functions = [
        functools.partial(flavour.apply, layers(flavour, package))
        for flavour in FLAVOURS.values()
        for package in (flavour.flax, flavour.ours)
    ]
    theirs, *others = results(functions, parameters, x)
    for found in others:
        assert_same(found, theirs)


# The layer ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients(name):
    layers = functools.partial(layer_of, name=name)
    space, *_ = CASES[name]
    parameters, x = operands(layers(Nnx, nnx), 2, *space)
    assert_equal_to_flax(layers, parameters, x)


@both
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("strides list", {}),
        ("strides list", {"transpose_kernel": True}),
        ("no bias", {}),
        ("default", {"param_dtype": jnp.bfloat16}),
        ("default", {"param_dtype": jnp.complex64, "transpose_kernel": True}),
    ],
)
def test_parameters_and_initial_values(flavour, name, fields):
    """Of the same key; the kernel by Flax's default initializer."""
    space, kernel_size, more = CASES[name]
    fields = fields | more | {"bias_init": nn.initializers.normal()}
    x = jnp.zeros((1, *space, IN), fields.get("param_dtype", jnp.float32))
    if flavour is Nnx:
        theirs, ours = (
            nnx.to_pure_dict(
                nnx.state(p.ConvTranspose(IN, OUT, kernel_size, **fields, rngs=RNGS()))
            )
            for p in (nnx, jconvt.nnx)
        )
    else:
        theirs, ours = (
            p.ConvTranspose(OUT, kernel_size, **fields).init(jax.random.key(7), x)
            for p in (nn, jconvt.linen)
        )
    assert_same(ours, theirs)
    assert len(jax.tree.leaves(ours)) == (1 if name == "no bias" else 2)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3), (1, 2, 1, 3), (0,), (2, 0, 3)])
def test_any_number_of_batch_axes(batch):
    layers = functools.partial(layer_of, name="padding pairs")
    parameters, x = operands(layers(Nnx, nnx), *batch, 4, 3)
    assert_equal_to_flax(layers, parameters, x)


@mixes_dtypes
@pytest.mark.parametrize("dtype", ["int32", "uint8", "float16", "bfloat16"])
def test_dtypes_of_inputs(dtype):
    layers = functools.partial(layer_of, name="default")
    parameters, x = operands(layers(Nnx, nnx), 2, 5)
    assert_equal_to_flax(layers, parameters, abs(x).astype(dtype))


@mixes_dtypes
def test_promote_dtype_of_a_user():
    """It may leave the bias in another dtype, which the result then has."""

    def layers(flavour, package):
        promote = {"dtype": jnp.bfloat16, "promote_dtype": flavour.promote_operands}
        return layer_of(flavour, package, "default", **promote)

    parameters, x = operands(layers(Nnx, nnx), 2, 5)
    assert_equal_to_flax(layers, parameters, x)
    y = Nnx.apply(layers(Nnx, jconvt.nnx), parameters, x)
    assert y.dtype == jnp.float32


@mixes_dtypes
def test_preferred_element_type():
    """Gradients by those in float32: JAX 0.8 has none of its own (jax#31592)."""
    fields = {"dtype": jnp.bfloat16, "preferred_element_type": jnp.float32}
    parameters, x = operands(layer_of(Nnx, nnx, "default"), 2, 5)
    wide, *others = results(
        [
            functools.partial(flavour.apply, layer_of(flavour, package, "default", **f))
            for flavour, package, f in [
                (Nnx, nnx, {}),
                (Nnx, jconvt.nnx, fields),
                (Linen, jconvt.linen, fields),
            ]
        ],
        parameters,
        x,
    )
    for found in others:
        assert_same(found, wide)
    for flavour in (Nnx, Linen):
        made = pair(flavour, "default", **fields)
        assert_same(*(flavour.apply(layer, parameters, x) for layer in made))


@both
def test_numpy_arrays(flavour):
    theirs, ours = pair(flavour, "default")
    parameters, x = operands(theirs, 2, 5, flavour=flavour)
    y = flavour.apply(ours, parameters, np.asarray(x))
    assert_same(y, flavour.apply(theirs, parameters, np.asarray(x)))


@both
def test_strict_promotion(flavour):
    """What Flax casts itself is no implicit promotion; what it leaves to ``+`` is."""
    fields = {"dtype": jnp.bfloat16, "preferred_element_type": jnp.float32}
    for layer in pair(flavour, "bfloat16") + pair(flavour, "default", **fields):
        with jax.numpy_dtype_promotion("standard"):
            parameters, x = operands(layer, 2, 5, flavour=flavour)
        with jax.numpy_dtype_promotion("strict"):
            if layer.preferred_element_type is None:
                flavour.apply(layer, parameters, x)
                continue
            with pytest.raises(ValueError, match="implicit dtype promotion"):
                flavour.apply(layer, parameters, x)


@pytest.mark.parametrize("padding", ["SAME", "CIRCULAR", 3])
@pytest.mark.parametrize("transposed", [False, True], ids=["plain", "transposed"])
def test_real_numbers(padding, transposed):
    """In float64: two sums of the same products, in whatever orders."""
    draw = np.random.default_rng(0).normal
    fields = {"padding": padding, "transpose_kernel": transposed, "strides": (2, 1)}
    with jax.enable_x64(True):
        theirs, ours = (
            Nnx.make(package, 8, 4, (4, 3), param_dtype=jnp.float64, **fields)
            for package in (nnx, jconvt.nnx)
        )
        x = jnp.asarray(draw(size=(2, 5, 4, 8)))
        parameters = jax.tree.map(
            lambda p: jnp.asarray(draw(size=p.shape)), Nnx.parameters(theirs, x)
        )
        sizes = jax.tree.map(abs, (parameters, x))
        assert_close(
            Nnx.apply(ours, parameters, x),
            Nnx.apply(theirs, parameters, x),
            magnitude=np.asarray(Nnx.apply(theirs, *sizes)),
            terms=4 * 3 * 8,
            dtype=np.float64,
        )


@st.composite
def cases(draw):
    """Spatial size, kernel size and fields that Flax accepts."""
    rank = draw(st.integers(0, 3))
    sizes = st.integers(1, 4 if rank < 3 else 2)

    def ints(largest):
        one = st.integers(1, largest)
        each = st.tuples(*[one] * rank)
        return draw(st.one_of(st.none(), one, each, each.map(list)))

    one = st.integers(-1, 4)
    padding = draw(
        st.one_of(
            st.sampled_from(["SAME", "VALID", "CIRCULAR"]),
            one,
            st.lists(one | st.tuples(one, one), min_size=rank, max_size=rank),
        )
    )
    fields = {
        "strides": ints(3),
        "kernel_dilation": ints(3),
        "padding": padding,
        "use_bias": draw(st.booleans()),
        "transpose_kernel": draw(st.booleans()),
    }
    space = draw(st.tuples(*[sizes] * rank))
    kernel_size = draw(st.tuples(*[sizes] * rank))
    batch = draw(st.lists(st.integers(1, 2), max_size=2))
    channels = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return (*batch, *space), kernel_size, channels, fields


@settings(max_examples=25)
@given(cases())
def test_any_layer(case):
    sizes, kernel_size, (in_features, features), fields = case

    def layers(flavour, package):
        return flavour.make(package, in_features, features, kernel_size, **fields)

    theirs, x = layers(Nnx, nnx), jnp.asarray(whole(1, (*sizes, in_features)))
    parameters = {
        k: jnp.asarray(whole(2, p.shape)) for k, p in Nnx.parameters(theirs, x).items()
    }
    # Flax makes empty outputs of negative sizes too, which are errors here.
    assume(jax.eval_shape(functools.partial(Nnx.apply, theirs), parameters, x).size)
    assert_equal_to_flax(layers, parameters, x)


# The interface ------------------------------------------------------------------------


def test_linen_fields_are_those_of_flax():
    def fields(cls):
        return [
            (f.name, f.kw_only, f.default)
            for f in dataclasses.fields(cls)
            if f.name not in ("parent", "name")
        ]

    ours, theirs = fields(jconvt.linen.ConvTranspose), fields(nn.ConvTranspose)
    assert ours == [*theirs, *((name, True, v) for name, v in EXTRAS.items())]


def test_nnx_arguments_are_those_of_flax():
    def arguments(cls):
        parameters = inspect.signature(cls.__init__).parameters.values()
        return {p.name: (p.kind, p.default) for p in parameters}

    ours = arguments(jconvt.nnx.ConvTranspose)
    extras = {name: ours.pop(name) for name in EXTRAS}
    theirs = arguments(nnx.ConvTranspose)
    assert list(ours.items()) == list(theirs.items())
    keyword = inspect.Parameter.KEYWORD_ONLY
    assert extras == {name: (keyword, value) for name, value in EXTRAS.items()}
    shown = inspect.signature(jconvt.nnx.ConvTranspose).parameters
    assert list(shown)[:4] == ["in_features", "out_features", "kernel_size", "strides"]


@pytest.mark.parametrize("name", ["kernel_size int", "strides list", "mask", "no bias"])
def test_nnx_attributes_are_those_of_flax(name):
    theirs, ours = pair(Nnx, name)
    found, wanted = vars(ours), vars(theirs)
    assert set(found) == set(wanted) | set(EXTRAS)
    for attribute in set(wanted) - {"_pytree__nodes", "_pytree__state", "mask"}:
        if not isinstance(wanted[attribute], nnx.Param):
            assert found[attribute] == wanted[attribute], attribute
    assert isinstance(ours, nnx.ConvTranspose)


def test_nnx_attributes_are_read_at_the_call():
    _, layer = pair(Nnx, "default")
    x = jnp.zeros((2, 5, IN))
    assert layer(x).shape == (2, 5, OUT)
    layer.strides, layer.padding = 2, "VALID"
    assert layer(x).shape == (2, 11, OUT)
    layer.bias = None
    assert layer(jnp.zeros((5, IN))).tolist() == jnp.zeros((11, OUT)).tolist()


def test_linen_names_are_those_of_flax():
    def model(package):
        class Model(nn.Module):
            @nn.compact
            def __call__(self, x):
                x = package.ConvTranspose(2, (3,))(x)
                return package.ConvTranspose(2, (3,))(nn.relu(x))

        return Model()

    x = jnp.zeros((1, 4, 2))
    theirs, ours = (
        model(package).init(jax.random.key(3), x) for package in (nn, jconvt.linen)
    )
    assert_same(ours, theirs)
    assert set(ours["params"]) == {"ConvTranspose_0", "ConvTranspose_1"}


# Groups, output_padding, output_size, lowering ----------------------------------------


@both
@pytest.mark.parametrize("transposed", [False, True], ids=["plain", "transposed"])
@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", 2])
def test_groups_are_flax_layers_side_by_side(flavour, transposed, padding):
    fields = {"strides": (2, 1), "padding": padding, "transpose_kernel": transposed}
    grouped = flavour.make(flavour.ours, 4, 6, (3, 2), groups=2, **fields)
    single = flavour.make(flavour.flax, 2, 3, (3, 2), **fields)
    shape = (3, 2, 3, 4) if transposed else (3, 2, 2, 6)
    x = jnp.asarray(whole(1, (2, 3, 4, 4)))
    assert flavour.parameters(grouped, x)["kernel"].shape == shape
    kernel, bias = jnp.asarray(whole(2, shape)), jnp.asarray(whole(3, (6,)))
    y = flavour.apply(grouped, {"kernel": kernel, "bias": bias}, x)
    parts = [
        flavour.apply(single, {"kernel": k, "bias": b}, part)
        for k, b, part in zip(
            jnp.split(kernel, 2, -1),
            jnp.split(bias, 2),
            jnp.split(x, 2, -1),
            strict=True,
        )
    ]
    assert_same(y, jnp.concatenate(parts, -1))


@both
def test_a_grouped_transposed_kernel_is_that_of_flax_conv(flavour):
    """The layer is the adjoint of the grouped `Conv` with the same kernel."""
    kernel = jnp.asarray(whole(2, (3, 2, 6)))  # from 4 channels to 6, in 2 groups
    conv = nn.Conv(6, (3,), 2, padding="VALID", feature_group_count=2, use_bias=False)
    u, x = jnp.asarray(whole(0, (2, 9, 4))), jnp.asarray(whole(1, (2, 4, 6)))
    _, pull = jax.vjp(lambda u: conv.apply({"params": {"kernel": kernel}}, u), u)
    layer = flavour.make(
        flavour.ours,
        6,
        4,
        (3,),
        strides=2,
        padding="VALID",
        groups=2,
        transpose_kernel=True,
        use_bias=False,
    )
    assert_same(flavour.apply(layer, {"kernel": kernel}, x), pull(x)[0])


@both
@pytest.mark.parametrize("transposed", [False, True], ids=["plain", "transposed"])
def test_extras_equal_torch(flavour, transposed):
    """PyTorch's padding p is e-1-p here, and output_padding is the same."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    p, k, d = 1, (3, 4), (1, 2)
    options = {"stride": (2, 3), "output_padding": (1, 2), "groups": 2, "dilation": d}
    theirs = torch.nn.ConvTranspose2d(4, 6, k, padding=p, **options)
    weight, bias = whole(2, (4, 3, *k)), whole(3, (6,))
    with torch.no_grad():
        theirs.weight[:], theirs.bias[:] = torch.tensor(weight), torch.tensor(bias)
    layer = flavour.make(
        flavour.ours,
        4,
        6,
        k,
        strides=(2, 3),
        padding=tuple(b * (a - 1) - p for a, b in zip(k, d, strict=True)),
        kernel_dilation=d,
        output_padding=(1, 2),
        groups=2,
        transpose_kernel=transposed,
    )
    x = whole(1, (2, 4, 3, 5))
    kernel = settle_fields(layer).kernel.kernel(jnp.asarray(weight))
    parameters = {"kernel": kernel, "bias": jnp.asarray(bias)}
    last = jnp.asarray(np.moveaxis(x, 1, -1))
    wanted = theirs(torch.tensor(x)).detach().numpy()
    y = flavour.apply(layer, parameters, last)
    np.testing.assert_array_equal(np.moveaxis(y, -1, 1), wanted)
    size = wanted.shape[2:]
    np.testing.assert_array_equal(
        flavour.apply(layer, parameters, last, output_size=size), y
    )
    smaller = flavour.apply(layer, parameters, last, output_size=(size[0] - 1, size[1]))
    np.testing.assert_array_equal(smaller, y[:, :-1])


@both
def test_a_whole_shape_as_output_size(flavour):
    """As of a skip connection; its batch and channels are ignored."""
    layer = flavour.make(flavour.ours, 3, 2, (3, 3), strides=2)
    parameters, x = operands(layer, 2, 5, 3, 4, flavour=flavour)
    wanted = flavour.apply(layer, parameters, x, output_size=(7, 8))
    for whole_shape in ((2, 5, 7, 8, 2), [1, 1, 7, 8, 9]):
        y = flavour.apply(layer, parameters, x, output_size=whole_shape)
        np.testing.assert_array_equal(y, wanted)
    with pytest.raises(ValueError, match="for an input of 5 axes has 5; got 4"):
        flavour.apply(layer, parameters, x, output_size=(2, 7, 8, 2))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True], ids=["plain", "transposed"])
def test_kernel_and_weight_are_inverse(groups, transposed):
    layer = jconvt.linen.ConvTranspose(
        6, (3, 2), groups=groups, transpose_kernel=transposed
    )
    settled = settle_fields(layer)
    kernel = jnp.asarray(whole(0, settled.kernel_shape(4, 6)))
    weight = settled.kernel.weight(kernel)
    assert weight.shape == (4, 6 // groups, 3, 2)
    np.testing.assert_array_equal(settled.kernel.kernel(weight), kernel)


@both
def test_lowering_is_passed_on(flavour):
    """One that cannot serve this geometry is refused, by name."""
    layer = flavour.make(flavour.ours, IN, OUT, (3,), strides=2, lowering="matmul")
    parameters, x = operands(layer_of(Nnx, nnx, "default"), 2, 5)
    with pytest.raises(ValueError, match=r"^ConvTranspose: `lowering`='matmul' cannot"):
        flavour.apply(layer, parameters, x)


@both
def test_a_lowering_for_each_map_is_passed_on(flavour):
    mine = jconvt.Lowerings(forward="gather", input_gradient="phases")
    layer = flavour.make(flavour.ours, IN, OUT, (3,), strides=2, lowering=mine)
    parameters, x = operands(layer_of(Nnx, nnx, "default"), 2, 5)

    def loss(parameters, x):
        return flavour.apply(layer, parameters, x).sum()

    gradients = jax.grad(loss, (0, 1))
    for name in ("conv_transpose_input_gradient", "conv_transpose_weight_gradient"):
        (equation,) = equations(name, gradients, parameters, x)
        assert equation.params["call"].lowering == mine


# What runs ----------------------------------------------------------------------------


def equations_of(f, *args):
    """Those that run, in order: JAX 0.12 keeps the jits that older ones inline."""

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("jit", "pjit"):
                yield from walk(equation.params["jaxpr"].jaxpr)
            else:
                yield equation

    return list(walk(jax.make_jaxpr(f)(*args).jaxpr))


def text_of(equation):
    """What it does to arrays of which types, without addresses of objects."""
    types = [str(v.aval) for v in (*equation.invars, *equation.outvars)]
    return re.sub(r"0x[0-9a-f]+", "", f"{equation.primitive} {equation.params} {types}")


def primitives_of(f, *args):
    return [e.primitive.name for e in equations_of(f, *args)]


@both
def test_the_program_is_that_of_the_function(flavour):
    """With a transposed kernel; a plain one is reversed first, and that is all."""
    x, bias = jnp.zeros((2, 4, 5, 3)), jnp.zeros((4,))

    def function(parameters, x):
        return jconvt.conv_transpose(
            x,
            parameters["kernel"],
            parameters["bias"],
            stride=2,
            padding="SAME",
            dimension_numbers=("NHWC", "HWOI", "NHWC"),
        )

    layer = flavour.make(
        flavour.ours, 3, 4, (3, 3), strides=2, padding="SAME", transpose_kernel=True
    )
    parameters = {"kernel": jnp.zeros((3, 3, 4, 3)), "bias": bias}
    apply = functools.partial(flavour.apply, layer)
    assert list(map(text_of, equations_of(apply, parameters, x))) == list(
        map(text_of, equations_of(function, parameters, x))
    )

    plain = flavour.make(flavour.ours, 3, 4, (3, 3), strides=2, padding="SAME")
    found = primitives_of(
        functools.partial(flavour.apply, plain),
        {"kernel": jnp.zeros((3, 3, 3, 4)), "bias": bias},
        x,
    )
    wanted = primitives_of(function, parameters, x)
    assert found == ["rev", "optimization_barrier", *wanted]


@both
def test_symbolic_sizes(flavour):
    _, layer = pair(flavour, "strides int")
    parameters, _ = operands(layer, 1, 4, 3, flavour=flavour)
    a, b, h = jax.export.symbolic_shape("a, b, h")
    exported = jax.export.export(
        jax.jit(lambda x: flavour.apply(layer, parameters, x)), platforms=["cpu"]
    )(jax.ShapeDtypeStruct((a, b, h, 3, IN), jnp.float32))
    assert str(exported.out_avals[0].shape) == "(a, b, 2*h, 6, 4)"
    x = jnp.asarray(whole(1, (2, 1, 5, 3, IN)))
    np.testing.assert_array_equal(exported.call(x), flavour.apply(layer, parameters, x))


@both
def test_forward_mode(flavour):
    layers = pair(flavour, "strides int")
    parameters, x = operands(layers[0], 2, 4, 3, flavour=flavour)

    def f(parameters, x):
        return [flavour.apply(layer, parameters, x) for layer in layers]

    outputs, changes = jax.jvp(f, (parameters, x), (parameters, 2 * x))
    assert_same(*outputs)
    assert_same(*changes)


@both
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_sharded_batch_axes(flavour, kind):
    if jax.device_count() < 4:
        pytest.skip("needs 4 devices")
    mesh = jax.make_mesh((4,), ("data",), axis_types=(kind,))
    _, layer = pair(flavour, "strides int")
    parameters, x = operands(layer, 4, 2, 4, 3, flavour=flavour)
    wanted = flavour.apply(layer, parameters, x)
    with jax.set_mesh(mesh):
        sharding = NamedSharding(mesh, PartitionSpec("data"))
        y = jax.jit(lambda x: flavour.apply(layer, parameters, x))(
            jax.device_put(x, sharding)
        )
        assert y.sharding.is_equivalent_to(sharding, y.ndim)
    np.testing.assert_array_equal(y, wanted)


# Errors -------------------------------------------------------------------------------

NAME = "ConvTranspose: "
ERRORS = [
    ({"kernel_size": 2.0}, TypeError, "`kernel_size` must be an int or a tuple"),
    ({"kernel_size": "3"}, TypeError, "`kernel_size` must be an int or a tuple"),
    ({"kernel_size": (3, 0)}, ValueError, "`kernel_size[1]` must be at least 1"),
    ({"strides": (1, 2, 3)}, ValueError, "`strides` must hold 2 ints"),
    ({"strides": 0}, ValueError, "`strides` must be at least 1; got 0."),
    ({"strides": True}, TypeError, "`strides` must be an int"),
    ({"kernel_dilation": (1, 1.5)}, TypeError, "`kernel_dilation[1]` must be an int"),
    ({"padding": "same"}, ValueError, "`padding` must be 'SAME', 'VALID', 'CIRCULAR'"),
    ({"padding": "SAME_LOWER"}, ValueError, "`padding` must be 'SAME', 'VALID'"),
    ({"padding": None}, TypeError, "`padding` must be 'SAME', 'VALID', 'CIRCULAR', an"),
    ({"padding": 1.0}, TypeError, "`padding` must be 'SAME', 'VALID', 'CIRCULAR', an"),
    ({"padding": (1,)}, ValueError, "`padding` must hold 2 ints, (low, high) pairs"),
    ({"padding": (1, (1, 2, 3))}, ValueError, "`padding[1]` must be an int or a (low"),
    ({"padding": (1, (1, "2"))}, TypeError, "`padding[1]` must be an int or a (low, "),
    ({"padding": -9}, ValueError, "the output size must not be negative"),
    (
        {"padding": "CAUSAL", "strides": 2, "kernel_dilation": (1, 2)},
        ValueError,
        "`padding` 'CAUSAL' is in Flax's documentation of this layer, but its code "
        "refuses it. An output of size n*strides that sees no later input is "
        "padding=[(2, 1), (4, 1)] here.",
    ),
    ({"groups": 2}, ValueError, "`in_features` must be divisible by `groups`; got 3"),
    ({"groups": 3}, ValueError, "`features` must be divisible by `groups`; got 4 and"),
    ({"groups": 0}, ValueError, "`groups` must be at least 1; got 0."),
    ({"features": (2, 3)}, TypeError, "`features` must be an int; got (2, 3)"),
    ({"output_padding": 1}, ValueError, "`output_padding` must be smaller than"),
    (
        {"output_padding": 1, "strides": 2, "padding": "CIRCULAR"},
        ValueError,
        "`output_padding` must be 0 with padding 'CIRCULAR'",
    ),
    ({"mask": np.ones((3, 3))}, ValueError, "`mask` must have the kernel's shape (3, "),
    ({"precision": "extreme"}, ValueError, "`precision` must be one of"),
    (
        {"preferred_element_type": jnp.float16},
        TypeError,
        "`preferred_element_type` must be of the operands' kind",
    ),
]


@both
@pytest.mark.parametrize(("fields", "error", "message"), ERRORS)
def test_errors_of_fields(flavour, fields, error, message):
    fields = {"kernel_size": (3, 3), "features": 4} | fields
    x = jnp.zeros((1, 4, 4, 3))

    def make_and_call():
        layer = flavour.make(flavour.ours, in_features=3, **fields)
        flavour.apply(layer, flavour.parameters(layer, x), x)

    with pytest.raises(error) as caught:
        make_and_call()
    if flavour is Nnx:
        message = message.replace("`features`", "`out_features`")
    assert str(caught.value).startswith(NAME + message)
    assert len(caught.value.args) == 1


@both
def test_errors_of_inputs(flavour):
    _, layer = pair(flavour, "strides int")
    parameters, x = operands(layer, 2, 4, 3, flavour=flavour)

    def message(error, *args, parameters=parameters, **kwargs):
        with pytest.raises(error) as caught:
            flavour.apply(layer, parameters, *args, **kwargs)
        return str(caught.value)

    wanted = NAME + "`inputs` must be a JAX or NumPy array; got list."
    assert message(TypeError, [1.0]).startswith(wanted)
    wanted = NAME + "`inputs` must have 2 spatial axes and the channels last"
    assert message(ValueError, jnp.zeros((4, 3))).startswith(wanted)
    assert message(ValueError, x, output_size=(8, 9)).startswith(
        NAME + "`output_size` must lie between (8, 6) and (9, 7) for"
    )
    if flavour is Nnx:  # Linen itself compares the shapes of parameters
        wanted = NAME + "`inputs` must have the kernel's 3 channels on the last axis"
        assert message(ValueError, x[..., :2]).startswith(wanted)
        other = {**parameters, "kernel": jnp.zeros((2, 2, 3, 4))}
        assert message(ValueError, x, parameters=other).startswith(
            NAME + "`kernel` must have the shape that kernel_size=(3, 4), groups=1"
        )
        other = {**parameters, "bias": jnp.zeros((3,))}
        assert message(ValueError, x, parameters=other).startswith(
            NAME + "`bias` must have shape (4,)"
        )


@both
def test_the_hint_for_causal_is_causal(flavour):
    layer = flavour.make(
        flavour.ours, 1, 1, (3,), strides=2, kernel_dilation=2, padding=[(4, 1)]
    )
    x = jnp.zeros((1, 5, 1))
    parameters = jax.tree.map(jnp.ones_like, flavour.parameters(layer, x))
    seen = jax.jacobian(lambda x: flavour.apply(layer, parameters, x)[0, :, 0])(x)
    assert seen.shape == (10, 1, 5, 1)
    sees = np.asarray(seen[:, 0, :, 0] != 0)
    first = np.arange(10)[:, None] // 2 < np.arange(5)
    assert sees.any()
    assert not (sees & first).any()


def test_causal_is_what_flax_refuses():
    """So that the message stays true: the day Flax has it, this test fails."""
    for flavour in (Nnx, Linen):
        layer = flavour.make(
            flavour.flax, 1, 1, (3,), strides=2, padding="CAUSAL", use_bias=False
        )
        x = jnp.zeros((1, 5, 1))
        with pytest.raises(ValueError, match="String padding is not implemented"):
            flavour.apply(layer, {"kernel": jnp.zeros((3, 1, 1))}, x)
