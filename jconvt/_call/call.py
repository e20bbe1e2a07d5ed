"""`Call`: all static facts about one transposed convolution, except its sizes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypedDict

import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import Shape
from jconvt._call.fit import fit, is_between
from jconvt._call.geometry import Geometry, Size, Trim
from jconvt._call.layout import Layout
from jconvt._call.lowerings import Lowerings, divides
from jconvt._call.numerics import Numerics, Precision, settle_dtypes
from jconvt._call.options import Options, Pairs
from jconvt._call.problem import Problem

Sizes = tuple[Size, ...]
"""A shape, or the spatial part of one; sizes are ints or symbolic."""

NOMINAL_SIZE = 32
"""The number that replaces a symbolic size where formulations are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The checked, hashable description of one transposed convolution, without sizes.

    Attributes:
      geometry: kernel sizes, strides, dilations, crops and groups.
      wrap: input elements by which a periodic input is extended (before, after), per
        axis.
      layout: which axis of each array is batch, channels, and each spatial axis.
      batched: whether input and output have a batch axis.
      operand: dtype to which input and weight are cast, and of their gradients. The
        result is never narrower (`Numerics`).
      numerics: precision, and the dtype of the result.
      lowering: "auto", the name of a lowering, or an entry for each map.
      cut: for each spatial axis the size to which the output is finally cut, or None.
        Only where `output_size` is symbolic and an unknown number of elements, at most
        stride - 1, has to be removed. Empty: no axis is cut.
    """

    geometry: Geometry
    wrap: Pairs
    layout: Layout
    batched: bool = True
    operand: np.dtype[Any]
    numerics: Numerics
    lowering: str | Lowerings
    cut: tuple[Size | None, ...] = ()

    def output_shape(self, input_shape: Sizes, weight_shape: Sizes) -> Sizes:
        """The shape of the output, symbolic where the input's is."""
        layout = self.layout
        size = layout.spatial(input_shape, self.batched)
        wrapped = (n + sum(w) for n, w in zip(size, self.wrap, strict=True))
        out = self.geometry.output_size(tuple(wrapped))
        if self.cut:
            cuts = zip(out, self.cut, strict=True)
            out = tuple(n if cut is None else cut for n, cut in cuts)
        return layout.output_shape(
            input_shape[layout.input[0]] if self.batched else None,
            weight_shape[layout.weight[1]] * self.geometry.groups,
            out,
        )

    def is_static(self, input_shape: Sizes) -> bool:
        """Whether the spatial sizes of an input are ints, not symbolic."""
        return all(
            isinstance(n, int) for n in self.layout.spatial(input_shape, self.batched)
        )

    @property
    def for_input_gradient(self) -> Self:
        """The call for the input gradient, which for a periodic input is rounded later.

        Where a periodic input was extended, the gradients of the extension are added
        to those of the elements that it repeats. The sum is rounded once, so its parts
        stay in the accumulation dtype.
        """
        if not any(map(any, self.wrap)):
            return self
        return replace(self, numerics=self.numerics.summed())

    @property
    def inner(self) -> Self:
        """The call that a lowering computes: geometry trimmed, input not periodic."""
        wrap = ((0, 0),) * self.geometry.rank
        return replace(self, geometry=self.trimmed, wrap=wrap)

    @property
    def trimmed(self) -> Geometry:
        """The geometry that a lowering computes."""
        return self.geometry.trim(divide=divides(self.lowering))[0]

    @property
    def trims(self) -> tuple[Trim, ...]:
        """For each spatial axis, what is done before and after `trimmed` runs."""
        return self.geometry.trim(divide=divides(self.lowering))[1]

    def inner_size(self, input_shape: Sizes) -> Sizes:
        """Input elements per spatial axis of `inner`: extended, then trimmed."""
        size = self.layout.spatial(input_shape, self.batched)
        sizes = (
            n + sum(wrap) - sum(trim.drop)
            for n, wrap, trim in zip(size, self.wrap, self.trims, strict=True)
        )
        return tuple(max(n, 0) if isinstance(n, int) else n for n in sizes)

    def recovers(self, input_shape: Sizes) -> bool:
        """Whether dividing the size of a dilated input gives the input's size again.

        A derivative of lax does so. JAX's arithmetic of symbolic sizes may fail for one
        that is itself a quotient, such as ``h // 2`` where `h` is even.
        """
        axes = zip(self.inner_size(input_shape), self.trimmed.stride, strict=True)
        return all((n - 1) * s // s + 1 == n for n, s in axes)

    def problem(self, input_shape: Sizes, weight_shape: Sizes) -> Problem:
        """The sizes of `inner` for arrays of these shapes, for the choice."""
        layout, groups = self.layout, self.geometry.groups
        in_channels, out_channels = (weight_shape[a] for a in layout.weight[:2])
        batch = input_shape[layout.input[0]] if self.batched else 1
        size = self.inner_size(input_shape)
        return Problem(
            geometry=self.trimmed,
            batch=_int(batch),
            in_channels=_int(in_channels),
            out_channels=_int(out_channels) * groups,
            size=tuple(map(_int, size)),
            dtype=self.operand,
            features_first=layout.is_features_first,
            static=all(isinstance(n, int) for n in size),
            static_batch=isinstance(batch, int),
        )


def check_symbolic_trim(function: str, call: Call, input_shape: Sizes) -> None:
    """A ValueError where an input of symbolic size may have less than is trimmed."""
    for axis, n in enumerate(call.inner_size(input_shape)):
        if not isinstance(n, int) and is_between(0, n, n) is None:
            raise ValueError(
                f"{function}: `padding` must leave some of an input of symbolic size; "
                f"got {call.layout.spatial(input_shape, call.batched)}, of which {n} "
                f"elements remain on spatial axis {axis}. Add '{n} >= 1' to the "
                "constraints of the symbolic scope."
            )


class RunOptions(TypedDict, total=False):
    """The options of a public function that are not `GeometryOptions`."""

    output_size: Any
    precision: Precision
    preferred_element_type: DTypeLike | None
    lowering: str | Lowerings


def make_call(
    options: Options,
    shapes: tuple[Shape, Shape, Shape | None],
    operands: Sequence[ArrayLike | DTypeLike],
    *,
    output_size: object = None,
    precision: Precision = None,
    preferred_element_type: DTypeLike | None = None,
    lowering: str | Lowerings = "auto",
) -> Call:
    """The call for input, weight and bias of these shapes, or the error.

    `operands` are the arrays or dtypes that are promoted together. `lowering` is not
    checked here, but by `jconvt._choice.pinned`.
    """
    geometry, wrap, batched, cut = fit(options, *shapes, output_size)
    operand, numerics = settle_dtypes(
        options.function, operands, precision, preferred_element_type
    )
    return Call(
        geometry=geometry,
        wrap=wrap,
        layout=options.layout,
        batched=batched,
        operand=operand,
        numerics=numerics,
        lowering=lowering,
        cut=cut,
    )


def _int(n: Size) -> int:
    return n if isinstance(n, int) else NOMINAL_SIZE
