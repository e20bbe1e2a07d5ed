"""Which axis of each array is the batch, the channels, and each spatial axis.

A layout consists of axis numbers. Its spatial axes are in the order of the options
(stride, padding, ...), which is the order of the weight's spatial letters, as in lax.
In the weight, I stands for the input channels and O for the output channels *per group*
of the transposed convolution.
"""

import string
from dataclasses import dataclass
from typing import Self

from jax import lax

from jconvt._call.arguments import did_you_mean
from jconvt._call.geometry import Size

DimensionNumbers = tuple[str, str, str] | lax.ConvDimensionNumbers
"""Specs of input, weight and output such as ``("NHWC", "HWIO", "NHWC")``."""

_ARRAYS = ("input", "weight", "output")
_CHANNELS = ("NC", "IO", "NC")
"""The letters of each array's batch and channels."""


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
    space = _space_of(specs)
    for argument, spec, channels in zip(_ARRAYS, specs, _CHANNELS, strict=True):
        if sorted(spec) != sorted(channels + space) or len(set(spec)) != rank + 2:
            letters = space if len(set(space)) == rank else spatial_letters(rank)
            orders = (channels + letters, f"{channels[0]}{letters}{channels[1]}")
            meant = did_you_mean(spec, (*orders, letters + channels))
            raise ValueError(
                f"{function}: `dimension_numbers` must name for the {argument} each of "
                f"{channels[0]}, {channels[1]} and {rank} spatial letters once, the "
                f"same letters in all three; got {spec!r} in {dimension_numbers!r}."
                f"{meant}"
            )
    space = "".join(letter for letter in specs[1] if letter in space)
    return Layout(
        *(
            tuple(spec.index(letter) for letter in channels + space)
            for spec, channels in zip(specs, _CHANNELS, strict=True)
        )
    )


def _space_of(specs: tuple[str, ...]) -> str:
    """The spatial letters on which input and output agree, or else the weight's."""
    found = [
        "".join(letter for letter in spec if letter not in channels)
        for spec, channels in zip(specs, _CHANNELS, strict=True)
    ]
    agree = set(found[0]) == set(found[2])
    return found[0] if agree else found[1]


def spell(layout: Layout) -> tuple[str, str, str] | None:
    """The specs of a layout of one to three spatial axes."""
    rank = len(layout.weight) - 2
    if rank not in (1, 2, 3):
        return None
    space = spatial_letters(rank)
    axes = (layout.input, layout.weight, layout.output)
    first, second, third = (
        "".join((channels + space)[axis] for axis in _inverse(of))
        for of, channels in zip(axes, _CHANNELS, strict=True)
    )
    return first, second, third


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
