"""Ends the traceback of an error in a call at the caller's line.

The message says what is wrong; the frames between the public function and the check do
not help the caller. JAX and Flax hide their own frames too. With
JAX_TRACEBACK_FILTERING=off all frames are shown.
"""

import functools
import inspect
import re
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

import jax

from jconvt._call.arguments import did_you_mean

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGE = __name__.partition(".")[0]


def ends_traceback(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a public function: tracebacks of its own errors end at its caller.

    Errors that JAX, Flax or a function of the caller raise keep all their frames.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError) as error:
            _explain_misfit(error, function, args)
            if _is_of_this_package(error.__traceback__) and not _is_whole():
                # Without a traceback the bare `raise`, which adds no frame, leaves
                # nothing of this call: the first frame is the caller's.
                error.__traceback__ = None
            raise

    return call


def _explain_misfit(
    error: Exception, function: Callable[..., object], args: tuple[object, ...]
) -> None:
    """Improves a message of Python: the user's class, and a hint at the right keyword.

    Python itself raises where the arguments do not fit the parameters; then there is no
    frame below this package's wrapper.
    """
    traceback = error.__traceback__
    if traceback is not None and not traceback.tb_next:
        said = _with_public_class(str(error), function, args)
        error.args = (said + _keyword_hint(said, function),)


def _with_public_class(
    message: str, function: Callable[..., object], args: tuple[object, ...]
) -> str:
    """The message with the user's class in place of its private base class."""
    base, _, method = function.__qualname__.rpartition(".")
    for cls in type(args[0]).__mro__ if args and base.startswith("_") else ():
        ours = cls.__module__.partition(".")[0] == _PACKAGE
        if ours and not cls.__name__.startswith("_"):
            return message.replace(f"{base}.{method}", f"{cls.__name__}.{method}")
    return message


_ELSEWHERE = {
    "feature_group_count": "groups",
    "features": "out_channels",
    "filters": "out_channels",
    "in_features": "in_channels",
    "kernel": "weight",
    "lhs": "input",
    "out_features": "out_channels",
    "pads": "padding",
    "rhs": "weight",
    "w": "weight",
    "x": "input",
}
"""Keywords of other libraries that are not spelt like ours -> ours."""

_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'$")
"""The end of Python's message, before the versions that add a hint to it."""


_TOO_MANY = re.compile(r" positional arguments? but \d+ .*given$")
"""The end of Python's message where more arguments came without a name than may."""


def _keyword_hint(message: str, function: Callable[..., object]) -> str:
    """``". Did you mean 'stride'?"``, or which arguments are keywords, or nothing."""
    known = inspect.signature(function).parameters
    if _TOO_MANY.search(message):
        keywords = [k for k, p in known.items() if p.kind is p.KEYWORD_ONLY]
        return f". Write as keywords: {', '.join(keywords)}." if keywords else ""
    found = _UNKNOWN.search(message)
    if found is None:
        return ""
    keyword = found[1]
    meant = _ELSEWHERE.get(keyword)
    hint = did_you_mean(meant if meant in known else keyword, known)
    return f".{hint}" if hint else ""


def _is_whole() -> bool:
    return getattr(jax.config, "jax_traceback_filtering", None) == "off"


def _is_of_this_package(traceback: TracebackType | None) -> bool:
    """Whether the frame that raised belongs to this package."""
    name = ""
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get("__name__", "")
        traceback = traceback.tb_next
    return name.partition(".")[0] == _PACKAGE
