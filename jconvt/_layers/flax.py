"""Replacements of Flax's own layer: its fields -> a checked configuration.

Flax's layer is `jax.lax.conv_transpose`: `strides` and `kernel_dilation` are stride and
dilation here, integers in `padding` are zeros around the stride-dilated input, (P, Q)
for a crop of (e - 1 - P, e - 1 - Q) with e the extent of the kernel, and the names of
paddings are those of `jconvt._call.padding`. Fields are read and checked when the layer
is called, as in Flax, whose layers let them be set after construction.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jconvt._call.arguments import (
    AxisPadding,
    IntOrInts,
    check_int,
    check_ints,
    is_int,
)
from jconvt._call.lowerings import PLAIN_LAX
from jconvt._call.numerics import Numerics, check_array
from jconvt._call.options import normalize_options
from jconvt._call.padding import lax_pads
from jconvt._layers.config import LayerConfig
from jconvt._layers.kernel import FlaxKernel
from jconvt._lowerings.axes import merge_axes, split_axis
from jconvt._maps.execute import Call, add_bias, as_program, run, settle_call

NAME = "ConvTranspose"


class Fields(Protocol):
    """The fields that determine what is computed, under Flax's names."""

    @property
    def kernel_size(self) -> Any: ...
    @property
    def strides(self) -> Any: ...
    @property
    def padding(self) -> Any: ...
    @property
    def kernel_dilation(self) -> Any: ...
    @property
    def mask(self) -> Any: ...
    @property
    def precision(self) -> Any: ...
    @property
    def transpose_kernel(self) -> bool: ...
    @property
    def preferred_element_type(self) -> DTypeLike | None: ...


EXTRAS: dict[str, Any] = {"groups": 1, "output_padding": 0, "lowering": "auto"}
"""Fields that Flax's layer lacks, and what makes it of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaxConfig(LayerConfig):
    """A layer's fields, checked; all but its parameters."""

    kernel_size: tuple[int, ...]
    kernel: FlaxKernel
    mask: Any

    def kernel_shape(
        self, in_features: Any, features: Any, named: str = "features"
    ) -> tuple[int, ...]:
        """The shape of a kernel; `named` is what messages call the output channels."""
        function, groups = self.options.function, self.options.groups
        for argument, value in (("in_features", in_features), (named, features)):
            if check_int(function, argument, value, 0) % groups:
                raise ValueError(
                    f"{function}: `{argument}` must be divisible by `groups`; got "
                    f"{value} and groups={groups}."
                )
        return self.kernel.shape(self.kernel_size, in_features, features)

    def in_features(self, inputs: object) -> int:
        """The channels of an input, or the error."""
        x, rank = check_array(NAME, "inputs", inputs), self.options.rank
        if x.ndim <= rank:
            raise ValueError(
                f"{NAME}: `inputs` must have {rank} spatial axes and the channels last,"
                f" after any number of batch axes; got shape {x.shape}."
            )
        return x.shape[-1]

    def check_kernel(self, kernel: jax.Array) -> None:
        """Parameters can be exchanged, so that their shapes are checked here too."""
        shape, layout = kernel.shape, self.kernel
        if (
            len(shape) != layout.rank + 2
            or shape[:-2] != self.kernel_size
            or not layout.divides(shape)
        ):
            raise ValueError(
                f"{NAME}: `kernel` must have the shape that kernel_size="
                f"{self.kernel_size}, groups={layout.groups} and transpose_kernel="
                f"{layout.transposed} say; got {shape}."
            )

    def _check_shapes(self, inputs: jax.Array, kernel: jax.Array) -> None:
        self.check_kernel(kernel)
        in_features = self.kernel.in_features(kernel.shape)
        if self.in_features(inputs) != in_features:
            raise ValueError(
                f"{NAME}: `inputs` must have the kernel's {in_features} channels on the"
                f" last axis; got shape {inputs.shape}."
            )

    def __call__(
        self,
        inputs: jax.Array,
        kernel: jax.Array,
        bias: jax.Array | None,
        output_size: IntOrInts | None,
        promote: Callable[..., Any],
    ) -> jax.Array:
        """The output; `promote` casts input, kernel and bias to compute with."""
        self._check_shapes(inputs, kernel)
        x, w, b = promote(inputs, self.masked(kernel), bias)
        options, run = self.at_call(output_size, x.ndim)
        batch, one = x.shape[: -options.rank - 1], x.shape[-options.rank - 1 :]
        call = settle_call(
            options,
            (
                (math.prod(batch), *one) if batch else one,
                self.kernel.oriented_shape(w.shape),
                None if b is None else b.shape,
            ),
            [x, w],
            **run,
        )
        return _run(x, w, b, call, self.kernel)

    def masked(self, kernel: jax.Array) -> jax.Array:
        """The kernel times the mask, which must have its shape."""
        if self.mask is None:
            return kernel
        if np.shape(self.mask) != kernel.shape:
            raise ValueError(
                f"{self.options.function}: `mask` must have the kernel's shape "
                f"{kernel.shape}; got {np.shape(self.mask)}."
            )
        return kernel * self.mask


@as_program(3, 4)
def _run(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    call: Call,
    layout: FlaxKernel,
) -> jax.Array:
    batch = x.shape[: -layout.rank - 1]
    for _ in batch[1:]:
        x = merge_axes(x, 0)
    # Tools that know convolutions need not know fences.
    weight = layout.oriented(kernel, fenced=call.lowering != PLAIN_LAX)
    y = run(x, weight, None, call)
    if len(batch) > 1:
        y = split_axis(y, 0, batch)
    if bias is None:
        return y
    # As in Flax a `promote_dtype` may give the bias another dtype than the operands.
    numerics = Numerics(None, np.dtype(jnp.result_type(y, bias)))
    return add_bias(y, bias, y.ndim - 1, numerics)


def settle_fields(layer: Fields, function: str = NAME) -> FlaxConfig:
    """Check the fields of a layer, ours or Flax's own, or raise.

    `in_features` and `features` come later. Messages begin with `function`.
    """
    kernel_size = _kernel_size(function, layer.kernel_size)
    rank = len(kernel_size)
    strides = _ints(function, "strides", layer.strides, rank)
    dilation = _ints(function, "kernel_dilation", layer.kernel_dilation, rank)
    extents = tuple(d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True))
    if layer.padding == "CAUSAL":
        causal = [(e - 1, s - 1) for e, s in zip(extents, strides, strict=True)]
        raise ValueError(
            f"{function}: `padding` 'CAUSAL' is in Flax's documentation of this layer, "
            f"but its code refuses it. An output of size n*strides that sees no later "
            f"input is padding={causal} here."
        )
    transposed = bool(layer.transpose_kernel)
    extras = {name: getattr(layer, name, value) for name, value in EXTRAS.items()}
    options = normalize_options(
        function,
        rank,
        stride=strides,
        padding=read_padding(function, layer.padding, extents, NAMES[transposed]),
        output_padding=extras["output_padding"],
        groups=extras["groups"],
        dilation=dilation,
    )
    kernel = FlaxKernel(rank, options.groups, transposed)
    return FlaxConfig(
        options=replace(options, layout=kernel.layout),
        kernel_size=kernel_size,
        kernel=kernel,
        mask=layer.mask,
        precision=layer.precision,
        preferred_element_type=layer.preferred_element_type,
        lowering=extras["lowering"],
    )


def _kernel_size(function: str, value: Any) -> tuple[int, ...]:
    """An int is one spatial axis: Flax has no other way to tell how many there are."""
    sizes = (value,) if is_int(value) else _tuple(value)
    rank = len(sizes) if isinstance(sizes, tuple) else 1
    return check_ints(function, "kernel_size", sizes, rank, 1)


def _ints(function: str, argument: str, value: Any, rank: int) -> tuple[int, ...]:
    """One int for each spatial axis; None is 1."""
    value = 1 if value is None else _tuple(value)
    return check_ints(function, argument, value, rank, 1)


def _tuple(value: Any) -> Any:
    """A sequence of any type as a tuple, and all else as it is."""
    is_sequence = hasattr(value, "__iter__") and not isinstance(value, str)
    return tuple(value) if is_sequence else value


NAMES = (
    {"SAME": "SAME", "VALID": "VALID", "CIRCULAR": "CIRCULAR"},
    {"SAME": "SAME", "VALID": "VALID", "CIRCULAR": "CIRCULAR_LOWER"},
)
"""Flax's name -> ours: with a plain kernel, and with a transposed one."""


def read_padding(
    function: str, value: Any, extents: tuple[int, ...], names: Mapping[str, str]
) -> str | tuple[AxisPadding, ...]:
    """A name, or zeros around the stride-dilated input, as `conv_transpose` has it.

    So is each entry of a tuple.
    """
    rank, named = len(extents), ", ".join(map(repr, names))
    items = (value,) * rank if is_int(value) else _tuple(value)
    if isinstance(value, str) and value in names:
        return names[value]
    if not isinstance(items, tuple):
        kind, came = (
            (ValueError, "")
            if isinstance(value, str)
            else (TypeError, f" of type {type(value).__name__}")
        )
        raise kind(
            f"{function}: `padding` must be {named}, an int, or {rank} ints or (low, "
            f"high) pairs; got {value!r}{came}."
        )
    if len(items) != rank:
        raise ValueError(
            f"{function}: `padding` must hold {rank} ints, (low, high) pairs or names, "
            f"one for each spatial axis; got {len(items)}: {value!r}."
        )
    return tuple(
        names[item]
        if isinstance(item, str) and item in names
        else lax_pads(e, *_pads(function, i, item, named))[:2]
        for i, (e, item) in enumerate(zip(extents, items, strict=True))
    )


def _pads(function: str, i: int, item: Any, named: str) -> tuple[int, int]:
    pads = (item, item) if is_int(item) else _tuple(item)
    rule = f"{function}: `padding[{i}]` must be an int or a (low, high) pair of ints"
    if not isinstance(pads, tuple) or not all(map(is_int, pads)):
        raise TypeError(f"{rule}, or one of {named}; got {item!r}.")
    if len(pads) != 2:
        raise ValueError(f"{rule}; got {item!r}.")
    return int(pads[0]), int(pads[1])
