"""What the drop-in layers share: Flax's fields -> the core's call.

Flax's layer is `jax.lax.conv_transpose`: `strides` and `kernel_dilation` are stride and
dilation here, integers in `padding` are zeros around the stride-dilated input, (P, Q)
for a crop of (e - 1 - P, e - 1 - Q) with e the extent of the kernel, and the names of
paddings are those of `jconvt._call.padding`. Fields are read and checked when the layer
is called, as in Flax, whose layers let them be set after construction.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jconvt._call.arguments import IntOrInts, check_int, check_ints, is_int
from jconvt._call.numerics import Numerics, Precision, check_array
from jconvt._call.options import Options, Pairs, normalize_options
from jconvt._layers.kernel import FlaxKernel
from jconvt._lowerings.axes import merge_axes, split_axis
from jconvt._maps.bilinear import PLAIN_LAX
from jconvt._maps.execute import Call, add_bias, as_program, run, settle_call

NAME = "ConvTranspose"


class Fields(Protocol):
    """The fields that say what is computed, under Flax's names."""

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
    @property
    def groups(self) -> int: ...
    @property
    def output_padding(self) -> IntOrInts: ...
    @property
    def lowering(self) -> str: ...


EXTRAS: dict[str, Any] = {"groups": 1, "output_padding": 0, "lowering": "auto"}
"""Fields that Flax's layer lacks, and what makes it of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropIn:
    """A layer's fields, checked; all but its parameters."""

    options: Options
    kernel_size: tuple[int, ...]
    kernel: FlaxKernel
    mask: Any
    precision: Precision
    preferred_element_type: DTypeLike | None
    lowering: str

    def kernel_shape(
        self, in_features: Any, features: Any, named: str = "features"
    ) -> tuple[int, ...]:
        """The shape of a kernel; `named` is what messages call the output channels."""
        groups = self.options.groups
        for argument, value in (("in_features", in_features), (named, features)):
            if check_int(NAME, argument, value, 0) % groups:
                raise ValueError(
                    f"{NAME}: `{argument}` must be divisible by `groups`; got {value} "
                    f"and groups={groups}."
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

    def _check_shapes(self, inputs: jax.Array, kernel: jax.Array) -> None:
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
        in_features = layout.in_features(shape)
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
        x, w, b = promote(inputs, _masked(kernel, self.mask), bias)
        options, shape = self.options, x.shape
        if output_size is not None:
            options = replace(options, output_padding=(0,) * options.rank)
        batch = shape[: -options.rank - 1]
        if len(batch) > 1:
            shape = (math.prod(batch), *shape[len(batch) :])
        weight_shape = self.kernel.oriented_shape(w.shape)
        call = settle_call(
            options,
            (shape, weight_shape, None if b is None else b.shape),
            [x, w],
            output_size=output_size,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
            lowering=self.lowering,
        )
        return _run(x, w, b, call, self.kernel)


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


def settle_fields(layer: Fields) -> DropIn:
    """Check a layer's fields, or raise; `in_features` and `features` come later."""
    kernel_size = _kernel_size(layer.kernel_size)
    rank = len(kernel_size)
    strides = _ints("strides", layer.strides, rank)
    dilation = _ints("kernel_dilation", layer.kernel_dilation, rank)
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True))
    transposed = bool(layer.transpose_kernel)
    options = normalize_options(
        NAME,
        rank,
        stride=strides,
        padding=_padding(layer.padding, extent, strides, transposed),
        output_padding=layer.output_padding,
        groups=layer.groups,
        dilation=dilation,
    )
    kernel = FlaxKernel(rank, options.groups, transposed)
    return DropIn(
        options=replace(options, layout=kernel.layout),
        kernel_size=kernel_size,
        kernel=kernel,
        mask=layer.mask,
        precision=layer.precision,
        preferred_element_type=layer.preferred_element_type,
        lowering=layer.lowering,
    )


def _masked(kernel: jax.Array, mask: Any) -> jax.Array:
    """The kernel times the mask, which must have its shape; None: no mask."""
    if mask is None:
        return kernel
    if np.shape(mask) != kernel.shape:
        raise ValueError(
            f"{NAME}: `mask` must have the kernel's shape {kernel.shape}; got "
            f"{np.shape(mask)}."
        )
    return kernel * mask


def _kernel_size(value: Any) -> tuple[int, ...]:
    """An int is one spatial axis: Flax has no other way to tell how many there are."""
    sizes = (value,) if is_int(value) else _tuple(value)
    rank = len(sizes) if isinstance(sizes, tuple) else 1
    return check_ints(NAME, "kernel_size", sizes, rank, 1)


def _ints(argument: str, value: Any, rank: int) -> tuple[int, ...]:
    """One int for each spatial axis; None is 1."""
    value = 1 if value is None else _tuple(value)
    return check_ints(NAME, argument, value, rank, 1)


def _tuple(value: Any) -> Any:
    """A sequence of any type as a tuple, and all else as it is."""
    is_sequence = hasattr(value, "__iter__") and not isinstance(value, str)
    return tuple(value) if is_sequence else value


_NAMES = {
    "SAME": ("SAME", "SAME"),
    "VALID": ("VALID", "VALID"),
    "CIRCULAR": ("CIRCULAR", "CIRCULAR_LOWER"),
}
"""Flax's name -> ours with a plain kernel, and with a transposed one."""


def _padding(
    value: Any, extent: tuple[int, ...], strides: tuple[int, ...], transposed: bool
) -> str | Pairs:
    rank, allowed = len(extent), ", ".join(map(repr, _NAMES))
    if value == "CAUSAL":
        causal = [(e - 1, s - 1) for e, s in zip(extent, strides, strict=True)]
        raise ValueError(
            f"{NAME}: `padding` 'CAUSAL' is in Flax's documentation of this layer, but "
            f"its code refuses it. An output of size n*strides that sees no later "
            f"input is padding={causal} here."
        )
    if isinstance(value, str):
        if value not in _NAMES:
            raise ValueError(
                f"{NAME}: `padding` must be {allowed}, an int, or {rank} ints or (low, "
                f"high) pairs; got {value!r}."
            )
        return _NAMES[value][transposed]
    if is_int(value):
        pads = ((value, value),) * rank
    else:
        items = _tuple(value)
        if not isinstance(items, tuple):
            raise TypeError(
                f"{NAME}: `padding` must be {allowed}, an int, or {rank} ints or (low, "
                f"high) pairs; got {value!r} of type {type(value).__name__}."
            )
        if len(items) != rank:
            raise ValueError(
                f"{NAME}: `padding` must hold {rank} ints or (low, high) pairs, one for"
                f" each spatial axis; got {len(items)}: {value!r}."
            )
        pads = tuple((p, p) if is_int(p) else _tuple(p) for p in items)
    for i, pad in enumerate(pads):
        if not isinstance(pad, tuple) or not all(is_int(p) for p in pad):
            raise TypeError(
                f"{NAME}: `padding[{i}]` must be an int or a (low, high) pair of ints; "
                f"got {pad!r}."
            )
        if len(pad) != 2:
            raise ValueError(
                f"{NAME}: `padding[{i}]` must be an int or a (low, high) pair; got "
                f"{pad!r}."
            )
    return tuple(
        (e - 1 - int(low), e - 1 - int(high))
        for e, (low, high) in zip(extent, pads, strict=True)
    )
