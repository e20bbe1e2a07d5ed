"""`from_torch_model`: every transposed convolution of a PyTorch model, by its name."""

import re
import warnings

import numpy as np
import pytest

from interop import same, same_layers, whole
from jconvt.interop import from_torch, from_torch_model

torch = pytest.importorskip("torch", reason="reads PyTorch's models")
nn = torch.nn


def lazy(*arguments):
    """A lazy layer, without the warning that its interface may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.LazyConvTranspose2d(*arguments)


def decoder():
    """Layers of each rank at several depths, between others."""
    return nn.ModuleDict(
        {
            "stem": nn.Conv2d(3, 4, 3),
            "up": nn.Sequential(
                nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1, groups=2),
                nn.BatchNorm2d(6),
                nn.Sequential(nn.ConvTranspose2d(6, 2, 3, dilation=2, bias=False)),
            ),
            "sound": nn.ConvTranspose1d(2, 3, 5, stride=3, output_padding=1),
            "volume": nn.ModuleList([nn.ConvTranspose3d(2, 3, 2, stride=2)]),
        }
    )


def test_every_layer_by_its_name():
    model = decoder()
    layers = from_torch_model(model)
    assert list(layers) == ["up.0", "up.2.0", "sound", "volume.0"]
    for name, layer in layers.items():
        same_layers(layer, from_torch(model.get_submodule(name)))
    assert from_torch_model(nn.Sequential(nn.Conv2d(3, 4, 3))) == {}


def test_a_model_that_is_a_layer():
    theirs = nn.ConvTranspose1d(2, 3, 4, stride=2)
    ((name, layer),) = from_torch_model(theirs).items()
    assert name == ""
    same_layers(layer, from_torch(theirs))


def test_norms_are_applied():
    """Of the two kinds of weight norm, of spectral norm, and of any parametrization."""

    class Doubled(nn.Module):
        def forward(self, weight):
            return 2 * weight

    def made():
        return nn.ConvTranspose1d(4, 3, 5, stride=2)

    parametrizations = nn.utils.parametrizations
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the old weight norm is deprecated
        old = nn.utils.weight_norm(made())
    doubled = made()
    nn.utils.parametrize.register_parametrization(doubled, "weight", Doubled())
    model = nn.Sequential(
        old,
        parametrizations.weight_norm(made()),
        parametrizations.spectral_norm(made()),
        doubled,
    ).eval()
    x = np.random.default_rng(0).normal(size=(2, 4, 7)).astype(np.float32)
    layers = from_torch_model(model)
    assert list(layers) == ["0", "1", "2", "3"]
    for name, layer in layers.items():
        with torch.no_grad():
            desired = model[int(name)](torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(layer(x), desired, rtol=1e-5, atol=1e-5)


def test_a_layer_under_two_names_is_one():
    shared = nn.ConvTranspose1d(2, 2, 3)
    layers = from_torch_model(nn.ModuleDict({"a": shared, "b": nn.Sequential(shared)}))
    assert list(layers) == ["a", "b.0"]
    assert layers["a"] is layers["b.0"]


def test_lazy_layers():
    """Refused by name until they have seen data."""
    model = nn.Sequential(nn.ReLU(), nn.Sequential(lazy(3, 4)))
    with pytest.raises(
        ValueError,
        match=r"^from_torch: `source` must have parameters; got a LazyConvTranspose2d "
        r".* In module '1.0' of the model.$",
    ):
        from_torch_model(model)
    x = whole(1, 2, 5, 5)
    desired = model(torch.relu(torch.from_numpy(x))).detach().numpy()
    (layer,) = from_torch_model(model).values()
    np.testing.assert_allclose(layer(np.maximum(x, 0)), desired, rtol=1e-5, atol=1e-5)


def test_the_model_stays_as_it_is():
    model = decoder().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    from_torch_model(model)
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        same(value, before[name])


class Own(nn.ConvTranspose1d):
    """A layer with a forward of its own."""

    def forward(self, x):
        return super().forward(x).relu()


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (
            {"up.weight": whole(2, 3, 4)},
            TypeError,
            "from_torch_model: `model` must be a torch.nn.Module; got dict. Of a state "
            "dict give each layer's prefix and options to from_torch",
        ),
        (
            nn.Sequential(nn.Sequential(Own(2, 3, 4))),
            ValueError,
            "Own, which has a forward of its own. In module '0.0' of the model.",
        ),
        (
            nn.Sequential(nn.ConvTranspose1d(2, 3, 4, device="meta")),
            ValueError,
            "it is on PyTorch's meta device. In module '0' of the model.",
        ),
    ],
)
def test_errors(model, error, message):
    with pytest.raises(error, match=re.escape(message)):
        from_torch_model(model)


def test_a_compiled_model_is_refused():
    """It would be a model without layers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated
        part = torch.jit.script(nn.Sequential(nn.ConvTranspose1d(2, 3, 4)))
    with pytest.raises(
        TypeError,
        match=r"^from_torch_model: `model` must not be .* module 'decoder' is",
    ):
        from_torch_model(nn.ModuleDict({"decoder": part}))
