"""The choice as it is where memory is scarce: small layers are cut into pieces too."""

import contextlib
from collections.abc import Iterator

import jax

from jconvt._choice import choose as choice


@contextlib.contextmanager
def small_pieces() -> Iterator[None]:
    """Within it a kilobyte of temporaries is too much to keep."""
    before = choice.KEPT_BYTES
    _forget()
    choice.KEPT_BYTES = 2**10
    try:
        yield
    finally:
        choice.KEPT_BYTES = before
        _forget()


def _forget() -> None:
    """The choices made, and the programs made by them."""
    choice._cheapest.cache_clear()
    jax.clear_caches()
