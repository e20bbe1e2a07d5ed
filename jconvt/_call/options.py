"""Checks the options of a call that need no shape, and makes `Options` of them.

The public functions and all layers check their options here, so they share every rule
and every message.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import TypedDict

from jconvt._call import arguments
from jconvt._call.arguments import AxisPadding, IntOrInts, Padding
from jconvt._call.layout import (
    DimensionNumbers,
    Layout,
    data_formats,
    from_data_format,
    normalize_layout,
)
from jconvt._call.padding import PERIODIC

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Checked options of one call, with one entry for each spatial axis.

    Attributes:
      function: the name with which messages begin.
      padding: a dialect's name, or one name or (low, high) crop for each axis.
    """

    function: str
    stride: tuple[int, ...]
    padding: str | tuple[AxisPadding, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    layout: Layout

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.stride)

    @property
    def paddings(self) -> tuple[AxisPadding, ...]:
        """The padding of each axis."""
        given = self.padding
        return (given,) * self.rank if isinstance(given, str) else given

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Whether an axis is continued periodically; its size is n*stride alone."""
        return tuple(padding in PERIODIC for padding in self.paddings)

    @property
    def keywords(self) -> "GeometryOptions":
        """The arguments of a function that say the same; the layout is left out."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "groups": self.groups,
            "dilation": self.dilation,
        }


class GeometryOptions(TypedDict, total=False):
    """The options that determine a geometry, as a public function takes them."""

    stride: IntOrInts
    padding: Padding
    output_padding: IntOrInts
    groups: int
    dilation: IntOrInts
    dimension_numbers: DimensionNumbers | None


def normalize_options(
    function: str,
    rank: int,
    *,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
    dimension_numbers: DimensionNumbers | None = None,
    symmetric_padding: bool = False,
) -> Options:
    """The checked options, or the error.

    `symmetric_padding`: accept only PyTorch's padding, an int or one for each axis.
    """
    check_padding: Callable[[str, object, int], str | tuple[AxisPadding, ...]] = (
        arguments.check_symmetric_padding
        if symmetric_padding
        else arguments.check_padding
    )
    strides = arguments.check_ints(function, "stride", stride, rank, 1)
    crops = check_padding(function, padding, rank)
    dilations = arguments.check_ints(function, "dilation", dilation, rank, 1)
    paddings = arguments.check_output_padding(
        function, output_padding, strides, dilations
    )
    group_count = arguments.check_int(function, "groups", groups, 1)
    for argument, values in (
        ("stride", strides),
        ("padding", chain(*(crop for crop in crops if not isinstance(crop, str)))),
        ("dilation", dilations),
        ("groups", (group_count,)),
    ):
        arguments.check_magnitude(function, argument, values)
    options = Options(
        function=function,
        stride=strides,
        padding=crops,
        output_padding=paddings,
        dilation=dilations,
        groups=group_count,
        layout=normalize_layout(function, dimension_numbers, rank),
    )
    _check_periodic(options, output_padding)
    return options


def _check_periodic(options: Options, given: object) -> None:
    """An error for an `output_padding` on an axis that is continued periodically."""
    for i, (periodic, more) in enumerate(
        zip(options.periodic, options.output_padding, strict=True)
    ):
        if periodic and more:
            whole = isinstance(options.padding, str)
            at = "" if whole else f"[{i}]"
            raise ValueError(
                f"{options.function}: `output_padding{at}` must be 0 with padding{at} "
                f"{options.paddings[i]!r}, whose output is n*stride; got "
                f"{given if whole else more!r}."
            )


def dimension_numbers_of(
    function: str, data_format: object, rank: int
) -> tuple[str, str, str]:
    """The dimension numbers of a `data_format` such as ``"NHWC"``, or the error."""
    allowed = data_formats(rank)
    if not isinstance(data_format, str):
        raise TypeError(
            f"{function}: `data_format` must be a string; got {data_format!r}."
        )
    if not allowed:
        raise ValueError(
            f"{function}: `data_format` is for 1, 2 or 3 spatial axes; got "
            f"{data_format!r} with {rank}. Use `dimension_numbers`."
        )
    if data_format not in allowed:
        raise ValueError(
            f"{function}: `data_format` must be {allowed[0]!r} or {allowed[1]!r}; got "
            f"{data_format!r}.{_format_hint(data_format, allowed)}"
        )
    return from_data_format(data_format)


def _format_hint(data_format: str, allowed: tuple[str, ...]) -> str:
    """The hint for a wrong data format, such as one of another rank."""
    written = data_format.upper().removeprefix("CHANNELS_")
    if written == "LAST" or re.fullmatch("N[DHWLT]*C", written):
        written = allowed[1]
    elif written == "FIRST" or re.fullmatch("N?C[DHWLT]*N?", written):
        written = allowed[0]
    return arguments.did_you_mean(written, allowed)
