"""Layers with PyTorch's constructors: all but the ownership of their parameters.

`jconvt.nnx` and `jconvt.linen` call `make_config` once, create the parameters that the
config describes, and call the config with them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes, lax
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import (
    AxisPadding,
    IntOrInts,
    Padding,
    check_int,
    check_ints,
)
from jconvt._call.fit import geometry_of
from jconvt._call.layout import data_formats
from jconvt._call.lowerings import AUTO, Lowerings
from jconvt._call.numerics import Precision, check_array, check_precision, read_dtype
from jconvt._call.options import Options, dimension_numbers_of, normalize_options
from jconvt._choice.pinned import check_lowering
from jconvt._layers.config import LayerConfig
from jconvt.initializers import torch_uniform


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TorchConfig(LayerConfig):
    """A layer with PyTorch's constructor; ``repr`` says what it does.

    Attributes:
      data_format: of input and output, such as ``"NCHW"``.
      has_bias: whether the layer adds a bias.
      param_dtype: of the parameters when they are created.
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    data_format: str
    has_bias: bool
    param_dtype: np.dtype[Any]

    @property
    def padding(self) -> str | tuple[int | AxisPadding, ...]:
        """A name, or for each axis an int, a (low, high) pair or a name."""
        given = self.options.padding
        return given if isinstance(given, str) else tuple(map(_shortest, given))

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(C_in, C_out/groups, *K)."""
        per_group = self.out_channels // self.options.groups
        return (self.in_channels, per_group, *self.kernel_size)

    @property
    def bias_shape(self) -> tuple[int]:
        """(C_out,)."""
        return (self.out_channels,)

    @property
    def weight_init(self) -> Initializer:
        """PyTorch's."""
        return torch_uniform()

    @property
    def bias_init(self) -> Initializer:
        """PyTorch's, which depends on the weight."""
        return torch_uniform(fan_in=math.prod(self.weight_shape[1:]))

    def __call__(
        self,
        input: ArrayLike,
        weight: ArrayLike,
        bias: ArrayLike | None,
        output_size: IntOrInts | None,
        canonicalize_dtype: Callable[..., DTypeLike],
    ) -> jax.Array:
        """The layer's output; `canonicalize_dtype` is Flax's function of that name."""
        x = check_array(self.options.function, "input", input)
        dtype = canonicalize_dtype(x, weight, bias, dtype=self.dtype)
        return self.run(x, weight, bias, output_size, dtype)

    def __repr__(self) -> str:
        rank, options = self.options.rank, self.options
        zeros, ones = (0,) * rank, (1,) * rank
        # name, value, the value that goes without saying
        rows: list[tuple[str, object, object]] = [
            ("kernel_size", self.kernel_size, None),
            ("stride", options.stride, None),
            ("padding", self.padding, zeros),
            ("output_padding", options.output_padding, zeros),
            ("groups", options.groups, 1),
            ("bias", self.has_bias, True),
            ("dilation", options.dilation, ones),
            ("data_format", self.data_format, data_formats(rank)[0]),
            ("dtype", _name(self.dtype), None),
            ("param_dtype", _name(self.param_dtype), "float32"),
            ("precision", _name(self.precision), None),
            ("preferred_element_type", _name(self.preferred_element_type), None),
            ("lowering", self.lowering, AUTO),
        ]
        said = [f"{name}={value!r}" for name, value, unsaid in rows if value != unsaid]
        channels = [str(self.in_channels), str(self.out_channels)]
        return f"{options.function}({', '.join(channels + said)})"


class TorchArguments(TypedDict):
    """The arguments of a constructor that describe the layer."""

    in_channels: int
    out_channels: int
    kernel_size: IntOrInts
    stride: IntOrInts
    padding: Padding
    output_padding: IntOrInts
    groups: int
    bias: bool
    dilation: IntOrInts
    padding_mode: str
    data_format: str | None
    dtype: DTypeLike | None
    param_dtype: DTypeLike
    precision: Precision
    preferred_element_type: DTypeLike | None
    lowering: str | Lowerings


ARGUMENTS = tuple(TorchArguments.__annotations__)


def make_config(name: str, rank: int, **given: Unpack[TorchArguments]) -> TorchConfig:
    """Check a constructor's arguments; `name` is the layer's, for messages and repr."""
    in_channels = check_int(name, "in_channels", given["in_channels"], 0)
    out_channels = check_int(name, "out_channels", given["out_channels"], 0)
    kernel_size = check_ints(name, "kernel_size", given["kernel_size"], rank, 1)
    data_format = given["data_format"]
    if data_format is None:
        data_format = data_formats(rank)[0]
    options = normalize_options(
        name,
        rank,
        stride=given["stride"],
        padding=given["padding"],
        output_padding=given["output_padding"],
        groups=given["groups"],
        dilation=given["dilation"],
        dimension_numbers=dimension_numbers_of(name, data_format, rank),
    )
    _check_divisible(options, "in_channels", in_channels)
    _check_divisible(options, "out_channels", out_channels)
    bias, padding_mode = given["bias"], given["padding_mode"]
    if not isinstance(bias, bool | np.bool_):
        raise TypeError(
            f"{name}: `bias` must be True or False; got {bias!r} of type "
            f"{type(bias).__name__}. Its values are a parameter, see `bias_init`."
        )
    if not isinstance(padding_mode, str):
        raise TypeError(
            f"{name}: `padding_mode` must be a string; got {padding_mode!r}."
        )
    if padding_mode != "zeros":
        raise ValueError(
            f"{name}: `padding_mode` must be 'zeros'; got {padding_mode!r}. For "
            f"periodic data give padding='CIRCULAR'."
        )
    dtype, preferred = given["dtype"], given["preferred_element_type"]
    return TorchConfig(
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernel_size,
        data_format=data_format,
        has_bias=bool(bias),
        dtype=None if dtype is None else _check_inexact(name, "dtype", dtype),
        param_dtype=_check_dtype(name, "param_dtype", given["param_dtype"]),
        precision=check_precision(name, given["precision"]),
        preferred_element_type=None
        if preferred is None
        else _check_dtype(name, "preferred_element_type", preferred),
        lowering=check_lowering(
            name, given["lowering"], geometry_of(options, kernel_size), static=True
        ),
        options=options,
    )


def _shortest(padding: AxisPadding) -> int | AxisPadding:
    """An int for a crop that is the same at both ends."""
    if isinstance(padding, str) or padding[0] != padding[1] or padding[0] < 0:
        return padding
    return padding[0]


def _check_divisible(options: Options, argument: str, channels: int) -> None:
    if channels % options.groups:
        raise ValueError(
            f"{options.function}: `{argument}` must be divisible by `groups`; got "
            f"{channels} and groups={options.groups}."
        )


def _check_dtype(name: str, argument: str, value: Any) -> np.dtype[Any]:
    """A dtype as JAX has it: without x64 a float64 is a float32."""
    return np.dtype(dtypes.canonicalize_dtype(read_dtype(name, argument, value)))


def _check_inexact(name: str, argument: str, value: DTypeLike) -> np.dtype[Any]:
    """Flax's rule for the dtype to compute in, applied when the layer is made."""
    dtype = _check_dtype(name, argument, value)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise ValueError(
            f"{name}: `{argument}` must be floating or complex; got {dtype}."
        )
    return dtype


def _name(value: Any) -> Any:
    """How `repr` writes a dtype or precision: as a string that the layer accepts."""
    if isinstance(value, tuple):
        return tuple(_name(v) for v in value)
    if isinstance(value, lax.Precision):
        return value.name.lower()
    return value.name if isinstance(value, np.dtype) else value
