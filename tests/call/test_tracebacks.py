"""Where the traceback of a bad call ends: at the caller's line."""

import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import jconvt
import jconvt.initializers
import jconvt.linen
import jconvt.nnx
import jconvt.sharding
import jconvt.streaming
from jconvt import interop

PACKAGE = str(Path(jconvt.__file__).parent)
USER = "user.py"

NAMES = {
    "jax": jax,
    "jnp": jnp,
    "jconvt": jconvt,
    "interop": interop,
    "x": jnp.ones((1, 4, 5, 5)),
    "w": jnp.ones((4, 6, 3, 3)),
    "key": jax.random.key(0),
    "rngs": nnx.Rngs(0),
}

FUNCTIONS = {
    "a function": "jconvt.conv_transpose2d(x, w, stride=0)",
    "an argument that there is not": "jconvt.conv_transpose2d(x, w, strides=2)",
    "an array of another kind": "jconvt.conv_transpose2d([1.0], w)",
    "1-d": "jconvt.conv_transpose1d(x, w)",
    "3-d": "jconvt.conv_transpose3d(x, w)",
    "any rank": "jconvt.conv_transpose(x, w, padding='WRAP')",
    "a lowering": "jconvt.conv_transpose(x, w, lowering='matmul')",
    "output_shape": "jconvt.output_shape((1, 3, 5), (4, 6, 3))",
    "explain": "jconvt.explain((1, 4, 5), (4, 6, 3), platform='abacus')",
    "sharding": "jconvt.sharding.conv_transpose(x, w, mesh_axes=3)",
    "torch_uniform": "jconvt.initializers.torch_uniform(fan_in=-1)",
    "its initializer": "jconvt.initializers.torch_uniform()(key, (3,))",
    "bilinear": "jconvt.initializers.bilinear(stride=0)",
    "icnr": "jconvt.initializers.icnr(jax.nn.initializers.ones, stride=0)",
    "replace_conv_transpose": "jconvt.nnx.replace_conv_transpose(3)",
    "from_flax": "interop.from_flax(3)",
    "from_haiku": "interop.from_haiku({})",
    "from_mindspore": "interop.from_mindspore({})",
    "from_keras": "interop.from_keras(3)",
    "from_torch": "interop.from_torch(3)",
    "to_flax": "interop.to_flax(3)",
    "apply": "interop.from_mindspore({'weight': w}).apply(x[0, 0])",
}
"""What runs no code but ours between the caller and the check."""

TRANSFORMED = {
    "jit": "jax.jit(lambda x: jconvt.conv_transpose2d(x, w, padding=-1))(x)",
    "grad": "jax.grad(lambda x: jconvt.conv_transpose2d(x, w, padding=-1).sum())(x)",
    "vmap": "jax.vmap(lambda x: jconvt.conv_transpose2d(x, w, padding=-1))(x)",
}

LAYERS = {
    "nnx": "jconvt.nnx.ConvTranspose2d(4, 6, 0, rngs=rngs)",
    "nnx call": "jconvt.nnx.ConvTranspose2d(4, 6, 3, rngs=rngs)(w)",
    "nnx drop-in": "jconvt.nnx.ConvTranspose(4, 6, (3, 3), groups=0, rngs=rngs)",
    "nnx drop-in call": "jconvt.nnx.ConvTranspose(4, 6, (3, 3), rngs=rngs)(x[0, 0])",
    "nnx norm": "jconvt.nnx.WeightNorm(3)",
    "linen": "jconvt.linen.ConvTranspose2d(4, 6, 0)",
    "linen init": "jconvt.linen.ConvTranspose2d(4, 6, 3).init(key, w)",
    "linen drop-in": "jconvt.linen.ConvTranspose(6, (3, 3), groups=0).init(key, x)",
}
"""Flax's own frames may stand between the caller and ours."""

ENDS_WITH_THE_CALLER = FUNCTIONS | TRANSFORMED


def frames_of(code, **names):
    """The files of the traceback of a bad call, outermost first, from the caller on."""
    with pytest.raises((TypeError, ValueError)) as caught:
        exec(compile(code, USER, "exec"), NAMES | names)
    files = [f.filename for f in traceback.extract_tb(caught.value.__traceback__)]
    return files[files.index(USER) :]


@pytest.mark.parametrize("name", ENDS_WITH_THE_CALLER)
def test_it_ends_at_the_callers_line(name):
    if name in ("from_torch", "from_keras"):
        pytest.importorskip(name.removeprefix("from_"))
    assert frames_of(ENDS_WITH_THE_CALLER[name])[-1] == USER


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_of_jax_stands_between(name):
    if name in ("from_torch", "from_keras"):
        pytest.importorskip(name.removeprefix("from_"))
    assert frames_of(FUNCTIONS[name]) == [USER]


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_leaves_no_frame_of_ours(name):
    assert not [f for f in frames_of(LAYERS[name]) if f.startswith(PACKAGE)]


@pytest.mark.parametrize("name", ["a function", "jit", "nnx"])
def test_one_switch_shows_all_frames(name):
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", "off")
    try:
        files = frames_of((ENDS_WITH_THE_CALLER | LAYERS)[name])
    finally:
        jax.config.update("jax_traceback_filtering", before)
    assert len([f for f in files if f.startswith(PACKAGE)]) > 2


MISFITS = {
    "jconvt.nnx.ConvTranspose2d(4, 6)": "ConvTranspose2d.__init__() missing",
    "jconvt.nnx.ConvTranspose1d(4, 6, 3, rngs=rngs)()": "ConvTranspose1d.__call__() ",
    "Upsample(4)": "ConvTranspose3d.__init__() missing",
    "jconvt.linen.ConvTranspose2d(4, 6)": "ConvTranspose2d.__init__() missing",
    "jconvt.linen.ConvTranspose2d(4, 6, 3).init(key)": "ConvTranspose2d.__call__() ",
    "jconvt.conv_transpose2d(x)": "conv_transpose2d() missing",
}
"""Arguments that do not fit the parameters, which is Python's own error."""


class Upsample(jconvt.nnx.ConvTranspose3d):
    """Of a user's, over a class of ours."""

    def __init__(self, channels):
        super().__init__(channels)


@pytest.mark.parametrize("code", MISFITS)
def test_a_misfit_names_the_public_class(code):
    with pytest.raises(TypeError) as caught:
        eval(code, NAMES | {"Upsample": Upsample})
    assert str(caught.value).startswith(MISFITS[code])


KEYWORDS = {
    "jconvt.conv_transpose2d(x, w, strides=2)": "'strides'. Did you mean 'stride'?",
    "jconvt.conv_transpose(x, rhs=w)": "'rhs'. Did you mean 'weight'?",
    "jconvt.conv_transpose(x, w, feature_group_count=2)": "Did you mean 'groups'?",
    "jconvt.streaming.delay((4, 6, 3), rhs_dilation=2)": "Did you mean 'dilation'?",
    "jconvt.nnx.ConvTranspose2d(4, filters=6)": "Did you mean 'out_channels'?",
    "jconvt.nnx.ConvTranspose(4, 6, 3, stride=2)": "Did you mean 'strides'?",
    "jconvt.nnx.ConvTranspose2d(4, 6, kernel=3)": "Did you mean 'kernel_size'?",
    "jconvt.conv_transpose(x, w, device=2)": "keyword argument 'device'",
}
"""Keywords that there are not, and the end of the message."""


@pytest.mark.parametrize("code", KEYWORDS)
def test_an_unknown_keyword_has_a_hint(code):
    with pytest.raises(TypeError) as caught:
        eval(code, NAMES)
    assert "got an unexpected keyword argument" in str(caught.value)
    assert str(caught.value).endswith(KEYWORDS[code])


@pytest.mark.parametrize("rest", ["", ", groups=2"])
def test_too_many_arguments_without_a_name(rest):
    """As a user of lax writes them."""
    with pytest.raises(TypeError, match="positional arguments but") as caught:
        eval(f"jconvt.conv_transpose(x, w, (2, 2), 'SAME'{rest})", NAMES)
    assert ". Write as keywords: stride, padding, output_padding," in str(caught.value)


def test_what_a_function_of_the_caller_raises_keeps_its_frames():
    code = """
def inner(key, shape, dtype=None):
    raise ValueError("of the caller's own")
jconvt.initializers.icnr(inner, stride=2)(key, (4, 6, 4, 4))
"""
    files = frames_of(code)
    assert files[0] == files[-1] == USER
    assert any(f.startswith(PACKAGE) for f in files)


def test_what_jax_raises_keeps_its_frames():
    with jax.numpy_dtype_promotion("strict"):
        files = frames_of("jconvt.conv_transpose2d(x, w.astype('bfloat16'))")
    assert any(f.startswith(PACKAGE) for f in files)


def test_the_message_stays():
    with pytest.raises(ValueError, match=r"^conv_transpose2d: `stride` must be") as e:
        jconvt.conv_transpose2d(NAMES["x"], NAMES["w"], stride=0)
    assert e.value.__cause__ is None
    assert e.value.__context__ is None
