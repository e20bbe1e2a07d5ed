"""There and back for any options: the same crop and weight, or a due refusal."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop import same, whole
from jconvt._call.fit import geometry_of
from jconvt.interop import (
    from_equinox,
    from_flax,
    from_onnx_model,
    from_torch,
    to_equinox,
    to_flax,
    to_onnx,
    to_torch,
)
from jconvt.interop._port import port


@st.composite
def layers(draw):
    """Layers over one or two axes with any crop, also one that appends."""
    rank, groups = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    axes = [
        (
            draw(st.integers(1, 3)),
            draw(st.integers(1, 3)),
            draw(st.integers(1, 3)),
            draw(st.tuples(st.integers(-2, 4), st.integers(-2, 4))),
        )
        for _ in range(rank)
    ]
    kernel, stride, dilation, padding = zip(*axes, strict=True)
    more = tuple(
        draw(st.integers(0, max(s, d) - 1))
        for s, d in zip(stride, dilation, strict=True)
    )
    if draw(st.booleans()):  # PyTorch's padding, which chance seldom draws
        padding = tuple((abs(low), abs(low)) for low, _ in padding)
    return port(
        "a test",
        whole(2, 2, *kernel),
        whole(2 * groups) if draw(st.booleans()) else None,
        stride=stride,
        padding=padding,
        output_padding=more,
        groups=groups,
        dilation=dilation,
    )


def crop(layer):
    return geometry_of(layer.config.options, layer.weight.shape[2:]).crop


def says_torch(low, high, reach):
    return low >= 0 and 0 <= low - high < reach


def says_onnx(low, high, reach):
    return low >= 0 and -high < reach


def anything(low, high, reach):
    return True


# name -> package, way out, way back, what crop of an axis it can say, several groups
CONVERTERS = {
    "torch": ("torch", to_torch, from_torch, says_torch, True),
    "flax": ("flax", to_flax, from_flax, anything, False),
    "equinox": ("equinox", to_equinox, from_equinox, anything, True),
    "onnx": (
        "onnx",
        to_onnx,
        lambda model: from_onnx_model(model)["conv_transpose"],
        says_onnx,
        True,
    ),
}


@pytest.mark.parametrize("name", CONVERTERS)
@settings(max_examples=20)
@given(layer=layers())
def test_there_and_back(name, layer):
    package, out, back, says, groups = CONVERTERS[name]
    pytest.importorskip(package, reason="makes its layers")
    options = layer.options
    reach = map(max, options["stride"], options["dilation"])
    axes = [(*pair, r) for pair, r in zip(crop(layer), reach, strict=True)]
    refused = None
    if not groups and options["groups"] > 1:
        refused = "the layer's `groups` is 2"
    elif not all(says(*axis) for axis in axes):
        refused = "the layer's `padding` is (("
    if refused is not None:
        with pytest.raises(ValueError, match=re.escape(refused)):
            out(layer)
        return
    again = back(out(layer))
    assert crop(again) == crop(layer)
    for option in ("stride", "dilation", "groups"):
        assert again.options[option] == options[option]
    same(again.weight, layer.weight)
    assert (again.bias is None) == (layer.bias is None)
    if layer.bias is not None:
        same(again.bias, layer.bias)
