"""Where the traceback of a bad call ends: at the caller's line.

What a caller wrote wrong is told by the message; the path from the public function to
the check that refused it tells the caller nothing. JAX and Flax leave out their own
frames too, and one switch brings all of them back: JAX_TRACEBACK_FILTERING=off.
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
    """For a public function: its own TypeErrors and ValueErrors end at its caller.

    What JAX, Flax or a function of the caller's raises below it keeps all its frames.
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
    """Of a method of a private base class Python says the base's name; say the user's.

    Python itself raises where the arguments do not fit the parameters: there is no
    frame below this package's wrapper then.
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
    """Whether the frame that raised is."""
    name = ""
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get("__name__", "")
        traceback = traceback.tb_next
    return name.partition(".")[0] == _PACKAGE
