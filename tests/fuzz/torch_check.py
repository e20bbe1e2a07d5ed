"""The definition against PyTorch, in float64, where PyTorch takes the call."""

import dataclasses
import importlib.util
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from fuzz.check import Wrong
from fuzz.config import Config
from fuzz.definition import Definition, compare
from fuzz.strategies import configs


@st.composite
def layers(draw: st.DrawFn) -> Config:
    """Calls of `conv_transpose1d`, 2d or 3d."""
    fixed = {"dtype": "float64", "weight_dtype": None, "preferred": None, "way": "vjp"}
    config = draw(configs(**fixed).filter(lambda config: config.rank in (1, 2, 3)))
    most = [
        max((n - 1) * s + d * (k - 1) + 1, 0) // 2
        for n, k, s, d in zip(
            config.space, config.kernel, config.stride, config.dilation, strict=True
        )
    ]
    padding = tuple((p, p) for p in (draw(st.integers(0, m)) for m in most))
    config = dataclasses.replace(config, padding=padding)
    assume(all(m >= 0 for m in config.out))
    return config


def check(some: list[Config]) -> None:
    """A `Wrong` for the first config where PyTorch and the definition differ.

    jconvt is compared with the definition elsewhere; here it must take what PyTorch
    takes, with the same shape.
    """
    if importlib.util.find_spec("torch") is None:
        return
    for config in some:
        try:
            found = _torch(config)
        except (RuntimeError, IndexError):  # the latter of arrays without elements
            continue
        _compare(config, found)


def _torch(config: Config) -> list[tuple[str, np.ndarray]]:
    import torch

    function = getattr(torch.nn.functional, f"conv_transpose{config.rank}d")
    arrays = {
        name: None if a is None else torch.tensor(a, requires_grad=True)
        for name, a in config.arrays().items()
    }
    added = config.output_padding if config.more is None else config.more
    x, w, b, g = (arrays[name] for name in "xwbg")
    if config.batch is None:
        x = x[0]
    y = function(
        x,
        w,
        b,
        stride=config.stride,
        padding=tuple(low for low, _ in config.padding),
        output_padding=added,
        groups=config.groups,
        dilation=config.dilation,
    )
    y = y if config.batch is not None else y[None]
    if not y.requires_grad:
        return [("g", y.detach().numpy())]
    y.backward(g.detach())
    pairs = [("g", y.detach())] + [
        (name, arrays[name].grad) for name in "xwb" if arrays[name] is not None
    ]
    return [(name, a.numpy()) for name, a in pairs if a is not None]


def _compare(config: Config, found: list[tuple[str, np.ndarray]]) -> None:
    a: Any = config.arrays()
    definition = Definition(config)
    expected = {
        "g": lambda: definition.y(a["x"], a["w"], a["b"]),
        "x": lambda: definition.dx(a["g"], a["w"]),
        "w": lambda: definition.dw(a["g"], a["x"]),
        "b": lambda: definition.db(a["g"]),
    }
    for name, value in found:
        try:
            compare(value, expected[name](), value.dtype, value.dtype, config.whole)
        except AssertionError as error:
            raise Wrong(config, f"PyTorch's {name}: {error}") from None
