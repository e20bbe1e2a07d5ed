"""`Line`: to which outputs the taps of each input element add, for one axis."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jconvt._call.arguments import IntOrInts, Padding, check_ints
from jconvt._call.fit import fit, geometry_of
from jconvt._call.geometry import Axis
from jconvt._call.options import normalize_options

Ints = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One spatial axis of a call.

    Attributes:
      axis: its geometry.
      elements: the numbers of the input elements, in order; with periodic padding some
        occur twice.
      extra: how many outputs `output_padding` or `output_size` appends at the end.
    """

    axis: Axis
    elements: tuple[int, ...]
    extra: int

    @property
    def outputs(self) -> int:
        """The output size."""
        return self.axis.output_size(len(self.elements))

    @property
    def full(self) -> int:
        """The size of the full output, before cropping."""
        return self.outputs + self.axis.low + self.axis.high

    @property
    def positions(self) -> Ints:
        """[element, tap] -> the position in the full output to which it adds."""
        first = np.arange(len(self.elements)) * self.axis.stride
        return first[:, None] + np.arange(self.axis.kernel_size) * self.axis.dilation

    @property
    def overlap(self) -> Ints:
        """[output element] -> how many pairs of an element and a tap add to it."""
        reached = self.positions.ravel() - self.axis.low
        kept = reached[(reached >= 0) & (reached < self.outputs)]
        return np.bincount(kept, minlength=self.outputs)


def lines_of(
    function: str,
    most: int,
    input_size: IntOrInts,
    kernel_size: IntOrInts,
    *,
    stride: IntOrInts,
    padding: Padding,
    output_padding: IntOrInts,
    output_size: IntOrInts | None,
    dilation: IntOrInts,
) -> tuple[Line, ...]:
    """A `Line` for each spatial axis, or an error for more than `most` axes."""
    rank = _rank(function, most, input_size, kernel_size)
    size = check_ints(function, "input_size", input_size, rank, 1)
    taps = check_ints(function, "kernel_size", kernel_size, rank, 1)
    options = normalize_options(
        function,
        rank,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )
    fitted = fit(options, (1, 1, *size), (1, 1, *taps), None, output_size)
    unsized = geometry_of(options, taps)
    return tuple(
        Line(
            axis=axis,
            elements=tuple(i % n for i in range(-before, n + after)),
            extra=a + before_size.high - axis.high,
        )
        for axis, before_size, a, n, (before, after) in zip(
            fitted.geometry.axes,
            unsized.axes,
            options.output_padding,
            size,
            fitted.wrap,
            strict=True,
        )
    )


def _rank(function: str, most: int, *sizes: object) -> int:
    """The number of spatial axes; if all `sizes` are ints, it is one."""
    lengths = [len(size) for size in sizes if isinstance(size, tuple | list)]
    rank = max(lengths, default=1)
    if not 1 <= rank <= most:
        axes = "1 spatial axis" if most == 1 else f"1 or {most} spatial axes"
        raise ValueError(
            f"{function}: `input_size` and `kernel_size` must be for {axes}, without "
            f"batch and channels; got {sizes[0]!r} and {sizes[1]!r}. Draw one axis of "
            f"several at a time."
        )
    return rank
