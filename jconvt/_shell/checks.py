"""The self-check of `doctor`: values and gradients on this machine's default device.

All numbers are small and whole, so that every sum is exact in every dtype, order and
precision, and what a device computes must equal the definition to the last bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jconvt
from jconvt._call.layout import dimension_numbers
from jconvt._shell.definition import Floats, Ints, Maps, three_maps


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A small layer; its output's size is written down, not derived."""

    input: Ints
    weight: Ints
    output: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    output_padding: Ints
    groups: int = 1


LAYERS = {
    "2-d, kernel 4, stride 2": Layer(
        input=(2, 6, 5, 4),
        weight=(6, 5, 4, 4),
        output=(2, 5, 10, 8),
        stride=(2, 2),
        padding=(1, 1),
        dilation=(1, 1),
        output_padding=(0, 0),
    ),
    "2-d, groups, dilation, output_padding": Layer(
        input=(2, 6, 5, 4),
        weight=(6, 2, 3, 3),
        output=(2, 6, 10, 12),
        stride=(2, 3),
        padding=(2, 1),
        dilation=(2, 1),
        output_padding=(1, 2),
        groups=3,
    ),
    "1-d, kernel 16, stride 8": Layer(
        input=(2, 4, 9),
        weight=(4, 3, 16),
        output=(2, 3, 72),
        stride=(8,),
        padding=(4,),
        dilation=(1,),
        output_padding=(0,),
    ),
    "3-d, stride over some kernels": Layer(
        input=(1, 3, 3, 4, 2),
        weight=(3, 2, 2, 3, 1),
        output=(1, 2, 6, 9, 3),
        stride=(2, 2, 2),
        padding=(0, 0, 0),
        dilation=(1, 1, 1),
        output_padding=(0, 0, 0),
    ),
}

KINDS = (("float32", "first"), ("bfloat16", "last"))
"""Dtype, and where the channels stand."""


def checks() -> dict[str, Callable[[], None]]:
    """What is checked -> a function that raises where it does not hold."""
    return {
        **{
            f"{name}; {dtype}, channels {place}": partial(
                check_layer, layer, dtype, channels_last=place == "last"
            )
            for name, layer in LAYERS.items()
            for dtype, place in KINDS
        },
        "Flax NNX layer": check_nnx,
        "Flax Linen layer": check_linen,
    }


def outcome_of(check: Callable[[], None]) -> str:
    """``"ok"``, or what is wrong, on one line."""
    try:
        check()
    except Exception as error:  # whatever it is, a doctor reports it
        return " ".join(f"{type(error).__name__}: {error}".split())
    return "ok"


def check_layer(layer: Layer, dtype: str, *, channels_last: bool) -> None:
    """The output and both gradients of one compiled program."""
    x, w, cotangent = _numbers(layer)
    expected = three_maps(
        *(x, w, cotangent),
        stride=layer.stride,
        crop=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
    )
    found = _maps_of_jconvt(layer, x, w, cotangent, dtype, channels_last)
    for what, one, other in zip(Maps._fields, found, expected, strict=True):
        if not np.array_equal(one, other):
            name = what.replace("_", " ")
            raise ArithmeticError(f"{name}: {_difference(one, other)}")


def _numbers(layer: Layer) -> tuple[Floats, Floats, Floats]:
    random = np.random.default_rng(0)
    shapes = (layer.input, layer.weight, layer.output)
    x, w, cotangent = (random.integers(-2, 3, s).astype(float) for s in shapes)
    return x, w, cotangent


def _maps_of_jconvt(
    layer: Layer, x: Floats, w: Floats, cotangent: Floats, dtype: str, last: bool
) -> Maps:
    numbers = dimension_numbers(len(layer.stride), last)

    def forward(x: jax.Array, w: jax.Array) -> jax.Array:
        return jconvt.conv_transpose(
            x,
            w,
            stride=layer.stride,
            padding=layer.padding,
            output_padding=layer.output_padding,
            dilation=layer.dilation,
            groups=layer.groups,
            dimension_numbers=numbers,
        )

    @jax.jit
    def maps(x: jax.Array, w: jax.Array, cotangent: jax.Array) -> Any:
        y, pull_back = jax.vjp(forward, x, w)
        return y, *pull_back(cotangent)

    def to_data(a: Floats) -> Floats:
        return np.moveaxis(a, 1, -1) if last else a

    arrays = (to_data(x), w, to_data(cotangent))
    y, dx, dw = (
        np.asarray(a, float) for a in maps(*(jnp.asarray(a, dtype) for a in arrays))
    )
    if last:
        y, dx = np.moveaxis(y, -1, 1), np.moveaxis(dx, -1, 1)
    return Maps(y, dx, dw)


def _difference(found: Floats, expected: Floats) -> str:
    if found.shape != expected.shape:
        return f"shape {found.shape} in place of {expected.shape}"
    wrong = found != expected
    place = tuple(map(int, np.argwhere(wrong)[0]))
    return (
        f"{int(wrong.sum())} of {wrong.size} elements are wrong, first at {place}: "
        f"{found[place]:g} in place of {expected[place]:g}"
    )


def check_nnx() -> None:
    """A layer of `jconvt.nnx` makes an output of the right shape."""
    from flax import nnx

    import jconvt.nnx

    layer = jconvt.nnx.ConvTranspose2d(3, 2, 4, stride=2, padding=1, rngs=nnx.Rngs(0))
    _check_shape(layer(jnp.ones((1, 3, 5, 4))).shape, (1, 2, 10, 8))


def check_linen() -> None:
    """A layer of `jconvt.linen` makes an output of the right shape."""
    import jconvt.linen

    layer = jconvt.linen.ConvTranspose2d(3, 2, 4, stride=2, padding=1)
    y, _ = layer.init_with_output(jax.random.key(0), jnp.ones((1, 3, 5, 4)))
    _check_shape(y.shape, (1, 2, 10, 8))


def _check_shape(found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise ArithmeticError(f"shape {found} in place of {expected}")
