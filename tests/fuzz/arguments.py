"""Calls with one bad argument: the error names it, and comes before tracing."""

import contextlib
import dataclasses
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from jax import lax

import jconvt
from fuzz.check import Wrong
from jconvt._call.arguments import LARGEST_OPTION
from jconvt._call.padding import DIALECTS
from jconvt._lowerings.table import LOWERINGS
from jconvt._maps.primitive import PRIMITIVES

PACKAGE = str(Path(jconvt.__file__).parent)
RANKS = {
    "conv_transpose": (0, 1, 2, 3, 4),
    "output_shape": (0, 1, 2, 3, 4),
    "explain": (0, 1, 2, 3, 4),
    "conv_transpose1d": (1,),
    "conv_transpose2d": (2,),
    "conv_transpose3d": (3,),
}
BY_SHAPE = ("output_shape", "explain")


@dataclasses.dataclass(frozen=True)
class BadCall:
    """A front door, the rank, and one bad argument."""

    front: str
    rank: int
    argument: str
    value: Any

    def line(self) -> str:
        """The call as Python."""
        return (
            f"BadCall({self.front!r}, {self.rank}, {self.argument!r}, {self.value!r}),"
        )


NOT_INTS = st.one_of(
    st.floats(),
    st.booleans(),
    st.text(max_size=3),
    st.binary(max_size=2),
    st.complex_numbers(),
    st.sampled_from([np.float32(2), np.bool_(True), np.array(2), np.array([1, 1])]),
    st.sampled_from([{}, {1: 1}, {1}, range(2), object, slice(2), Ellipsis]),
)
HUGE = st.integers(LARGEST_OPTION + 1, 2**70)


def _ints(
    rank: int, minimum: int, *, scalar_none: bool = True
) -> st.SearchStrategy[Any]:
    """Anything but an int of at least `minimum`, or one for each axis."""
    below = st.integers(-(2**40), minimum - 1)
    bad = NOT_INTS | below
    lists = st.lists(bad, min_size=1, max_size=3)
    longer = st.lists(st.integers(1, 3), max_size=6).filter(lambda v: len(v) != rank)
    kinds = [bad, lists, longer, longer.map(tuple)]
    return st.one_of(*kinds, st.none()) if scalar_none else st.one_of(*kinds)


def _paddings(front: str, rank: int) -> st.SearchStrategy[Any]:
    named = front in ("conv_transpose", *BY_SHAPE)
    bad = _ints(rank, 0).filter(
        lambda v: not (named and isinstance(v, str) and v.upper() in DIALECTS)
    )
    if not named:
        pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1)
        return bad | st.sampled_from(list(DIALECTS)) | pairs
    odd = st.lists(
        st.lists(st.integers(-2, 2), max_size=4).filter(lambda p: len(p) != 2),
        min_size=1,
        max_size=3,
    )
    kinds = st.lists(st.tuples(NOT_INTS, st.integers(0, 2)), min_size=1, max_size=3)
    return bad | odd | kinds


def _is_precision(value: Any) -> bool:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        lax.Precision(value)
        return True
    return False


def _is_dtype(value: Any) -> bool:
    with contextlib.suppress(Exception):
        np.dtype(value)
        return True
    return False


ARRAYS = st.sampled_from(
    [
        [[1.0]], 3, 2.5, None, "x", (1, 2), np.bool_(True), np.float32(1),
        np.ones((), np.float32), np.ones((1,) * 9, np.float32), np.array("text"),
        np.array([None]), np.zeros((2, 2), bool), np.ma.ones((2, 2)),
        np.ones(7, object), np.zeros((2, 6), ">f4"), np.zeros((5, 5, 5), np.float32),
        np.array(["2020-01-01"], "datetime64[D]"), np.zeros((2, 0), np.float32),
    ]
)  # fmt: skip


def _bad(front: str, rank: int, argument: str) -> st.SearchStrategy[Any]:
    if argument in ("stride", "dilation", "groups"):
        bad = _ints(1 if argument == "groups" else rank, 1)
        huge = HUGE if rank or argument == "groups" else st.nothing()
        return bad | huge
    if argument == "padding":
        return _paddings(front, rank) | (HUGE if rank else st.nothing())
    if argument == "output_padding":
        return _ints(rank, 0) | (st.integers(1, 2**70) if rank else st.nothing())
    if argument == "output_size":
        bad = _ints(rank, 0, scalar_none=False)
        return bad | (st.integers(100, 2**70) if rank else st.nothing())
    if argument == "lowering":
        return (NOT_INTS | st.none()).filter(
            lambda v: not isinstance(v, str) or v not in ("auto", *LOWERINGS)
        )
    if argument == "precision":
        return NOT_INTS.filter(lambda v: not _is_precision(v))
    if argument == "preferred_element_type":
        return st.one_of(
            st.text(min_size=1, max_size=3), st.floats(), st.integers()
        ).filter(lambda v: not _is_dtype(v)) | st.sampled_from(
            ["bool", "float16", "int32", "complex64", np.ones(2, np.float32)]
        )
    if argument in ("data_format", "dimension_numbers"):
        return NOT_INTS | st.lists(st.text("NCIOXYZ", max_size=5), max_size=4)
    return ARRAYS


COMMON = ("stride", "padding", "output_padding", "dilation", "groups", "output_size",
          "lowering", "precision")  # fmt: skip


@st.composite
def calls(draw: st.DrawFn) -> BadCall:
    """Any front door with one bad argument."""
    front = draw(st.sampled_from(list(RANKS)))
    rank = draw(st.sampled_from(RANKS[front]))
    names = list(COMMON)
    if front not in BY_SHAPE:
        names += ["input", "weight", "bias", "preferred_element_type"]
        names += ["dimension_numbers" if front == "conv_transpose" else "data_format"]
    argument = draw(st.sampled_from(names))
    return BadCall(front, rank, argument, draw(_bad(front, rank, argument)))


def _call(one: BadCall) -> Any:
    shapes = {"input": (2, 2, *(5,) * one.rank), "weight": (2, 3, *(3,) * one.rank)}
    function = getattr(jconvt, one.front)
    if one.front in BY_SHAPE:
        return function(*shapes.values(), **{one.argument: one.value})
    given = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    given |= {one.argument: one.value}
    return function(given.pop("input"), given.pop("weight"), **given)


# A bad value of these is blamed on what it does not fit.
BLAMED = {
    "input": ("`input`",),
    "weight": ("`weight`", "`input`", "input channels"),
    "groups": ("`groups`", "input channels"),
    "output_size": ("`output_size`", "output size"),
    "padding": ("`padding`", "`padding[", "output size"),
}


def check(some: list[BadCall]) -> None:
    """A `Wrong` for the first call that raises nothing, or something else."""
    for one in some:
        with _nothing_bound():
            try:
                _call(one)
            except (TypeError, ValueError) as error:
                _check_error(one, error)
                continue
            except Traced:
                pass
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                raise Wrong(one, reason) from error
        if not _may_fit(one):
            raise Wrong(one, "no error")


def _may_fit(one: BadCall) -> bool:
    """Arrays and formats of the pool can happen to be right."""
    empty = isinstance(one.value, np.ndarray) and 0 in one.value.shape
    return empty or (one.argument == "bias" and one.value is None)


def _check_error(one: BadCall, error: Exception) -> None:
    message = str(error)
    names = (
        *BLAMED.get(one.argument, ()),
        f"`{one.argument}`",
        f"`{one.argument}[",
    )
    if not message.startswith(f"{one.front}: ") or not any(n in message for n in names):
        raise Wrong(one, f"a message of other things: {message}") from error
    frames = traceback.extract_tb(error.__traceback__)
    # Ours ends at the caller's line, or in the package; another's in its own file.
    if not frames[-1].filename.startswith((PACKAGE, __file__)):
        raise Wrong(one, f"raised elsewhere, {frames[-1]}: {message}") from error


class Traced(Exception):
    """Something was traced before the check."""


@contextlib.contextmanager
def _nothing_bound() -> Iterator[None]:
    """Within it, none of the library's primitives can be traced."""

    def bind(*args: Any, **parameters: Any) -> None:
        raise Traced

    for primitive in PRIMITIVES.values():
        primitive.bind = bind
    try:
        yield
    finally:
        for primitive in PRIMITIVES.values():
            del primitive.bind
