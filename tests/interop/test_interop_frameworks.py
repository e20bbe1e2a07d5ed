"""Keras, Flax, Haiku and Equinox: values, gradients and ways back.

Values are compared with the packages' layers, element for element. Paddings are also
compared over whole grids with the packages' own arithmetic, which needs no arrays.
"""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
import jconvt.nnx
from interop import same, same_layers, same_trees, whole, with_gradients
from jconvt._call.fit import geometry_of
from jconvt.interop import (
    from_equinox,
    from_flax,
    from_haiku,
    from_keras,
    from_mindspore,
    from_torch,
    to_equinox,
    to_flax,
)


def crop(layer):
    """What conv_transpose crops with the layer's options, output_padding included."""
    return geometry_of(layer.config.options, layer.weight.shape[2:]).crop


# Keras --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras", reason="compares with Keras")


KERAS = {
    "1d same": ((5,), (4,), {"strides": 2, "padding": "same"}),
    "1d valid holes": ((4,), (2,), {"strides": 3}),
    "1d same output_padding": (
        (4,),
        (5,),
        {"strides": 3, "padding": "same", "output_padding": 1},
    ),
    "1d same output_padding 0": (
        (4,),
        (4,),
        {"strides": 2, "padding": "same", "output_padding": 0},
    ),
    "2d valid output_padding": (
        (3, 4),
        (3, 2),
        {"strides": (2, 3), "output_padding": (1, 2), "use_bias": False},
    ),
    "2d dilated": ((4, 5), (3, 2), {"dilation_rate": 2, "padding": "same"}),
    "2d channels first": (
        (3, 4),
        (3, 4),
        {"strides": 2, "padding": "same", "data_format": "channels_first"},
    ),
    "3d same": ((2, 3, 2), (3, 2, 3), {"strides": (2, 1, 2), "padding": "same"}),
}


def keras_layer(keras, name):
    space, kernel, options = KERAS[name]
    layer = getattr(keras.layers, f"Conv{len(space)}DTranspose")(2, kernel, **options)
    last = layer.data_format == "channels_last"
    x = whole(2, *space, 3) if last else whole(2, 3, *space)
    layer.build(x.shape)
    layer.set_weights([whole(*w.shape) for w in layer.weights])
    return layer, x


@pytest.mark.parametrize("name", KERAS)
def test_keras(keras, name):
    theirs, x = keras_layer(keras, name)
    variables = [jnp.asarray(v.value) for v in theirs.trainable_variables]
    desired = with_gradients(
        lambda variables, x: theirs.stateless_call(variables, [], x)[0], variables, x
    )
    ours = from_keras(theirs)
    y, (dlayer, dx) = with_gradients(lambda layer, x: layer.apply(x), ours, x)
    same(y, desired[0])
    kernel, *bias = desired[1][0]
    rank = len(KERAS[name][0])
    same(dlayer.weight, jnp.moveaxis(kernel, (-1, -2), (0, 1)))
    assert len(bias) == theirs.use_bias
    if bias:
        same(dlayer.bias, bias[0])
    same(dx, desired[1][1])
    same(jconvt.conv_transpose(x, ours.weight, ours.bias, **ours.options), y)
    assert ours.options["dimension_numbers"][1] == "IO" + "DHW"[3 - rank :]


def test_keras_paddings(keras):
    """Every padding over a grid, against the arithmetic of Keras's JAX backend."""
    from keras.src.backend.common import backend_utils

    theirs = backend_utils._convert_conv_transpose_padding_args_from_keras_to_jax
    grid = itertools.product(range(1, 8), range(1, 6), (1, 2, 3), ("same", "valid"))
    for k, s, d, padding in grid:
        if s > 1 and d > 1:
            continue  # Keras refuses these
        for more in (None, *range(s)):
            layer = keras.layers.Conv1DTranspose(
                1, k, s, padding=padding, dilation_rate=d, output_padding=more
            )
            layer.build((1, 4, 1))
            low, high = theirs(k, s, d, padding, more)
            e = d * (k - 1) + 1
            assert crop(from_keras(layer)) == ((e - 1 - low, e - 1 - high),)


def test_keras_activation(keras):
    layer = keras.layers.Conv1DTranspose(2, 3, activation="relu", name="up")
    layer.build((1, 4, 3))
    message = "from_keras: `layer` must have no activation; got 'up' with 'relu'."
    with pytest.raises(ValueError, match=re.escape(message)):
        from_keras(layer)
    ours, x = from_keras(layer, ignore_activation=True), whole(1, 4, 3)
    desired = np.asarray(layer(x))
    np.testing.assert_allclose(jax.nn.relu(ours.apply(x)), desired, rtol=1e-6)


def test_keras_mixed_precision(keras):
    layer = keras.layers.Conv1DTranspose(2, 3, dtype="mixed_bfloat16")
    layer.build((1, 4, 3))
    layer.set_weights([whole(3, 2, 3), whole(2)])
    x = whole(1, 4, 3)
    ours = from_keras(layer)
    assert ours.weight.dtype == jnp.float32
    same(ours.apply(x), layer(x))
    assert ours.apply(x).dtype == jnp.bfloat16


def test_errors_of_keras(keras):
    with pytest.raises(ValueError, match="must be built; got 'up', which is not"):
        from_keras(keras.layers.Conv1DTranspose(2, 3, name="up"))
    with pytest.raises(
        TypeError, match="from_keras: `layer` must be a Conv1DTranspose"
    ):
        from_keras(keras.layers.Conv1D(2, 3))


# Flax ---------------------------------------------------------------------------------

FLAX = {
    "same": ((5,), (4,), {"strides": 2}),
    "same holes 2d": ((3, 4), (2, 3), {"strides": (3, 2)}),
    "valid": ((4,), (2,), {"strides": 3, "padding": "VALID"}),
    "circular": ((5,), (4,), {"strides": 2, "padding": "CIRCULAR"}),
    "circular long": ((2, 3), (5, 2), {"strides": (1, 3), "padding": "CIRCULAR"}),
    "int": ((5,), (3,), {"strides": 2, "padding": 1}),
    "ints": ((4, 3), (3, 2), {"padding": (2, 1), "use_bias": False}),
    "pairs": ((4, 5), (3, 4), {"strides": (2, 3), "padding": ((1, 2), (4, 0))}),
    "dilated": ((5,), (3,), {"strides": 2, "kernel_dilation": 3}),
    "dilated pairs": ((4,), (3,), {"kernel_dilation": (2,), "padding": ((6, 1),)}),
    "3d": ((2, 3, 2), (3, 2, 1), {"strides": (2, 1, 2)}),
}


def flax_layers(options, channels=(3, 2)):
    """Flax's layer as a function of kernel and bias, in NNX and in Linen."""
    nnx = pytest.importorskip("flax.nnx", reason="compares with Flax NNX")
    linen = pytest.importorskip("flax.linen", reason="compares with Flax Linen")
    module = linen.ConvTranspose(channels[1], **options)

    def nnx_layer(kernel, bias):
        layer = nnx.ConvTranspose(*channels, **options, rngs=nnx.Rngs(0))
        layer.kernel[...] = kernel
        if layer.bias is not None:
            layer.bias[...] = bias
        return layer

    def linen_layer(kernel, bias):
        params = {"kernel": kernel} | ({"bias": bias} if module.use_bias else {})
        return module, {"params": params}

    return nnx_layer, linen_layer


@pytest.mark.parametrize("transpose_kernel", [False, True], ids=["plain", "transposed"])
@pytest.mark.parametrize("name", FLAX)
def test_flax(name, transpose_kernel):
    """Values and gradients in Flax's own layout, through a port of traced arrays."""
    space, kernel, options = FLAX[name]
    options = options | {"kernel_size": kernel, "transpose_kernel": transpose_kernel}
    channels = (2, 3) if transpose_kernel else (3, 2)
    arrays = whole(*kernel, *channels), whole(2), whole(2, *space, 3)
    layer, linen_layer = flax_layers(options)
    ours = with_gradients(lambda w, b, x: from_flax(layer(w, b)).apply(x), *arrays)
    same_trees(ours, with_gradients(lambda w, b, x: layer(w, b)(x), *arrays))
    module, variables = linen_layer(*arrays[:2])
    same(ours[0], module.apply(variables, arrays[2]))
    same_layers(from_flax(module, variables), from_flax(layer(*arrays[:2])))


def test_flax_mask_and_batches():
    kernel, mask = whole(3, 3, 3, 2), (whole(3, 3, 3, 2, name="mask") > 0).astype(int)
    options = {"kernel_size": (3, 3), "strides": 2, "mask": mask}
    layer, linen_layer = flax_layers(options)
    theirs = layer(kernel, whole(2))
    ours = from_flax(theirs)
    same_layers(from_flax(*linen_layer(kernel, whole(2))), ours)
    for batch in [(), (2,), (2, 1, 3), (0, 2)]:
        x = whole(*batch, 4, 5, 3)
        same(ours.apply(x), theirs(x))


@pytest.mark.parametrize(
    "numerics",
    [
        {"dtype": jnp.bfloat16},
        {"dtype": jnp.bfloat16, "preferred_element_type": jnp.float32},
        {"precision": "highest"},
    ],
    ids=str,
)
def test_flax_dtypes(numerics):
    kernel, bias, x = whole(4, 3, 2), whole(2), whole(1, 5, 3)
    layer, linen_layer = flax_layers({"kernel_size": 4, "strides": 2, **numerics})
    theirs = layer(kernel, bias)
    same(from_flax(theirs).apply(x), theirs(x))
    same_layers(from_flax(*linen_layer(kernel, bias)), from_flax(theirs))
    # The layers that we make of it, and Flax's own, keep them.
    same(from_flax(theirs).to_nnx()(x), theirs(x))
    same(to_flax(from_flax(theirs))(x), theirs(x))


@pytest.mark.parametrize("api", ["nnx", "linen"])
@pytest.mark.parametrize("transpose_kernel", [False, True], ids=["plain", "transposed"])
@pytest.mark.parametrize("name", ["same", "circular", "pairs", "dilated", "3d"])
def test_to_flax(name, transpose_kernel, api):
    nnx = pytest.importorskip("flax.nnx", reason="makes Flax layers")
    space, kernel, options = FLAX[name]
    layer = nnx.ConvTranspose(
        3,
        2,
        kernel,
        **options,
        transpose_kernel=transpose_kernel,
        bias_init=nnx.initializers.normal(),
        rngs=nnx.Rngs(0),
    )
    ours, x = from_flax(layer), whole(1, *space, 3)
    made = to_flax(ours, api=api)
    if api == "nnx":
        assert type(made) is nnx.ConvTranspose
        y, back = made(x), from_flax(made)
    else:
        y, back = made[0].apply(made[1], x), from_flax(*made)
    np.testing.assert_allclose(y, layer(x), rtol=1e-5, atol=1e-5)
    same_layers(back, ours)


@pytest.mark.parametrize("transpose_kernel", [False, True], ids=["plain", "transposed"])
@pytest.mark.parametrize("groups", [1, 2])
def test_our_drop_in_layers(transpose_kernel, groups):
    """They have groups and an output_padding, which Flax's have not."""
    nnx = pytest.importorskip("flax.nnx", reason="makes Flax layers")
    linen = pytest.importorskip("jconvt.linen")
    fields = {
        "strides": (2, 3),
        "padding": ((1, 0), (2, 1)),
        "groups": groups,
        "output_padding": (1, 0),
        "transpose_kernel": transpose_kernel,
    }
    theirs = jconvt.nnx.ConvTranspose(4, 6, (3, 4), **fields, rngs=nnx.Rngs(0))
    theirs.kernel[...] = whole(*theirs.kernel.shape)
    ours, x = from_flax(theirs), whole(2, 3, 2, 4)
    same(ours.apply(x), theirs(x))
    module = linen.ConvTranspose(6, (3, 4), **fields)
    params = {"kernel": theirs.kernel[...], "bias": theirs.bias[...]}
    same_layers(from_flax(module, {"params": params}), ours)


def test_linen_variables():
    linen = pytest.importorskip("flax.linen", reason="compares with Flax Linen")
    init = linen.with_partitioning(linen.initializers.ones, (None, None, "model"))
    module = linen.ConvTranspose(2, (3,), kernel_init=init)
    variables = module.init(jax.random.key(0), whole(1, 4, 3))
    boxed = from_flax(module, variables)  # partitioning metadata and all
    same_layers(from_flax(module, linen.meta.unbox(variables)["params"]), boxed)


ERRORS_OF_FLAX = {
    "causal": (
        lambda nnx, linen: from_flax(
            nnx.ConvTranspose(3, 2, 3, padding="CAUSAL", rngs=nnx.Rngs(0))
        ),
        ValueError,
        "from_flax: `padding` 'CAUSAL' is in Flax's documentation of this layer, but "
        "its code refuses it.",
    ),
    "pairs of another rank": (
        lambda nnx, linen: from_flax(
            nnx.ConvTranspose(3, 2, 3, padding=(1, 2), rngs=nnx.Rngs(0))
        ),
        ValueError,
        "from_flax: `padding` must hold 1 ints",
    ),
    "mask of another shape": (
        lambda nnx, linen: from_flax(
            nnx.ConvTranspose(3, 2, 3, mask=jnp.ones((3, 2)), rngs=nnx.Rngs(0))
        ),
        ValueError,
        "from_flax: `mask` must have the kernel's shape (3, 3, 2); got (3, 2).",
    ),
    "no taps": (
        lambda nnx, linen: from_mindspore({"weight": whole(4, 2, 0)}),
        ValueError,
        "from_mindspore: `weight` must have at least one tap on every spatial axis; "
        "got shape (4, 2, 0).",
    ),
    "promotion": (
        lambda nnx, linen: from_flax(
            nnx.ConvTranspose(
                3, 2, 3, promote_dtype=lambda arrays, dtype: arrays, rngs=nnx.Rngs(0)
            )
        ),
        ValueError,
        "from_flax: `layer.promote_dtype` must be Flax's own; got <function",
    ),
    "convolution": (
        lambda nnx, linen: from_flax(nnx.Conv(3, 2, 3, rngs=nnx.Rngs(0))),
        TypeError,
        "from_flax: `layer` must be a transposed convolution; got Conv.",
    ),
    "no layer": (
        lambda nnx, linen: from_flax({}),
        TypeError,
        "from_flax: `layer` must be a transposed convolution of Flax NNX or Linen; got "
        "dict.",
    ),
    "no variables": (
        lambda nnx, linen: from_flax(linen.ConvTranspose(2, (3,))),
        ValueError,
        "from_flax: `variables` must be given for a Linen module, which has no "
        "parameters; got a ConvTranspose alone.",
    ),
    "other variables": (
        lambda nnx, linen: from_flax(linen.ConvTranspose(2, (3,)), {"params": {}}),
        ValueError,
        "from_flax: the variables must hold 'kernel' under 'params'; got nothing.",
    ),
    "variables of nnx": (
        lambda nnx, linen: from_flax(nnx.ConvTranspose(3, 2, 3, rngs=nnx.Rngs(0)), {}),
        ValueError,
        "from_flax: `variables` is for Linen modules; an NNX layer has its own.",
    ),
    "groups": (
        lambda nnx, linen: to_flax(
            from_mindspore({"weight": whole(4, 2, 3)}, groups=2), api="linen"
        ),
        ValueError,
        "to_flax: Flax's layer has no groups; the layer's `groups` is 2.",
    ),
    "api": (
        lambda nnx, linen: to_flax(from_mindspore({"weight": whole(4, 2, 3)}), api="x"),
        ValueError,
        "to_flax: `api` must be 'nnx' or 'linen'; got 'x'.",
    ),
    "no space": (
        lambda nnx, linen: to_flax(from_mindspore({"weight": whole(4, 2)})),
        ValueError,
        "over one axis or more; the layer's `weight.shape` is (4, 2).",
    ),
}


@pytest.mark.parametrize("name", ERRORS_OF_FLAX)
def test_errors_of_flax(name):
    nnx = pytest.importorskip("flax.nnx", reason="makes Flax layers")
    linen = pytest.importorskip("flax.linen", reason="makes Flax layers")
    call, error, message = ERRORS_OF_FLAX[name]
    with pytest.raises(error, match=re.escape(message)):
        call(nnx, linen)


# Haiku --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def haiku():
    return pytest.importorskip("haiku", reason="compares with Haiku")


HAIKU = {
    "same": ((5,), (4,), {"stride": 2}),
    "valid": ((4,), (2,), {"stride": 3, "padding": "VALID"}),
    "pairs": ((3, 4), (3, 2), {"stride": (2, 1), "padding": [(1, 2), (3, 0)]}),
    "same of a size": ((3, 4), (4, 5), {"stride": (3, 2), "output_shape": (8, 7)}),
    "same of a size, holes": ((3,), (2,), {"stride": 4, "output_shape": 9}),
    "valid of a size": (
        (3, 4),
        (4, 2),
        {"stride": (3, 2), "output_shape": (12, 9), "padding": "VALID"},
    ),
    "first": ((3, 4), (3, 4), {"stride": 2, "data_format": "NCHW", "with_bias": False}),
    "first with bias": ((4,), (3,), {"data_format": "channels_first"}),
    "3d": ((2, 3, 2), (2, 3, 1), {"stride": (2, 1, 3)}),
}


def haiku_call(haiku, name):
    space, kernel, options = HAIKU[name]
    options = {"data_format": "channels_last"} | options
    given = dict(options)

    def apply(x):
        module = haiku.ConvNDTranspose(len(space), 2, kernel, name="up", **given)
        return module(x)

    call = haiku.without_apply_rng(haiku.transform(apply)).apply
    first = options["data_format"] in ("NCHW", "channels_first")
    x = whole(2, 3, *space) if first else whole(2, *space, 3)
    params = {"w": whole(*kernel, 2, 3)}
    if options.pop("with_bias", True):
        params["b"] = whole(2, *[1] * len(space)) if first else whole(2)
    return call, params, options, x


@pytest.mark.parametrize("name", HAIKU)
def test_haiku(haiku, name):
    call, params, options, x = haiku_call(haiku, name)
    desired = with_gradients(lambda params, x: call({"up": params}, x), params, x)
    ours = with_gradients(
        lambda params, x: from_haiku(params, **options).apply(x), params, x
    )
    same_trees(ours, desired)
    same(from_haiku(params, **options).apply(x[0]), call({"up": params}, x[0]))


def test_haiku_paddings(haiku):
    """Every output_shape over a grid, against Haiku's arithmetic, error for error."""
    from haiku._src.conv import compute_adjusted_padding

    grid = itertools.product((1, 2, 3, 5), (1, 2, 3), (1, 2, 4), range(1, 12))
    for k, s, n, size in grid:
        for padding in ("SAME", "VALID"):
            ours = from_haiku(
                {"w": whole(k, 1, 1)}, stride=s, padding=padding, output_shape=size
            )
            shape = (1, n, 1), (1, 1, k)
            try:
                low, high = compute_adjusted_padding(n, size, k, s, padding)
            except ValueError:
                with pytest.raises(ValueError, match="output_s"):
                    jconvt.output_shape(*shape, **ours.options)
            else:
                assert crop(ours) == ((k - 1 - low, k - 1 - high),)
                assert jconvt.output_shape(*shape, **ours.options) == (1, size, 1)


def test_haiku_mask(haiku):
    mask = (whole(3, 2, 3, name="mask") > 0).astype(np.float32)
    params, x = {"w": whole(3, 2, 3), "b": whole(2)}, whole(1, 4, 3)
    layer = haiku.without_apply_rng(
        haiku.transform(lambda x: haiku.Conv1DTranspose(2, 3, mask=mask, name="up")(x))
    )
    same(from_haiku(params, mask=mask).apply(x), layer.apply({"up": params}, x))


@pytest.mark.parametrize(
    ("params", "options", "error", "message"),
    [
        (
            {"up": {}},
            {},
            ValueError,
            "from_haiku: `params` must hold 'w', so be those of one module; got up.",
        ),
        (
            whole(3),
            {},
            TypeError,
            "from_haiku: `params` must map 'w' and 'b' to arrays; got ndarray.",
        ),
        (
            {"w": whole(3, 2, 3)},
            {"padding": "CAUSAL"},
            ValueError,
            "from_haiku: `padding` must be 'SAME', 'VALID', an int, or 1 ints or (low, "
            "high) pairs; got 'CAUSAL'.",
        ),
        (
            {"w": whole(3, 2, 3)},
            {"padding": [(1, 1)], "output_shape": 4},
            ValueError,
            "from_haiku: `padding` must be 'SAME' or 'VALID' where `output_shape` is "
            "given; got [(1, 1)].",
        ),
        (
            {"w": whole(3, 2, 3)},
            {"padding": [(1.0, 1)]},
            TypeError,
            "from_haiku: `padding[0]` must be an int or a (low, high) pair of ints, "
            "or one of 'SAME', 'VALID'; got (1.0, 1).",
        ),
        (
            {"w": whole(3, 2, 3)},
            {"mask": whole(3, 2)},
            ValueError,
            "from_haiku: `mask` must have the shape of `w`, (3, 2, 3); got (3, 2).",
        ),
        (
            {"w": whole(2, 3)},
            {},
            ValueError,
            "from_haiku: `w` must be (*K, C_out, C_in) with one spatial axis or more; "
            "got shape (2, 3).",
        ),
        (
            {"w": whole(3, 2, 3)},
            {"data_format": "channel_last"},
            ValueError,
            "from_haiku: `data_format` must be one of channels_last, N...C, NWC, NHWC, "
            "NDHWC, channels_first, NC..., NCW, NCHW, NCDHW; got 'channel_last'. "
            "Did you mean 'channels_last'?",
        ),
    ],
)
def test_errors_of_haiku(params, options, error, message):
    with pytest.raises(error) as caught:
        from_haiku(params, **options)
    assert str(caught.value) == message


# Equinox ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def equinox():
    return pytest.importorskip("equinox", reason="compares with Equinox")


EQUINOX = {
    "plain": ((5,), (3,), {}),
    "padding": ((5,), (4,), {"stride": 2, "padding": 1, "output_padding": 1}),
    "pairs": ((4, 5), (4, 3), {"stride": (2, 3), "padding": ((1, 2), (0, 1))}),
    "valid": ((4,), (2,), {"stride": 3, "padding": "VALID", "output_padding": 2}),
    "same": ((4, 5), (5, 4), {"stride": (2, 3), "padding": "SAME"}),
    "same lower": ((4, 5), (5, 6), {"stride": (2, 3), "padding": "SAME_LOWER"}),
    "same less": ((4,), (5,), {"stride": 3, "padding": "SAME", "output_padding": 2}),
    "same holes": ((4,), (2,), {"stride": 5, "padding": "SAME", "output_padding": 1}),
    "groups": ((3, 3), (3, 2), {"stride": 2, "groups": 2, "padding": 1}),
    "dilated": ((5,), (3,), {"stride": 2, "dilation": 3, "use_bias": False}),
    "circular": (
        (3, 5),
        (4, 3),
        {"stride": 2, "padding": "SAME", "padding_mode": "CIRCULAR"},
    ),
    "circular lower": (
        (4,),
        (6,),
        {"padding": "SAME_LOWER", "padding_mode": "CIRCULAR", "dilation": 2},
    ),
    "3d": ((2, 3, 2), (3, 2, 3), {"stride": 2, "groups": 2}),
}


def equinox_layer(equinox, name):
    space, kernel, options = EQUINOX[name]
    layer = equinox.nn.ConvTranspose(
        len(space), 4, 6, kernel, **options, key=jax.random.key(0)
    )
    layer = jax.tree.map(lambda a: jnp.asarray(whole(*a.shape)), layer)
    return layer, whole(4, *space)


@pytest.mark.parametrize("name", EQUINOX)
def test_equinox(equinox, name):
    theirs, x = equinox_layer(equinox, name)
    desired = with_gradients(lambda layer, x: layer(x), theirs, x)
    ours = with_gradients(lambda layer, x: from_equinox(layer).apply(x), theirs, x)
    same_trees(ours, desired)


@pytest.mark.parametrize("name", EQUINOX)
def test_to_equinox(equinox, name):
    theirs, x = equinox_layer(equinox, name)
    ours = from_equinox(theirs)
    back = to_equinox(ours)
    assert isinstance(back, equinox.nn.ConvTranspose)
    same(back.weight, theirs.weight)
    assert back._padding_transpose() == theirs._padding_transpose()
    assert back.padding_mode == theirs.padding_mode
    same_layers(from_equinox(back), ours)
    if name in ("same less", "groups", "circular lower"):
        same(back(x), theirs(x))


def test_equinox_paddings(equinox):
    """Every padding over a grid, against Equinox's own arithmetic."""
    grid = itertools.product(
        range(1, 7), range(1, 6), (1, 2, 3), ("SAME", "SAME_LOWER", "VALID", 2)
    )
    key = jax.random.key(0)
    plain = {k: equinox.nn.ConvTranspose1d(1, 1, k, key=key) for k in range(1, 7)}
    for k, s, d, padding in grid:
        for more in range(s):
            layer = plain[k]
            padding = ((padding, padding),) if isinstance(padding, int) else padding
            for name, value in [
                ("stride", (s,)),
                ("padding", padding),
                ("output_padding", (more,)),
                ("dilation", (d,)),
            ]:
                object.__setattr__(layer, name, value)
            ((low, high),) = layer._padding_transpose()
            e = d * (k - 1) + 1
            assert crop(from_equinox(layer)) == ((e - 1 - low, e - 1 - high),)


def test_output_padding_that_equinox_refuses_is_a_crop(equinox):
    """PyTorch takes one up to the dilation."""
    layer = from_mindspore(
        {"weight": whole(2, 3, 3)}, dilation=4, padding=3, output_padding=3
    )
    made, x = to_equinox(layer), whole(2, 5)
    assert made.output_padding == (0,)
    assert made.padding == ((3, 0),)
    same(made(x), layer.apply(x))


def test_errors_of_equinox(equinox):
    conv = equinox.nn.Conv1d(2, 3, 3, key=jax.random.key(0))
    with pytest.raises(
        TypeError, match=r"must be an equinox.nn.ConvTranspose; got Conv1d"
    ):
        from_equinox(conv)
    with pytest.raises(ValueError, match=r"`weight.shape` is \(4, 2\)"):
        to_equinox(from_mindspore({"weight": whole(4, 2)}))
    nnx = pytest.importorskip("flax.nnx", reason="makes Flax layers")
    layer = nnx.ConvTranspose(3, 2, 3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    message = (
        "to_equinox: the target computes in its weight's dtype; the layer's `dtype` is "
        "'bfloat16'."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        to_equinox(from_flax(layer))


# From one framework to another --------------------------------------------------------


def test_keras_to_torch_and_flax(keras):
    """The data's layout is the target's own."""
    torch = pytest.importorskip("torch", reason="makes PyTorch layers")
    theirs, x = keras_layer(keras, "1d same")
    ours, desired = from_keras(theirs), np.asarray(theirs(x))
    made = jconvt.interop.to_torch(ours)
    y = made(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).detach().numpy()
    same(np.moveaxis(y, 1, -1), desired)
    same(to_flax(ours)(x), desired)
    same(jax.vmap(to_equinox(from_torch(made)))(np.moveaxis(x, -1, 1)), y)
