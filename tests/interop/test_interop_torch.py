"""PyTorch and MindSpore: values, gradients and ways back, element for element."""

import copy
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
import oracles
from interop import same, same_layers, whole, with_gradients
from jconvt.interop import from_haiku, from_mindspore, from_torch, to_torch

# name -> channels in and out, kernel, options, space
LAYERS = {
    "1d": ((3, 4, 3), {}, (5,)),
    "1d k4 s2 p1": ((3, 4, 4), {"stride": 2, "padding": 1}, (5,)),
    "1d holes": ((3, 4, 2), {"stride": 5, "output_padding": 4}, (3,)),
    "1d crop over kernel": ((2, 3, 3), {"stride": 2, "padding": 4}, (6,)),
    "1d over stride": (
        (4, 4, 3),
        {"stride": 2, "padding": 3, "output_padding": 3, "dilation": 4, "groups": 2},
        (4,),
    ),
    "2d no bias": ((3, 2, 4), {"stride": 2, "padding": 1, "bias": False}, (3, 4)),
    "2d uneven": (
        (2, 3, (3, 4)),
        {
            "stride": (2, 3),
            "padding": (1, 2),
            "output_padding": (1, 0),
            "dilation": (1, 2),
        },
        (3, 4),
    ),
    "2d groups": ((4, 6, 4), {"stride": 2, "padding": 1, "groups": 2}, (3, 3)),
    "2d depthwise": ((4, 4, 3), {"stride": 2, "groups": 4}, (3, 3)),
    "2d multiplier": ((3, 9, 3), {"stride": 2, "groups": 3}, (3, 2)),
    "3d k2 s2": ((2, 3, 2), {"stride": 2}, (2, 3, 2)),
    "3d groups": (
        (4, 2, (3, 2, 3)),
        {"stride": (2, 1, 3), "padding": (1, 0, 1), "groups": 2},
        (2, 2, 3),
    ),
}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch")


def module(torch, name, dtype=None):
    """A layer with whole numbers, and an input."""
    (c_in, c_out, kernel), options, space = LAYERS[name]
    layer = getattr(torch.nn, f"ConvTranspose{len(space)}d")(
        c_in, c_out, kernel, **options, dtype=dtype
    )
    with torch.no_grad():
        for key, value in layer.named_parameters():
            value.copy_(torch.from_numpy(whole(*value.shape, name=key)))
    return layer, whole(2, c_in, *space)


@pytest.mark.parametrize("name", LAYERS)
def test_layer(torch, name):
    """Values and all gradients; a state dict is the same layer."""
    theirs, x = module(torch, name)
    ours = from_torch(theirs)
    given = torch.from_numpy(x).requires_grad_()
    desired = theirs(given)
    cotangent = whole(*desired.shape)
    desired.backward(torch.from_numpy(cotangent))

    y, (dlayer, dx) = with_gradients(
        lambda layer, x: layer.apply(x), ours, x, cotangent=cotangent
    )
    same(y, desired.detach().numpy())
    same(dx, given.grad.numpy())
    same(dlayer.weight, theirs.weight.grad.numpy())
    if theirs.bias is not None:
        same(dlayer.bias, theirs.bias.grad.numpy())
    same(ours.apply(x[0]), theirs(given[0]).detach().numpy())
    same(jconvt.conv_transpose(x, ours.weight, ours.bias, **ours.options), y)

    given = {k: v for k, v in LAYERS[name][1].items() if k != "bias"}
    options = {"stride": 1, **given}
    state = {f"net.0.{key}": v for key, v in theirs.state_dict().items()}
    same_layers(from_torch(state, "net.0", **options), ours)
    arrays = {key: v.numpy() for key, v in theirs.state_dict().items()}
    same_layers(from_torch(arrays, **options), ours)


@pytest.mark.parametrize("name", LAYERS)
def test_there_and_back(torch, name):
    theirs, x = module(torch, name)
    ours = from_torch(theirs)
    back = to_torch(ours)
    assert type(back) is type(theirs)
    assert repr(back) == repr(theirs)
    assert back.state_dict().keys() == theirs.state_dict().keys()
    same(back(torch.from_numpy(x)).detach(), theirs(torch.from_numpy(x)).detach())
    same_layers(from_torch(back), ours)


@pytest.mark.parametrize("layer", ["to_nnx", "to_linen"])
@pytest.mark.parametrize("name", ["1d over stride", "2d groups", "3d k2 s2"])
def test_to_a_layer_of_ours(torch, name, layer):
    pytest.importorskip("flax", reason="makes Flax layers")
    theirs, x = module(torch, name)
    desired = theirs(torch.from_numpy(x)).detach().numpy()
    ours = from_torch(theirs)
    if layer == "to_nnx":
        made = ours.to_nnx()
        same(made(x), desired)
    else:
        made, variables = ours.to_linen()
        same(made.apply(variables, x), desired)
    assert type(made).__name__ == type(theirs).__name__
    # `to_linen` and `to_nnx` give layers that the converters read again.
    back = jconvt.interop.from_flax(made, *([variables] if layer != "to_nnx" else []))
    same_layers(back, ours)


def test_output_size_replaces_output_padding(torch):
    theirs = torch.nn.ConvTranspose2d(3, 2, 3, 2, 1, output_padding=1)
    x = whole(1, 3, 4, 5)
    for size in [(7, 9), (8, 9), (7, 10), (8, 10)]:
        desired = theirs(torch.from_numpy(x), output_size=size).detach().numpy()
        np.testing.assert_allclose(
            from_torch(theirs).apply(x, output_size=size), desired, rtol=0, atol=2e-5
        )
    with pytest.raises(ValueError, match=r"`output_size` must lie between \(7, 9\)"):
        from_torch(theirs).apply(x, output_size=(9, 9))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "complex64"])
def test_dtypes_keep_every_bit(torch, dtype):
    with jax.enable_x64(True):
        theirs = torch.nn.ConvTranspose1d(2, 3, 4, dtype=getattr(torch, dtype))
        ours = from_torch(theirs)
        assert ours.weight.dtype == ours.bias.dtype == jnp.dtype(dtype)
        back = to_torch(ours)
        assert back.weight.dtype == theirs.weight.dtype
        assert torch.equal(back.weight, theirs.weight)
        assert torch.equal(back.bias, theirs.bias)


def test_a_copy_is_a_copy(torch):
    """Neither side sees what the other's optimizer does."""
    theirs, _ = module(torch, "1d")
    ours = from_torch(theirs)
    before = np.array(ours.weight)
    back = to_torch(ours)
    with torch.no_grad():
        theirs.weight += 1
        back.weight += 2
    same(ours.weight, before)


# Weight norm and other parametrizations -----------------------------------------------


def old_norm(torch, layer, dim):
    with pytest.warns(FutureWarning):
        return torch.nn.utils.weight_norm(layer, dim=dim)


def new_norm(torch, layer, dim):
    return torch.nn.utils.parametrizations.weight_norm(layer, dim=dim)


@pytest.mark.parametrize("dim", [0, 1, 2, None])
@pytest.mark.parametrize("norm", [old_norm, new_norm])
def test_weight_norm(torch, norm, dim):
    layer = torch.nn.ConvTranspose1d(4, 6, 5, 2, groups=2, dtype=torch.float64)
    layer = norm(torch, layer, dim)
    with torch.no_grad(), jax.enable_x64(True):
        for value in layer.parameters():  # the weight of the last call is now stale
            value.mul_(1.5).add_(0.25)
        ours = from_torch(layer)
        state = {f"up.{key}": value for key, value in layer.state_dict().items()}
        told = from_torch(state, "up.", stride=2, groups=2)
        x = np.random.default_rng(0).normal(size=(1, 4, 3))
        desired = layer(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(ours.apply(x), desired, rtol=1e-13, atol=1e-13)
        same(ours.weight, layer.weight.numpy())
        np.testing.assert_allclose(told.weight, ours.weight, rtol=1e-14)
        assert told.options == ours.options


@pytest.mark.parametrize("form", ["spectral_norm", "parametrizations.spectral_norm"])
@pytest.mark.parametrize("training", [True, False])
def test_spectral_norm_is_that_of_evaluation(torch, form, training):
    """And the module does not iterate for it."""
    norm = torch.nn.utils
    for name in form.split("."):
        norm = getattr(norm, name)
    layer = norm(torch.nn.ConvTranspose2d(4, 3, 3, dtype=torch.float64))
    layer.train(training)
    before = copy.deepcopy(layer.state_dict())
    with torch.no_grad(), jax.enable_x64(True):
        ours = from_torch(layer)
        after = layer.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert layer.training == training
        assert all(m.training == training for m in layer.modules())
        x = np.random.default_rng(0).normal(size=(1, 4, 3, 3))
        desired = layer.eval()(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(ours.apply(x), desired, rtol=1e-13, atol=1e-13)
    with pytest.raises(
        ValueError, match=r"^from_torch: the state dict must hold 'weig"
    ):
        from_torch(layer.state_dict())


def test_hooks_of_a_user_are_not_norms(torch):
    layer = torch.nn.ConvTranspose1d(4, 6, 5)
    layer.register_forward_pre_hook(lambda module, arguments: None)
    same(from_torch(layer).weight, layer.weight.detach().numpy())


# Lazy modules and errors --------------------------------------------------------------


def test_lazy_modules(torch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the interface may change
        lazy = torch.nn.LazyConvTranspose2d(4, 3)
    with pytest.raises(
        ValueError,
        match=r"^from_torch: `source` must have parameters; got a LazyConvTranspose2d ",
    ):
        from_torch(lazy)
    lazy(torch.ones(1, 2, 5, 5))
    assert from_torch(lazy).weight.shape == (2, 4, 3, 3)


def test_errors_of_modules(torch):
    class Own(torch.nn.ConvTranspose2d):
        def forward(self, x):
            return super().forward(x).relu()

    class Named(torch.nn.ConvTranspose2d):
        pass

    assert from_torch(Named(2, 3, 4)).weight.shape == (2, 3, 4, 4)
    for source, error, message in [
        (Own(2, 3, 4), ValueError, "Own, which has a forward of its own"),
        (
            torch.nn.Linear(2, 3),
            TypeError,
            "a state dict; got Linear. For the layers of",
        ),
        (
            "weights.pt",
            TypeError,
            "got str. For the layers of a model there is from_torch_model; files are",
        ),
        (
            torch.nn.ConvTranspose2d(2, 3, 4, device="meta"),
            ValueError,
            "`bias` must have values; it is on PyTorch's meta device",
        ),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            from_torch(source)
    with pytest.raises(ValueError, match="`prefix` and options are for a state dict"):
        from_torch(torch.nn.ConvTranspose2d(2, 3, 4), stride=2)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("lazy", ["", "Lazy"])
def test_forward_convolutions_are_refused(torch, rank, lazy):
    """By their class, and not as some module that is not known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the interface of lazy ones may change
        kind = f"{lazy}Conv{rank}d"
        source = getattr(torch.nn, kind)(*([] if lazy else [2]), 3, 4)
    with pytest.raises(
        TypeError,
        match=rf"^from_torch: `source` must be a transposed convolution; got {kind}, a "
        "forward convolution",
    ):
        from_torch(source)


def test_state_dicts_of_forward_convolutions_are_refused(torch):
    """Where the bias tells them from transposed ones."""
    state = torch.nn.Conv1d(4, 6, 5).state_dict()
    with pytest.raises(
        ValueError,
        match=r"^from_torch: `weight` must be .* got weight \(6, 4, 5\) and bias "
        r"\(6,\) with groups=1, which looks like the weight of a forward convolution, "
        r"\(C_out, C_in, \*K\)\.$",
    ):
        from_torch(state, stride=1)
    same_channels = torch.nn.Conv1d(4, 4, 5).state_dict()
    assert from_torch(same_channels, stride=1).weight.shape == (4, 4, 5)  # cannot tell


def test_forgotten_groups_are_named(torch):
    """A depthwise layer looks like a forward one until its groups are given."""
    state = torch.nn.ConvTranspose2d(6, 6, 4, 2, groups=6).state_dict()
    with pytest.raises(ValueError, match=r"has groups, give groups=6\.$"):
        from_torch(state, stride=2)
    assert from_torch(state, stride=2, groups=6).options["groups"] == 6


STATE = {"up.weight": whole(4, 3, 4, 4), "up.bias": whole(3)}
STATE_ERRORS = {
    "other prefix": (
        lambda: from_torch(STATE, "down"),
        ValueError,
        "from_torch: the state dict must hold 'down.weight', or both entries of its "
        "weight norm; under this prefix it holds nothing.",
    ),
    "no prefix": (
        lambda: from_torch({"norm.weight": whole(3)} | STATE),
        ValueError,
        "holds norm.weight, up.bias, up.weight. Name a layer, as in "
        "from_torch(state_dict, 'up', stride=...).",
    ),
    "no stride": (
        lambda: from_torch(STATE, "up", padding=1),
        TypeError,
        "from_torch: `stride` must be given with a state dict; got padding. A state "
        "dict holds the weight and bias of a layer, but not its stride, padding, "
        "output_padding, groups and dilation. Write from_torch(state_dict, 'up', "
        "stride=...), and the others where they are not PyTorch's defaults; or pass "
        "the module, which has them all.",
    ),
    "no options": (
        lambda: from_torch({"weight": whole(4, 3, 2)}),
        TypeError,
        "got no options. A state dict holds",
    ),
    "unknown option": (
        lambda: from_torch(STATE, "up", strides=2),
        TypeError,
        "from_torch: options must be of stride, padding, output_padding, groups, "
        "dilation; got strides.",
    ),
    "pairs": (
        lambda: from_torch(STATE, "up", stride=1, padding=((1, 0), (0, 0))),
        TypeError,
        "from_torch: `padding` must be an int or a tuple or list of 2 ints",
    ),
    "groups": (
        lambda: from_torch(STATE, "up", stride=2, groups=3),
        ValueError,
        "from_torch: the input channels must be divisible by `groups`; got 4",
    ),
    "bias": (
        lambda: from_torch(STATE, "up", stride=2, groups=2),
        ValueError,
        "from_torch: `bias` must have shape (6,), the output channels of weight "
        "(4, 3, 4, 4) as (C_in, C_out/groups, *K) with groups=2; got (3,).",
    ),
    "rank": (
        lambda: from_torch({"weight": whole(4)}, stride=1),
        ValueError,
        "from_torch: `weight` must have at least the axes C_in and C_out/groups",
    ),
    "norm": (
        lambda: from_torch({"weight_g": whole(3, 1, 1), "weight_v": whole(4, 3, 2)}),
        ValueError,
        "from_torch: the magnitude of a weight norm must have the shape of its "
        "direction, (4, 3, 2), with ones where the norm sums; got (3, 1, 1).",
    ),
    "output_padding": (
        lambda: from_torch(STATE, "up", stride=1, output_padding=1),
        ValueError,
        "from_torch: `output_padding` must be smaller than `stride` or `dilation`",
    ),
}


@pytest.mark.parametrize("name", STATE_ERRORS)
def test_errors_of_state_dicts(name):
    call, error, message = STATE_ERRORS[name]
    with pytest.raises(error, match=re.escape(message)):
        call()


# MindSpore ----------------------------------------------------------------------------


class Parameter:
    """As MindSpore's: an array that is asked for."""

    def __init__(self, array):
        self.array = array

    def asnumpy(self):
        return self.array


@pytest.mark.parametrize("name", LAYERS)
def test_mint(torch, name):
    """mint.nn.ConvTranspose2d has PyTorch's options."""
    theirs, _ = module(torch, name)
    params = {k: Parameter(v.detach().numpy()) for k, v in theirs.named_parameters()}
    given = {k: v for k, v in LAYERS[name][1].items() if k != "bias"}
    options = {"stride": 1, **given}
    same_layers(from_mindspore(params, **options), from_torch(theirs))


@pytest.mark.parametrize(
    ("space", "kernel", "stride", "dilation", "groups"),
    [
        ((4, 5), (4, 3), (2, 3), (1, 1), 1),
        ((3, 3), (2, 1), (3, 2), (1, 1), 2),
        ((4, 3), (3, 3), (2, 1), (2, 1), 1),
        ((2, 3, 2), (3, 2, 5), (2, 2, 2), (1, 1, 1), 1),
    ],
)
@pytest.mark.parametrize("pad_mode", ["same", "valid"])
def test_mindspore_pad_modes(space, kernel, stride, dilation, groups, pad_mode):
    """The adjoint of MindSpore's convolution from the size that it computes."""
    x, w = whole(2, 4, *space), whole(4, 6 // groups, *kernel)
    rule = oracles.same_crop if pad_mode == "same" else oracles.valid_crop
    crop = [rule(*axis) for axis in zip(space, kernel, stride, dilation, strict=True)]
    geometry = {"stride": stride, "dilation": dilation, "groups": groups}
    ours = from_mindspore({"weight": w}, pad_mode=pad_mode, **geometry)
    same(ours.apply(x), oracles.adjoint_of_forward(x, w, crop=crop, **geometry))


def test_mindspore_padding_of_each_side():
    """(top, bottom, left, right) under "pad", and output_padding at the end."""
    x, w, b = whole(2, 3, 4, 5), whole(3, 2, 4, 3), whole(2)
    ours = from_mindspore(
        {"weight": w, "bias": b},
        stride=2,
        padding=(0, 2, 1, 0),
        output_padding=(1, 0),
        pad_mode="pad",
    )
    desired = oracles.scatter(
        x, w, b, stride=(2, 2), crop=((0, 1), (1, 0)), dilation=(1, 1)
    )
    np.testing.assert_array_equal(ours.apply(x), desired)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            ({"kernel": whole(2, 3, 4)},),
            {},
            ValueError,
            "from_mindspore: `params` must hold 'weight'; got kernel.",
        ),
        (
            ([whole(2, 3, 4)],),
            {},
            TypeError,
            "from_mindspore: `params` must map 'weight' and 'bias' to arrays; got "
            "list.",
        ),
        (
            ({"weight": whole(2, 3, 4)},),
            {"pad_mode": "SAME"},
            ValueError,
            "from_mindspore: `pad_mode` must be one of same, valid, pad; got 'SAME'. "
            "Did you mean 'same'?",
        ),
        (
            ({"weight": whole(2, 3, 4)},),
            {"pad_mode": "same", "padding": 1},
            ValueError,
            "from_mindspore: `padding` must be 0 where `pad_mode` is 'same'; got 1.",
        ),
        (
            ({"weight": whole(2, 3, 4)},),
            {"pad_mode": "valid", "output_padding": (1,), "stride": 2},
            ValueError,
            "from_mindspore: `output_padding` must be 0 where `pad_mode` is 'valid'; "
            "got (1,).",
        ),
        (
            ({"weight": whole(2, 3, 4)},),
            {"stride": 2.0},
            TypeError,
            "from_mindspore: `stride` must be an int or a tuple or list of 1 ints; got "
            "2.0 of type float.",
        ),
    ],
)
def test_errors_of_mindspore(arguments, options, error, message):
    with pytest.raises(error) as caught:
        from_mindspore(*arguments, **options)
    assert str(caught.value) == message


# What PyTorch cannot say --------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"padding": (0, 1), "stride": 2},
            "to_torch: PyTorch crops both ends by one `padding` of at least 0, less an "
            "`output_padding` below stride or dilation; the layer's `padding` is "
            "((0, 1),).",
        ),
        ({"padding": (3, 0), "stride": 2}, "the layer's `padding` is ((3, 0),)."),
        ({"pad_mode": "same", "stride": 3}, "the layer's `padding` is 'SAME'."),
    ],
)
def test_refused_by_to_torch(torch, options, message):
    layer = from_mindspore({"weight": whole(2, 3, 4)}, **options)
    with pytest.raises(ValueError, match=re.escape(message)):
        to_torch(layer)


def test_to_torch_appends_at_no_low_end(torch):
    """More zeros than reach the kernel, at both ends alike."""
    layer = from_haiku({"w": whole(3, 2, 4)}, padding=[(3, 3)])
    with pytest.raises(ValueError, match=re.escape("`padding` is ((-1, -1),).")):
        to_torch(layer)


def test_names_become_numbers(torch):
    """Where "SAME" crops both ends alike PyTorch can say it."""
    layer = from_mindspore({"weight": whole(2, 3, 4)}, pad_mode="same", stride=2)
    back = to_torch(layer)
    assert back.padding == (1,)
    x = whole(1, 2, 5)
    same(back(torch.from_numpy(x)).detach().numpy(), layer.apply(x))


def test_refused_by_rank(torch):
    layer = from_mindspore({"weight": whole(2, 3, 1, 1, 2, 2)})
    with pytest.raises(
        ValueError, match=r"over 1, 2 and 3 axes; the layer's `weight.sh"
    ):
        to_torch(layer)
    with pytest.raises(TypeError, match="to_torch: `layer` must be a PortedLayer; got"):
        to_torch(whole(2, 3, 4))
    integers = from_mindspore({"weight": whole(2, 3, 4).astype(np.int32)})
    with pytest.raises(ValueError, match=r"the layer's `weight.dtype` is 'int32'"):
        to_torch(integers)
