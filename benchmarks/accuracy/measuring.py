"""The errors of each contender's results against exact values."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

import jconvt
from benchmarks.accuracy.exact import MAPS, Array, exact, magnitudes
from benchmarks.accuracy.inputs import arrays, kinds_for
from benchmarks.contenders import Unsupported, allow
from benchmarks.layers import Layer
from benchmarks.native import native
from jconvt._lowerings.table import LOWERINGS


class Types(NamedTuple):
    """The dtypes of the operands and of the result."""

    operand: Any
    result: Any


TYPES = {
    "float32": Types(np.float32, np.float32),
    "float64": Types(np.float64, np.float64),
    "bfloat16": Types(ml_dtypes.bfloat16, ml_dtypes.bfloat16),
    "float16": Types(np.float16, np.float16),
    "bfloat16 to float32": Types(ml_dtypes.bfloat16, np.float32),
    "float16 to float32": Types(np.float16, np.float32),
    "int8 to int32": Types(np.int8, np.int32),
    "int32": Types(np.int32, np.int32),
}
"""Name -> dtypes; "to" is `preferred_element_type`."""


@dataclass(frozen=True)
class Errors:
    """The errors of one array, or of several together.

    Attributes:
      maximum: in units of each element's own.
      rms: the root of the mean square, in the same units.
      absolute: the maximum, as a number.
      elements: how many.
    """

    maximum: float
    rms: float
    absolute: float
    elements: int = 1

    NONE: ClassVar["Errors"]

    @classmethod
    def of_all(cls, parts: Collection["Errors"]) -> "Errors":
        """The errors of several arrays together."""
        elements = sum(e.elements for e in parts)
        squares = sum(e.rms**2 * e.elements for e in parts)
        return cls(
            maximum=max(e.maximum for e in parts),
            rms=math.sqrt(squares / elements),
            absolute=max(e.absolute for e in parts),
            elements=elements,
        )


Errors.NONE = Errors(0, 0, 0)


def unit_roundoff(dtype: Any) -> float:
    """Half the distance from 1 to the next number; of integers 1."""
    if np.issubdtype(dtype, np.integer):
        return 1.0
    return float(jnp.finfo(dtype).eps) / 2


def errors(found: Array, value: Array, magnitude: Array, dtype: Any) -> Errors:
    """The errors of an array, in units of roundoff times its sum of magnitudes."""
    integer = np.issubdtype(dtype, np.integer)
    if integer:  # exact modulo 2**bits
        value, magnitude = value.astype(dtype).astype(np.int64), np.ones_like(value)
    floor = 0.0 if integer else float(jnp.finfo(dtype).tiny)
    difference = np.abs(found.astype(value.dtype) - value)
    difference = np.where(np.isnan(difference), np.inf, difference)
    in_units = difference / np.maximum(unit_roundoff(dtype) * magnitude, floor)
    return Errors(
        maximum=float(in_units.max()),
        rms=float(np.sqrt(np.mean(np.square(in_units, dtype=np.float64)))),
        absolute=float(difference.max()),
        elements=found.size,
    )


def layers() -> dict[str, Layer]:
    """Small layers, so that each lowering serves some and `auto` takes most of them."""
    rows = {
        # channels, space; kernel, stride, padding, output padding, groups, dilation, N
        "overlap": ((32, 16), (10, 9), 4, 2, 1, 0, 1, 1),
        "pixels": ((32, 32), (32, 32), 3, 1, 1, 0, 1, 1, 8),
        "five taps": ((24, 16), (7, 8), 5, 2, 2, 1, 1, 1),
        "blocks": ((32, 24), (9, 9), 2, 2, 0, 0, 1, 1),
        "one pixel": ((64, 32), (1, 1), 3, 1, 1, 0, 1, 1),
        "audio": ((64, 32), (40,), 16, 8, 4, 0, 1, 1),
        "groups": ((16, 16), (8, 8), 4, 2, 1, 0, 4, 1),
        "depthwise": ((16, 16), (9, 9), 4, 2, 1, 0, 16, 1),
        "dilated": ((16, 16), (9, 9), 3, 1, 1, 0, 1, 2),
        "volume": ((8, 8), (5, 5, 5), 3, 2, 1, 1, 1, 1),
    }
    return {name: _layer(name, *row) for name, row in rows.items()}


def _layer(
    name: str, channels: tuple[int, int], space: tuple[int, ...], *options: int
) -> Layer:
    kernel, stride, padding, output_padding, groups, dilation, *batch = options
    rank = len(space)
    return Layer(
        name=name,
        batch=batch[0] if batch else 2,
        in_channels=channels[0],
        out_channels=channels[1],
        spatial=space,
        kernel_size=(kernel,) * rank,
        stride=(stride,) * rank,
        padding=(padding,) * rank,
        output_padding=(output_padding,) * rank,
        groups=groups,
        dilation=(dilation,) * rank,
        source="made up",
    )


# The contenders -----------------------------------------------------------------------

Maps = Callable[[Mapping[str, Array]], dict[str, Array]]
"""From input, weight and cotangent to the three maps, or to the output of integers."""


def contenders() -> list[str]:
    """The names of all contenders, in the order of the columns."""
    return ["native", "torch", "auto", *LOWERINGS]


def make(name: str, layer: Layer, types: Types) -> Maps:
    """A contender's maps; raises `Unsupported` where it has none."""
    if name == "torch":
        return _torch(layer, types)
    return _jax(name, layer, types)


def _jax(name: str, layer: Layer, types: Types) -> Maps:
    allow(np.dtype(types.result).name)
    result = None if types.operand == types.result else types.result

    def forward(x: jax.Array, w: jax.Array) -> jax.Array:
        if name == "native":
            space = "DHW"[3 - layer.rank :]
            axes = (f"NC{space}", f"IO{space}", f"NC{space}")
            zero = jnp.zeros(layer.out_channels, types.result)
            return native(layer, x, w, zero, axes, result)
        return jconvt.conv_transpose(
            x, w, preferred_element_type=result, lowering=name, **layer.options
        )

    @jax.jit
    def run(x: jax.Array, w: jax.Array, g: jax.Array) -> list[jax.Array]:
        if np.issubdtype(types.operand, np.integer):
            return [forward(x, w)]
        y, pull = jax.vjp(forward, x, w)
        return [y, *pull(g.astype(y.dtype))]

    x, w = (
        jax.ShapeDtypeStruct(shape, types.operand)
        for shape in (layer.input_shape, layer.weight_shape)
    )
    try:
        jax.eval_shape(forward, x, w)
    except ValueError as error:
        raise Unsupported from error

    def maps(given: Mapping[str, Array]) -> dict[str, Array]:
        found = run(given["input"], given["weight"], given["cotangent"])
        return dict(zip(MAPS, map(np.asarray, found), strict=False))

    return maps


def _torch(layer: Layer, types: Types) -> Maps:
    import torch

    if types.operand != types.result or np.issubdtype(types.operand, np.integer):
        raise Unsupported  # it has neither a dtype of the result nor integers
    dtype = getattr(torch, np.dtype(types.operand).name)
    function = getattr(torch.nn.functional, f"conv_transpose{layer.rank}d")

    def maps(given: Mapping[str, Array]) -> dict[str, Array]:
        x, w, g = (
            torch.from_numpy(given[name].astype(np.float64)).to(dtype)
            for name in ("input", "weight", "cotangent")
        )
        y = function(x.requires_grad_(), w.requires_grad_(), **layer.options)
        found = [y.detach(), *torch.autograd.grad(y, (x, w), g)]
        return {
            name: array.double().numpy()
            for name, array in zip(MAPS, found, strict=True)
        }

    return maps


def errors_of_layer(
    layer: Layer, types: Types, wanted: Collection[str]
) -> dict[tuple[str, str], dict[str, Errors]]:
    """(map, data) -> contender -> errors, of those that can."""
    made: dict[str, Maps] = {}
    for name in wanted:
        try:
            made[name] = make(name, layer, types)
        except Unsupported:
            continue
    found: dict[tuple[str, str], dict[str, Errors]] = {}
    for kind in kinds_for(types.operand):
        given = arrays(layer, kind, types.operand)
        values = exact(layer, given, types.result)
        sums = magnitudes(layer, given, types.result)
        for name, maps in made.items():
            for map_, array in maps(given).items():
                # A gradient has the operands' dtype.
                dtype = types.result if map_ == "output" else types.operand
                found.setdefault((map_, kind), {})[name] = errors(
                    np.asarray(array), values[map_], sums[map_], dtype
                )
    return found
