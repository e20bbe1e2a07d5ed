"""The constructor's signature, which NNX's metaclass hides from `help` and editors."""

import inspect
from typing import TypeVar

from flax import nnx

M = TypeVar("M", bound=type[nnx.Module])


def shows_constructor(cls: M) -> M:
    """Let `inspect.signature` of a module class be that of its constructor."""
    signature = inspect.signature(cls.__init__)
    _, *parameters = signature.parameters.values()
    cls.__signature__ = signature.replace(parameters=parameters)
    return cls
