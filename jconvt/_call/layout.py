"""Which axis of each array is the batch, the channels, and each spatial axis.

A layout is axis numbers alone. Its spatial axes are in the order of the options
(stride, padding, ...), which is the order of the weight's spatial letters, as in lax.
In the weight I is the input channels and O the output channels *per group* of the
transposed convolution.
"""

import string
from dataclasses import dataclass
from typing import Self

from jax import lax

from jconvt._call.geometry import Size

DimensionNumbers = tuple[str, str, str] | lax.ConvDimensionNumbers
"""Specs of input, weight and output such as ``("NHWC", "HWIO", "NHWC")``."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Axis numbers of each array: (N, C, *space), (I, O, *space), (N, C, *space)."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    output: tuple[int, ...]

    @classmethod
    def channels_first(cls, rank: int) -> Self:
        """``NC`` + space, weight ``IO`` + space: PyTorch's layout, and the default."""
        axes = tuple(range(rank + 2))
        return cls(axes, axes, axes)

    @classmethod
    def channels_last(cls, rank: int) -> Self:
        """``N`` + space + ``C``, weight ``IO`` + space."""
        data = (0, rank + 1, *range(1, rank + 1))
        return cls(data, tuple(range(rank + 2)), data)

    def spatial(self, input_shape: tuple[Size, ...], batched: bool) -> tuple[Size, ...]:
        """The spatial sizes of an input, in the order of the options."""
        batch = self.input[0]
        if not batched:
            input_shape = (*input_shape[:batch], 1, *input_shape[batch:])
        return tuple(input_shape[axis] for axis in self.input[2:])

    def kernel_size(self, weight_shape: tuple[Size, ...]) -> tuple[Size, ...]:
        """The taps per spatial axis, in the order of the options."""
        return tuple(weight_shape[axis] for axis in self.weight[2:])

    def output_shape(
        self, batch: Size | None, channels: Size, space: tuple[Size, ...]
    ) -> tuple[Size, ...]:
        """The shape of an output; `batch` None: without the batch axis."""
        sizes = dict(zip(self.output, (batch, channels, *space), strict=True))
        shape = tuple(sizes[axis] for axis in range(len(sizes)))
        return tuple(size for size in shape if size is not None)

    @property
    def input_channels_last(self) -> tuple[int, ...]:
        """The input's axes in the order (N, *space, C)."""
        batch, channel, *space = self.input
        return (batch, *space, channel)

    @property
    def weight_channels_first(self) -> tuple[int, ...]:
        """The weight's axes in the order (I, O, *space)."""
        return self.weight

    @property
    def output_from_channels_last(self) -> tuple[int, ...]:
        """The axes of an array (N, *space, C) in the order of this layout's output."""
        batch, channel, *space = self.output
        return _inverse((batch, *space, channel))

    @property
    def output_from_input(self) -> tuple[int, ...]:
        """The input's axes in the order of this layout's output."""
        return tuple(self.input[role] for role in _inverse(self.output))

    @property
    def is_features_first(self) -> bool:
        """Whether channels stand before space in the output."""
        _, channel, *space = self.output
        return channel < min(space, default=channel + 1)


def from_data_format(data_format: str) -> tuple[str, str, str]:
    """The dimension numbers of a data format: the weight stays ``IO`` + space."""
    return data_format, "IO" + data_format.strip("NC"), data_format


def spatial_letters(rank: int) -> str:
    """The letters of the spatial axes: ``"HW"`` for two, ``"abcd"`` for four."""
    return "DHW"[3 - rank :] if rank <= 3 else string.ascii_lowercase[:rank]


def dimension_numbers(rank: int, channels_last: bool) -> tuple[str, str, str]:
    """The dimension numbers of any rank; the weight is ``IO`` + space in either."""
    space = spatial_letters(rank)
    return from_data_format(f"N{space}C" if channels_last else f"NC{space}")


def data_formats(rank: int) -> tuple[str, ...]:
    """The data formats of a rank, channels first and channels last, or none."""
    if rank not in (1, 2, 3):
        return ()
    return tuple(dimension_numbers(rank, last)[0] for last in (False, True))


def normalize_layout(function: str, dimension_numbers: object, rank: int) -> Layout:
    """Dimension numbers as lax writes them -> `Layout`, or the error."""
    if dimension_numbers is None:
        return Layout.channels_first(rank)
    if isinstance(dimension_numbers, lax.ConvDimensionNumbers):
        return _from_axes(function, dimension_numbers, rank)
    if not (
        isinstance(dimension_numbers, tuple | list)
        and all(isinstance(spec, str) for spec in dimension_numbers)
    ):
        raise TypeError(
            f"{function}: `dimension_numbers` must be None, three strings such as "
            f"('NHWC', 'HWIO', 'NHWC') or a jax.lax.ConvDimensionNumbers; got "
            f"{dimension_numbers!r}."
        )
    specs = tuple(dimension_numbers)
    if len(specs) != 3:
        raise ValueError(
            f"{function}: `dimension_numbers` must hold three strings, for input, "
            f"weight and output; got {len(specs)}: {dimension_numbers!r}."
        )
    space = [letter for letter in specs[1] if letter not in "IO"]
    for argument, spec, channels in zip(
        ("input", "weight", "output"), specs, ("NC", "IO", "NC"), strict=True
    ):
        if sorted(spec) != sorted([*channels, *space]) or len(set(spec)) != rank + 2:
            raise ValueError(
                f"{function}: `dimension_numbers` must name for the {argument} each of "
                f"{channels[0]}, {channels[1]} and {rank} spatial letters once, the "
                f"letters that the weight names; got {spec!r} in {dimension_numbers!r}."
            )
    return Layout(
        *(
            tuple(spec.index(letter) for letter in (*channels, *space))
            for spec, channels in zip(specs, ("NC", "IO", "NC"), strict=True)
        )
    )


def _from_axes(function: str, numbers: lax.ConvDimensionNumbers, rank: int) -> Layout:
    for spec in numbers:
        if not isinstance(spec, tuple | list) or {*map(type, spec)} != {int}:
            raise TypeError(
                f"{function}: `dimension_numbers` must hold tuples of ints; got "
                f"{spec!r} in {numbers!r}."
            )
        if sorted(spec) != list(range(rank + 2)):
            raise ValueError(
                f"{function}: `dimension_numbers` must name each of {rank + 2} axes "
                f"once; got {spec!r} in {numbers!r}."
            )
    out_channels, in_channels, *space = numbers.rhs_spec
    return Layout(
        tuple(numbers.lhs_spec),
        (in_channels, out_channels, *space),
        tuple(numbers.out_spec),
    )


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axes.index(i) for i in range(len(axes)))
