"""What was probably meant by an unknown name: the end of an error message."""

import argparse
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from jconvt._call.layout import data_formats
from jconvt._call.padding import DIALECTS


def meant(word: str, known: Iterable[str]) -> str:
    """``" Did you mean 'float16'?"``, or nothing if no known name is like `word`.

    Of names that are about as like, one with the same first letter is taken. The cutoff
    is the highest that still finds float16 for fp16.
    """
    names = {name.lower().lstrip("-"): name for name in known}
    word = word.lower().lstrip("-")
    found = get_close_matches(word, names, n=3, cutoff=0.5)
    found.sort(key=lambda name: name[0] != word[0])
    return f" Did you mean {names[found[0]]!r}?" if found else ""


def hint(message: str, options: argparse.Namespace) -> str:
    """What was meant by the unknown name, if `message` complains about one."""
    for option, known in _KNOWN.items():
        if f"`{option}` must be" not in message:
            continue
        for word in str(getattr(options, option, None)).split(","):
            if message.endswith(f"got {word!r}."):
                return meant(word, known(options))
    return ""


_KNOWN: dict[str, Callable[[argparse.Namespace], Iterable[str]]] = {
    "dtype": lambda _: _dtypes(),
    "platform": lambda _: _platforms(),
    "lowering": lambda _: _lowerings(),
    "contenders": lambda _: (*_lowerings(), "native"),
    "padding": lambda _: DIALECTS,
    "data_format": lambda options: data_formats(len(options.weight_shape) - 2),
}
"""An option -> the names that it may have."""

# Imported when they are needed, so that a shape is answered without them.


def _dtypes() -> list[str]:
    import jax.numpy as jnp
    import numpy as np

    found = (getattr(value, "dtype", None) for value in vars(jnp).values())
    dtypes = {dtype for dtype in found if isinstance(dtype, np.dtype)}
    return sorted(d.name for d in dtypes if jnp.issubdtype(d, jnp.number))


def _platforms() -> tuple[str, ...]:
    from jconvt._choice.choose import PLATFORMS

    return (*PLATFORMS, "gpu")


def _lowerings() -> tuple[str, ...]:
    from jconvt._lowerings.table import LOWERINGS

    return ("auto", *LOWERINGS)
