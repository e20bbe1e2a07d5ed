"""What a user may write for an option -> canonical tuples of ints, or the error.

Every message reads: function, argument in backticks, rule, what came, and a hint where
there is one. Nothing here knows JAX; shapes may hold symbolic dimensions.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jconvt._call.geometry import Size
from jconvt._call.padding import DIALECTS

IntOrInts = int | Sequence[int]
"""An int for all spatial axes, or a tuple or list with one int for each."""

AxisPadding = str | tuple[int, int]
"""A dialect's name, or (low, high): the canonical padding of one spatial axis."""

Padding = int | str | Sequence[int | str | Sequence[int]]
"""An int or a dialect's name, or for each spatial axis an int, a (low, high) pair or a
name."""

Shape = Sequence[Size]


LARGEST_OPTION = 2**31 - 1
"""No option of use is larger, and sums and products of two stay below 2**63."""


def is_int(value: object) -> bool:
    """Whether `value` is a Python or NumPy integer; bools are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_symbolic(value: object) -> bool:
    """Whether `value` is a symbolic dimension: by the attribute JAX looks for."""
    return hasattr(value, "dimension_as_value")


def _show(value: object) -> str:
    return f"{value!r} of type {_kind(value)}"


def _kind(value: object) -> str:
    return type(value).__name__


def _when_traced(value: object) -> str:
    """A hint where JAX has made an argument of a traced function of `value`."""
    if not _kind(value).endswith("Tracer"):
        return ""
    return " Options are static: name this one in `static_argnames` of jax.jit."


def check_int(function: str, argument: str, value: object, minimum: int) -> int:
    """`value` as an int of at least `minimum`, or a TypeError or ValueError."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(
            f"{function}: `{argument}` must be an int; got {_show(value)}."
            f"{_when_traced(value)}"
        )
    if value < minimum:
        raise ValueError(
            f"{function}: `{argument}` must be at least {minimum}; got {value}."
        )
    return int(value)


def check_ints(
    function: str, argument: str, value: object, rank: int, minimum: int
) -> tuple[int, ...]:
    """`value` as one int of at least `minimum` for each of `rank` spatial axes."""
    if is_int(value):
        return (check_int(function, argument, value, minimum),) * rank
    if not isinstance(value, tuple | list):
        raise TypeError(
            f"{function}: `{argument}` must be an int or a tuple or list of {rank} "
            f"ints; got {_show(value)}.{_when_traced(value)}"
        )
    if len(value) != rank:
        raise ValueError(
            f"{function}: `{argument}` must hold {rank} ints, one for each spatial "
            f"axis; got {len(value)}: {value!r}."
        )
    return tuple(
        check_int(function, f"{argument}[{i}]", v, minimum) for i, v in enumerate(value)
    )


def check_symmetric_padding(
    function: str, value: object, rank: int
) -> tuple[tuple[int, int], ...]:
    """PyTorch's padding, an int or `rank` ints of at least 0, as (low, high) crops."""
    hint = " Strings and (low, high) pairs are for jconvt.conv_transpose."
    items = value if isinstance(value, tuple | list) else ()
    if isinstance(value, str) or any(isinstance(v, tuple | list | str) for v in items):
        raise TypeError(
            f"{function}: `padding` must be an int or a tuple or list of {rank} ints; "
            f"got {_show(value)}.{hint}"
        )
    return tuple((p, p) for p in check_ints(function, "padding", value, rank, 0))


def check_padding(
    function: str, value: object, rank: int
) -> str | tuple[AxisPadding, ...]:
    """Any padding: a dialect's name, or one padding for each axis."""
    if isinstance(value, str):
        return _check_name(
            function, "padding", value, f"an int, {rank} ints, {rank} (low, high) pairs"
        )
    if is_int(value):
        both = check_int(function, "padding", value, 0)
        return ((both, both),) * rank
    if not isinstance(value, tuple | list):
        raise TypeError(
            f"{function}: `padding` must be an int, a tuple or list of {rank} ints or "
            f"(low, high) pairs, or a string; got {_show(value)}."
        )
    if len(value) != rank:
        raise ValueError(
            f"{function}: `padding` must hold {rank} ints, (low, high) pairs or names, "
            f"one for each spatial axis; got {len(value)}: {value!r}."
        )
    axes = tuple(
        _check_axis_padding(function, f"padding[{i}]", item)
        for i, item in enumerate(value)
    )
    name = axes[0] if axes else None
    return name if isinstance(name, str) and set(axes) == {name} else axes


def _check_name(function: str, argument: str, value: str, others: str) -> str:
    if value.upper() not in DIALECTS:
        raise ValueError(
            f"{function}: `{argument}` must be {others} or one of "
            f"{', '.join(DIALECTS)}; got {value!r}."
        )
    return value.upper()


def _check_axis_padding(function: str, argument: str, item: Any) -> AxisPadding:
    if isinstance(item, str):
        return _check_name(function, argument, item, "an int, a (low, high) pair")
    if not isinstance(item, tuple | list):
        both = check_int(function, argument, item, 0)
        return both, both
    if len(item) != 2:
        raise ValueError(
            f"{function}: `{argument}` must be an int or a (low, high) pair; got "
            f"{item!r}."
        )
    for value in item:
        if not is_int(value):
            raise TypeError(
                f"{function}: `{argument}` must hold two ints; got {item!r}."
            )
    return int(item[0]), int(item[1])


def check_output_padding(
    function: str,
    value: object,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """`output_padding`, smaller than stride or dilation on every axis (PyTorch's rule).

    A larger one would append positions that some smaller output has too, one block on.
    """
    result = check_ints(function, "output_padding", value, len(stride), 0)
    for i, (a, s, d) in enumerate(zip(result, stride, dilation, strict=True)):
        if a >= s and a >= d:
            raise ValueError(
                f"{function}: `output_padding` must be smaller than `stride` or "
                f"`dilation` on every spatial axis; on axis {i} got output_padding "
                f"{a}, stride {s}, dilation {d}."
            )
    return result


def check_output_size(
    function: str, value: object, rank: int
) -> tuple[Size, ...] | None:
    """`output_size` as None or one size for each spatial axis, symbolic ones kept."""
    if value is None:
        return None
    if is_int(value):
        value = (check_int(function, "output_size", value, 0),) * rank
    if is_symbolic(value):
        value = (value,) * rank
    if not isinstance(value, tuple | list):
        raise TypeError(
            f"{function}: `output_size` must be None, an int or a tuple or list of "
            f"{rank} ints; got {_show(value)}."
        )
    if len(value) != rank:
        raise ValueError(
            f"{function}: `output_size` must hold {rank} ints, one for each spatial "
            f"axis; got {len(value)}: {value!r}."
        )
    return tuple(
        v if is_symbolic(v) else check_int(function, f"output_size[{i}]", v, 0)
        for i, v in enumerate(value)
    )


def check_shape(function: str, argument: str, value: object) -> tuple[Size, ...]:
    """A shape: a tuple or list of ints of at least 0, or symbolic dimensions."""
    if not isinstance(value, tuple | list):
        raise TypeError(
            f"{function}: `{argument}` must be a tuple or list of ints; got "
            f"{_without_values(value)}."
        )
    return tuple(
        v if is_symbolic(v) else check_int(function, f"{argument}[{i}]", v, 0)
        for i, v in enumerate(value)
    )


def _without_values(value: object) -> str:
    """What came in place of a shape, and what to give of it; no array is printed."""
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple):
        return _show(value)
    # A vector of ints might be meant as the sizes themselves.
    sizes = " (or, if it holds the sizes, its .tolist())"
    is_vector = len(shape) == 1 and hasattr(value, "tolist")
    return f"{_kind(value)}. Give its .shape{sizes if is_vector else ''}"


def check_channels(function: str, in_channels: Size, groups: int) -> None:
    """The input channels must split evenly into groups."""
    if in_channels % groups:
        raise ValueError(
            f"{function}: the input channels must be divisible by `groups`; got "
            f"{in_channels} channels and groups={groups}."
        )


def spatial_rank(function: str, weight_shape: Shape) -> int:
    """The number of spatial axes, which the weight's shape tells."""
    if len(weight_shape) < 2:
        raise ValueError(
            f"{function}: `weight` must have at least the axes C_in and C_out/groups; "
            f"got shape {tuple(weight_shape)}."
        )
    return len(weight_shape) - 2


def check_magnitude(function: str, argument: str, values: Iterable[int]) -> None:
    """A ValueError for an option so large that sizes made of it overflow 64 bits."""
    for value in values:
        if abs(value) > LARGEST_OPTION:
            raise ValueError(
                f"{function}: `{argument}` must not be larger than {LARGEST_OPTION}; "
                f"got {value}."
            )
