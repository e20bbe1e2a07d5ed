"""Whole decoders of PyTorch, ported: outputs, gradients, and 50 steps of training.

In float64. The PyTorch side knows nothing of JAX. Here each network is a function of
its parameters, in which every transposed convolution is a layer of `jconvt.interop`;
all other layers are a line of plain JAX.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jconvt
from jconvt.interop import PortedLayer, from_onnx_model, from_torch

torch = pytest.importorskip("torch", reason="ports models of PyTorch")
optax = pytest.importorskip("optax", reason="trains")
nn = torch.nn
STEPS = 50


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


# The other layers, in JAX -------------------------------------------------------------


def conv(p, x, *, stride=1, padding=0, dilation=1):
    """A convolution; `padding` on both ends or as one (low, high) pair."""
    rank = x.ndim - 2
    pad = padding if isinstance(padding, tuple) else (padding, padding)
    space = "DHW"[-rank:]
    y = lax.conv_general_dilated(
        x,
        p["weight"] if "weight" in p else weight_norm(p),
        (stride,) * rank,
        [pad] * rank,
        rhs_dilation=(dilation,) * rank,
        dimension_numbers=(f"NC{space}", f"OI{space}", f"NC{space}"),
    )
    return y + p["bias"].reshape(-1, *[1] * rank)


def weight_norm(p):
    """Over all axes but the first, from either form's names."""
    g, v = (
        p[name] if name in p else p[f"parametrizations.weight.original{i}"]
        for i, name in enumerate(("weight_g", "weight_v"))
    )
    return g * v / jnp.sqrt(jnp.sum(v**2, tuple(range(1, v.ndim)), keepdims=True))


def normed(layer, p):
    """A ported layer with the weight that its magnitudes and directions make now."""
    return dataclasses.replace(layer, weight=weight_norm(p), bias=p["bias"])


def normalize(p, x, axes):
    mean = jnp.mean(x, axes, keepdims=True)
    y = (x - mean) / jnp.sqrt(jnp.var(x, axes, keepdims=True) + 1e-5)
    shape = (-1,) + (1,) * (x.ndim - 2)
    return y * p["weight"].reshape(shape) + p["bias"].reshape(shape)


def group_norm(p, x, groups):
    n, c, *space = x.shape
    grouped = x.reshape(n, groups, c // groups, *space)
    axes = tuple(range(2, grouped.ndim))
    mean = jnp.mean(grouped, axes, keepdims=True)
    grouped = (grouped - mean) / jnp.sqrt(jnp.var(grouped, axes, keepdims=True) + 1e-5)
    shape = (-1,) + (1,) * len(space)
    y = grouped.reshape(x.shape)
    return y * p["weight"].reshape(shape) + p["bias"].reshape(shape)


def linear(p, x):
    return x @ p["weight"].T + p["bias"]


def gelu(x):
    return jax.nn.gelu(x, approximate=False)


# DCGAN: transposed convolutions and batch norms ---------------------------------------


def dcgan():
    return nn.Sequential(
        nn.ConvTranspose2d(6, 16, 4, 1, 0, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def dcgan_ported(p, layers, z):
    x = p["0"].apply(z)
    x = jax.nn.relu(normalize(p["1"], x, (0, 2, 3)))
    x = jax.nn.relu(normalize(p["4"], p["3"].apply(x), (0, 2, 3)))
    return jnp.tanh(p["6"].apply(x))


# HiFi-GAN: weight norm everywhere, residual blocks of dilated convolutions ------------


class Vocoder(nn.Module):
    def __init__(self):
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.pre = norm(nn.Conv1d(8, 16, 7, padding=3))
        self.ups = nn.ModuleList(
            norm(nn.ConvTranspose1d(c, c // 2, 2 * s, s, s // 2))
            for c, s in [(16, 4), (8, 2)]
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                norm(nn.Conv1d(c, c, 3, dilation=d, padding=d)) for d in (1, 3)
            )
            for c in (8, 4)
        )
        self.post = norm(nn.Conv1d(4, 1, 7, padding=3))

    def forward(self, x):
        x = self.pre(x)
        for up, block in zip(self.ups, self.blocks, strict=True):
            x = up(nn.functional.leaky_relu(x, 0.1))
            for layer in block:
                x = x + layer(nn.functional.leaky_relu(x, 0.1))
        return torch.tanh(self.post(nn.functional.leaky_relu(x, 0.1)))


def vocoder_ported(p, layers, x):
    x = conv(p["pre"], x, padding=3)
    for i in (0, 1):
        up = normed(layers[f"ups.{i}"], p[f"ups.{i}"])
        x = up.apply(jax.nn.leaky_relu(x, 0.1))
        for j, d in enumerate((1, 3)):
            h = jax.nn.leaky_relu(x, 0.1)
            x = x + conv(p[f"blocks.{i}.{j}"], h, padding=d, dilation=d)
    return jnp.tanh(conv(p["post"], jax.nn.leaky_relu(x, 0.1), padding=3))


# U-Net: odd sizes, so that the skip connections say how large an output must be -------


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Conv2d(2, 6, 3, 2, 1)
        self.down2 = nn.Conv2d(6, 8, 3, 2, 1)
        self.up2 = nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1)
        self.up1 = nn.ConvTranspose2d(12, 4, 3, 2, 1)
        self.out = nn.Conv2d(6, 1, 1)

    def forward(self, x):
        a = torch.relu(self.down1(x))
        b = torch.relu(self.down2(a))
        a = torch.cat([self.up2(b, output_size=a.shape[2:]), a], 1)
        x = torch.cat([self.up1(a.relu(), output_size=x.shape[2:]), x], 1)
        return self.out(x)


def unet_ported(p, layers, x):
    a = jax.nn.relu(conv(p["down1"], x, stride=2, padding=1))
    b = jax.nn.relu(conv(p["down2"], a, stride=2, padding=1))
    a = jnp.concatenate([p["up2"].apply(b, output_size=a.shape[2:]), a], 1)
    up = p["up1"].apply(jax.nn.relu(a), output_size=x.shape[2:])
    return conv(p["out"], jnp.concatenate([up, x], 1))


# SAM: kernel = stride, channel norms, masks as products with hyper-networks' outputs --


class ChannelNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class MaskDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 2, 2),
            ChannelNorm(8),
            nn.GELU(),
            nn.ConvTranspose2d(8, 4, 2, 2),
            nn.GELU(),
        )
        self.hyper = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
            for _ in range(3)
        )

    def forward(self, image, tokens):
        pixels = self.up(image)
        weights = torch.stack([h(tokens[:, i]) for i, h in enumerate(self.hyper)], 1)
        return torch.einsum("btc,bchw->bthw", weights, pixels)


def mask_decoder_ported(p, layers, image, tokens):
    x = gelu(normalize(p["up.1"], p["up.0"].apply(image), (1,)))
    x = gelu(p["up.3"].apply(x))
    weights = [
        linear(p[f"hyper.{i}.2"], jax.nn.relu(linear(p[f"hyper.{i}.0"], tokens[:, i])))
        for i in range(3)
    ]
    return jnp.einsum("btc,bchw->bthw", jnp.stack(weights, 1), x)


# 3-D U-Net: pooling down, transposed convolution up -----------------------------------


class UNet3d(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(2, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.deep = nn.Conv3d(4, 8, 3, padding=1)
        self.up = nn.ConvTranspose3d(8, 4, 2, 2)
        self.last = nn.Conv3d(8, 4, 3, padding=1)
        self.out = nn.Conv3d(4, 1, 1)

    def forward(self, x):
        a = torch.relu(self.norm(self.first(x)))
        b = torch.relu(self.deep(nn.functional.max_pool3d(a, 2)))
        a = torch.relu(self.last(torch.cat([self.up(b), a], 1)))
        return self.out(a)


def unet3d_ported(p, layers, x):
    a = jax.nn.relu(group_norm(p["norm"], conv(p["first"], x, padding=1), 2))
    window = (1, 1, 2, 2, 2)
    pooled = lax.reduce_window(a, -jnp.inf, lax.max, window, window, "VALID")
    b = jax.nn.relu(conv(p["deep"], pooled, padding=1))
    a = jnp.concatenate([p["up"].apply(b), a], 1)
    return conv(p["out"], jax.nn.relu(conv(p["last"], a, padding=1)))


# EnCodec: causal, so padded on the left and trimmed on the right; the older weight norm


def old_weight_norm(module):
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(module)


class CausalDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = old_weight_norm(nn.Conv1d(6, 16, 7))
        self.ups = nn.ModuleList(
            old_weight_norm(nn.ConvTranspose1d(c, c // 2, 2 * s, s))
            for c, s in [(16, 4), (8, 3)]
        )
        self.units = nn.ModuleList(
            old_weight_norm(nn.Conv1d(c, c, 3, dilation=2)) for c in (8, 4)
        )
        self.last = old_weight_norm(nn.Conv1d(4, 1, 7))

    def forward(self, x):
        def causal(layer, x):
            left = layer.dilation[0] * (layer.kernel_size[0] - 1)
            return layer(nn.functional.pad(x, (left, 0)))

        x = causal(self.first, x)
        for up, unit in zip(self.ups, self.units, strict=True):
            x = up(nn.functional.elu(x))
            x = x[..., : x.shape[-1] - (up.kernel_size[0] - up.stride[0])]
            x = x + causal(unit, nn.functional.elu(x))
        return causal(self.last, nn.functional.elu(x))


def causal_decoder_ported(p, layers, x):
    x = conv(p["first"], x, padding=(6, 0))
    for i in (0, 1):
        up, p_up = layers[f"ups.{i}"], p[f"ups.{i}"]
        h = jax.nn.elu(x)
        if i == 0:  # trimmed, as there
            x = normed(up, p_up).apply(h)
            x = x[..., : x.shape[-1] - 4]
        else:  # or not computed in the first place
            options = up.options | {"padding": "CAUSAL"}
            x = jconvt.conv_transpose(h, weight_norm(p_up), p_up["bias"], **options)
        unit = p[f"units.{i}"]
        x = x + conv(unit, jax.nn.elu(x), padding=(4, 0), dilation=2)
    return conv(p["last"], jax.nn.elu(x), padding=(6, 0))


# Side by side -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Model:
    """A network there and here, the shapes of its inputs, and how it is trained."""

    network: Callable[[], Any]
    ported: Callable[..., jax.Array]
    shapes: tuple[tuple[int, ...], ...]
    adam: bool
    rate: float


MODELS = {
    "dcgan": Model(dcgan, dcgan_ported, ((4, 6, 1, 1),), True, 2e-3),
    "hifi-gan": Model(Vocoder, vocoder_ported, ((2, 8, 6),), True, 2e-3),
    "u-net": Model(UNet, unet_ported, ((2, 2, 13, 10),), False, 5e-2),
    "sam": Model(
        MaskDecoder, mask_decoder_ported, ((1, 16, 4, 4), (1, 3, 16)), True, 2e-3
    ),
    "3-d u-net": Model(UNet3d, unet3d_ported, ((1, 2, 4, 4, 4),), False, 2e-2),
    "encodec": Model(CausalDecoder, causal_decoder_ported, ((2, 6, 5),), True, 2e-3),
}
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def port(network):
    """Parameters by module, and the ported layers; a weight-normed module's are two."""
    params, layers = {}, {}
    for path, module in network.named_modules():
        if any(path.startswith(f"{above}.parametrizations") for above in params):
            continue
        own = {
            key: jnp.asarray(v.detach().numpy()) for key, v in module.named_parameters()
        }
        if isinstance(module, TRANSPOSED):
            layers[path] = from_torch(module)
        plain = isinstance(module, TRANSPOSED) and "weight" in own
        if plain:
            params[path] = layers[path]
        elif isinstance(
            module, (*TRANSPOSED, nn.Conv1d, nn.Conv2d, nn.Conv3d)
        ) or not list(module.children()):
            params |= {path: own} if own else {}
    return params, layers


def by_name(params):
    """PyTorch's names of the leaves."""
    for path, own in params.items():
        if isinstance(own, PortedLayer):
            own = {"weight": own.weight, "bias": own.bias}
        yield from ((f"{path}.{key}", v) for key, v in own.items() if v is not None)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_model(name):
    model = MODELS[name]
    torch.manual_seed(0)
    network = model.network().double()
    params, layers = port(network)
    assert {key for key, _ in by_name(params)} == dict(
        network.named_parameters()
    ).keys()
    assert layers

    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=shape) for shape in model.shapes]
    given = [torch.from_numpy(x).requires_grad_() for x in inputs]
    y = network(*given)
    target = np.tanh(rng.normal(size=y.shape))

    def loss_of(params, *inputs):
        y = model.ported(params, layers, *inputs)
        return jnp.mean((y - target) ** 2), y

    # Outputs and gradients. Sums of some thousand products in float64, over the depth.
    loss = ((y - torch.from_numpy(target)) ** 2).mean()
    loss.backward()
    everything = tuple(range(1 + len(inputs)))
    gradient = jax.jit(jax.value_and_grad(loss_of, everything, has_aux=True))
    (our_loss, our_y), (dparams, *dinputs) = gradient(params, *inputs)
    np.testing.assert_allclose(our_y, y.detach().numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(our_loss, loss.item(), rtol=1e-12)
    desired = dict(network.named_parameters())
    for key, value in by_name(dparams):
        np.testing.assert_allclose(
            value, desired[key].grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=key
        )
    for dx, x in zip(dinputs, given, strict=True):
        np.testing.assert_allclose(dx, x.grad.numpy(), rtol=1e-9, atol=1e-12)

    # The same losses for 50 steps.
    if model.adam:
        theirs = torch.optim.Adam(network.parameters(), model.rate)
        ours = optax.adam(model.rate)
    else:
        theirs = torch.optim.SGD(network.parameters(), model.rate, momentum=0.9)
        ours = optax.sgd(model.rate, momentum=0.9)
    their_losses = []
    for _ in range(STEPS):
        theirs.zero_grad()
        loss = ((network(*given) - torch.from_numpy(target)) ** 2).mean()
        loss.backward()
        theirs.step()
        their_losses.append(loss.item())

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            (loss, _), gradient = jax.value_and_grad(loss_of, has_aux=True)(
                params, *inputs
            )
            updates, state = ours.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), loss

        return lax.scan(step, (params, ours.init(params)), length=STEPS)

    (trained, _), losses = train(params)
    assert their_losses[-1] < 0.95 * their_losses[0]  # it learns
    np.testing.assert_allclose(losses, their_losses, rtol=1e-9)
    desired = dict(network.named_parameters())
    for key, value in by_name(trained):
        np.testing.assert_allclose(
            value, desired[key].detach().numpy(), rtol=1e-7, atol=1e-9, err_msg=key
        )


# A trained model in a file of ONNX, on photographs ------------------------------------


def photograph(name):
    """A photograph that scikit-image ships, grey, in [0, 1]."""
    data = pytest.importorskip("skimage.data", reason="has photographs")
    image = getattr(data, name)()[100:228, 100:228]
    if image.ndim == 3:
        image = image.mean(-1)
    return (image / 255).astype(np.float32)[None, None]


def halved(image):
    """Half the size, by means of four pixels."""
    n, c, h, w = image.shape
    return image.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


def super_resolution():
    """A small network that doubles images."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.ConvTranspose2d(8, 1, 6, 2, 2)
    )


def trained_super_resolution():
    """Trained on one photograph for a second."""
    network, image = super_resolution(), photograph("astronaut")
    x, y = torch.from_numpy(halved(image)), torch.from_numpy(image)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(500):
        optimizer.zero_grad()
        ((network(x) - y) ** 2).mean().backward()
        optimizer.step()
    return network


def test_trained_model_of_onnx_on_a_photograph(tmp_path):
    """Written to a file, run there by ONNX Runtime and here layer by layer."""
    onnx = pytest.importorskip("onnx", reason="reads ONNX")
    runtime = pytest.importorskip("onnxruntime", reason="compares with ONNX Runtime")
    network, helper = trained_super_resolution(), onnx.helper
    weights = {key: v.numpy() for key, v in network.state_dict().items()}
    nodes = [
        helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["h"], pads=[2] * 4),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node(
            "ConvTranspose",
            ["r", "2.weight", "2.bias"],
            ["y"],
            "upsample",
            strides=[2, 2],
            pads=[2] * 4,
        ),
    ]
    values = [
        helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, ["n", 1, None, None])
        for key in "xy"
    ]
    graph = helper.make_graph(
        nodes,
        "super-resolution",
        values[:1],
        values[1:],
        [onnx.numpy_helper.from_array(v, key) for key, v in weights.items()],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    path = tmp_path / "super_resolution.onnx"
    onnx.save(model, path)

    image = photograph("coins")
    x = halved(image)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (desired,) = session.run(None, {"x": x})

    with jax.enable_x64(False):
        layer = from_onnx_model(path)["upsample"]
        first = {"weight": weights["0.weight"], "bias": weights["0.bias"]}
        y = layer.apply(jax.nn.relu(conv(first, x, padding=2)))
    np.testing.assert_allclose(y, desired, rtol=0, atol=1e-5)
    # It was trained, and on another photograph than this one.
    untrained = super_resolution()(torch.from_numpy(x)).detach().numpy()
    assert np.mean((y - image) ** 2) < 0.1 * np.mean((untrained - image) ** 2)
