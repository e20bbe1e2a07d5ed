"""What the Flax layers share: all of a layer but the ownership of its parameters.

An adapter (`jconvt.nnx`, `jconvt.linen`) calls `make_config` once, creates the
parameters that the config describes, and calls the config with them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes, lax
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import IntOrInts, check_int, check_ints
from jconvt._call.fit import geometry_of
from jconvt._call.layout import data_formats
from jconvt._call.numerics import Precision, check_array, check_precision, dtype_hint
from jconvt._call.options import Options, dimension_numbers_of, normalize_options
from jconvt._choice.pinned import AUTO, check_lowering
from jconvt._maps.execute import execute
from jconvt.initializers import torch_uniform


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LayerConfig:
    """A layer without its parameters; ``repr`` says what it does.

    Attributes:
      data_format: of input and output, such as ``"NCHW"``.
      has_bias: whether the layer adds a bias.
      dtype: what input and parameters are cast to; None: what they promote to.
      param_dtype: of the parameters when they are created.
      precision: as in lax.
      preferred_element_type: dtype of the result; None: that of the computation.
      lowering: ``"auto"``, or a formulation's name.
      options: stride, padding and all else that a function takes too.
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    data_format: str
    has_bias: bool
    dtype: np.dtype[Any] | None
    param_dtype: np.dtype[Any]
    precision: Precision
    preferred_element_type: np.dtype[Any] | None
    lowering: str
    options: Options

    @property
    def padding(self) -> tuple[int, ...]:
        """Output elements cropped at both ends, per axis."""
        return tuple(int(crop[0]) for crop in self.options.padding)

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
        options = self.options
        x = check_array(options.function, "input", input)
        if output_size is not None:
            options = replace(options, output_padding=(0,) * options.rank)
            output_size = self._spatial(output_size, x.ndim)
        return execute(
            options,
            x,
            weight,
            bias,
            output_size=output_size,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
            lowering=self.lowering,
            dtype=canonicalize_dtype(x, weight, bias, dtype=self.dtype),
        )

    def _spatial(self, output_size: Any, axes: int) -> Any:
        """The spatial entries of an output size that is a whole output shape."""
        function, rank = self.options.function, self.options.rank
        if not isinstance(output_size, tuple | list) or len(output_size) == rank:
            return output_size
        if len(output_size) != axes or axes not in (rank + 1, rank + 2):
            raise ValueError(
                f"{function}: `output_size` must be an int, {rank} ints or a whole "
                f"output shape, which for an input of {axes} axes has {axes}; got "
                f"{len(output_size)}: {output_size!r}."
            )
        return self.options.layout.spatial(tuple(output_size), axes == rank + 2)

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


def make_config(
    name: str,
    rank: int,
    *,
    in_channels: int,
    out_channels: int,
    kernel_size: IntOrInts,
    stride: IntOrInts,
    padding: IntOrInts,
    output_padding: IntOrInts,
    groups: int,
    bias: bool,
    dilation: IntOrInts,
    padding_mode: str,
    data_format: str | None,
    dtype: DTypeLike | None,
    param_dtype: DTypeLike,
    precision: Precision,
    preferred_element_type: DTypeLike | None,
    lowering: str,
) -> LayerConfig:
    """Check a constructor's arguments; `name` is the layer's, for messages and repr."""
    in_channels = check_int(name, "in_channels", in_channels, 0)
    out_channels = check_int(name, "out_channels", out_channels, 0)
    kernel_size = check_ints(name, "kernel_size", kernel_size, rank, 1)
    if data_format is None:
        data_format = data_formats(rank)[0]
    options = normalize_options(
        name,
        rank,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
        dimension_numbers=dimension_numbers_of(name, data_format, rank),
        symmetric_padding=True,
    )
    _check_divisible(options, "in_channels", in_channels)
    _check_divisible(options, "out_channels", out_channels)
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
            f"periodic data see padding='CIRCULAR' of jconvt.conv_transpose."
        )
    return LayerConfig(
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernel_size,
        data_format=data_format,
        has_bias=bool(bias),
        dtype=None if dtype is None else _check_inexact(name, "dtype", dtype),
        param_dtype=_check_dtype(name, "param_dtype", param_dtype),
        precision=check_precision(name, precision),
        preferred_element_type=(
            None
            if preferred_element_type is None
            else _check_dtype(name, "preferred_element_type", preferred_element_type)
        ),
        lowering=check_lowering(
            name, lowering, geometry_of(options, kernel_size), static=True
        ),
        options=options,
    )


def _check_divisible(options: Options, argument: str, channels: int) -> None:
    if channels % options.groups:
        raise ValueError(
            f"{options.function}: `{argument}` must be divisible by `groups`; got "
            f"{channels} and groups={options.groups}."
        )


def _check_dtype(name: str, argument: str, value: Any) -> np.dtype[Any]:
    try:
        # NumPy would read None as float64.
        return np.dtype(dtypes.canonicalize_dtype("" if value is None else value))
    except TypeError:
        raise TypeError(
            f"{name}: `{argument}` must be a dtype; got {value!r}.{dtype_hint(value)}"
        ) from None


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
