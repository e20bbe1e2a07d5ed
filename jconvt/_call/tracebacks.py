"""Ends the traceback of an error in a call at the caller's line.

The message says what is wrong; the frames between the public function and the check do
not help the caller. JAX and Flax hide their own frames too. With
JAX_TRACEBACK_FILTERING=off all frames are shown.
"""

import functools
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

import jax

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
            _name_public_class(error, function, args)
            if _is_of_this_package(error.__traceback__) and not _is_whole():
                # Without a traceback the bare `raise`, which adds no frame, leaves
                # nothing of this call: the first frame is the caller's.
                error.__traceback__ = None
            raise

    return call


def _name_public_class(
    error: Exception, function: Callable[..., object], args: tuple[object, ...]
) -> None:
    """Replaces a private base class by the user's class in a message of Python.

    Python itself raises where the arguments do not fit the parameters; then there is no
    frame below this package's wrapper.
    """
    traceback = error.__traceback__
    base, _, method = function.__qualname__.rpartition(".")
    if not base.startswith("_") or traceback is None or traceback.tb_next:
        return
    for cls in type(args[0]).__mro__ if args else ():
        ours = cls.__module__.partition(".")[0] == _PACKAGE
        if ours and not cls.__name__.startswith("_"):
            said = str(error).replace(f"{base}.{method}", f"{cls.__name__}.{method}")
            error.args = (said,)
            return


def _is_whole() -> bool:
    return getattr(jax.config, "jax_traceback_filtering", None) == "off"


def _is_of_this_package(traceback: TracebackType | None) -> bool:
    """Whether the frame that raised belongs to this package."""
    name = ""
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get("__name__", "")
        traceback = traceback.tb_next
    return name.partition(".")[0] == _PACKAGE
