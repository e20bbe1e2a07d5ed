"""Checks of single arguments: each returns ints or tuples of ints, or raises.

Every message names the function, the argument in backticks and the rule, shows what was
given, and may end with a hint. Imports no JAX; shapes may hold symbolic dimensions.
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
"""The largest value of an option; sums and products of two stay below 2**63."""


def is_int(value: object) -> bool:
    """Whether `value` is a Python or NumPy integer; bools are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_symbolic(value: object) -> bool:
    """Whether `value` is a symbolic dimension, by the attribute that JAX looks for."""
    return hasattr(value, "dimension_as_value") and not _is_traced(value)


def _is_traced(value: object) -> bool:
    """Whether JAX has made `value` an argument of a traced function."""
    return _kind(value).endswith("Tracer")


def did_you_mean(word: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The hint ``" Did you mean 'float16'?"``, or nothing if no known name is similar.

    Of names that are about as similar, one with the same first letter is taken.
    """
    from difflib import get_close_matches  # for errors alone

    if not isinstance(word, str):
        return ""
    names = {name.lower().lstrip("-"): name for name in known}
    word = word.lower().lstrip("-")
    found = get_close_matches(word, names, n=3, cutoff=cutoff)
    found.sort(key=lambda name: name[:1] != word[:1])
    return f" Did you mean {names[found[0]]!r}?" if found else ""


def _got(value: object) -> str:
    """``"got 2.0 of type float."``, and what to do with a traced or symbolic value."""
    if _is_traced(value):
        return (
            f"got a {_kind(value)}. Options are static: name this one in "
            "`static_argnames` of jax.jit."
        )
    hint = " Of the options only `output_size` may be symbolic."
    return f"got {value!r} of type {_kind(value)}.{hint if is_symbolic(value) else ''}"


def _kind(value: object) -> str:
    return type(value).__name__


def check_int(function: str, argument: str, value: object, minimum: int) -> int:
    """`value` as an int of at least `minimum`, or a TypeError or ValueError."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"{function}: `{argument}` must be an int; {_got(value)}")
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
            f"ints; {_got(value)}"
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
            f"{_got(value)}{hint}"
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
            f"(low, high) pairs, or a string; {_got(value)}"
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
            f"{', '.join(DIALECTS)}; got {value!r}.{did_you_mean(value, DIALECTS)}"
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
                f"{function}: `{argument}` must hold two ints; {_got(value)}"
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
    """`output_size` as None, or one int or symbolic size for each spatial axis."""
    if value is None:
        return None
    if is_int(value):
        value = (check_int(function, "output_size", value, 0),) * rank
    if is_symbolic(value):
        value = (value,) * rank
    if not isinstance(value, tuple | list):
        raise TypeError(
            f"{function}: `output_size` must be None, an int or a tuple or list of "
            f"{rank} ints; {_got(value)}"
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
            f"{function}: `{argument}` must be a tuple or list of ints; "
            f"{_without_values(value)}"
        )
    return tuple(
        v if is_symbolic(v) else check_int(function, f"{argument}[{i}]", v, 0)
        for i, v in enumerate(value)
    )


def _without_values(value: object) -> str:
    """What was given instead of a shape, without the values of an array, and a hint."""
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple):
        return _got(value)
    # A vector of ints might be meant as the sizes themselves.
    sizes = " (or, if it holds the sizes, its .tolist())"
    is_vector = len(shape) == 1 and hasattr(value, "tolist")
    return f"got {_kind(value)}. Give its .shape{sizes if is_vector else ''}."


def check_channels(function: str, in_channels: Size, groups: int) -> None:
    """The input channels must split evenly into groups."""
    if in_channels % groups:
        raise ValueError(
            f"{function}: the input channels must be divisible by `groups`; got "
            f"{in_channels} channels and groups={groups}."
        )


def spatial_rank(function: str, weight_shape: Shape) -> int:
    """The number of spatial axes, from the weight's shape."""
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
