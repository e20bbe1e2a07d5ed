"""The choice as it is where memory is scarce: small layers are cut into pieces too."""

import contextlib
from collections.abc import Iterator

import jax

from jconvt import _choice


@contextlib.contextmanager
def small_pieces() -> Iterator[None]:
    """Within it a kilobyte of temporaries is too much to keep."""
    before = _choice.KEPT_BYTES
    _forget()
    _choice.KEPT_BYTES = 2**10
    try:
        yield
    finally:
        _choice.KEPT_BYTES = before
        _forget()


def _forget() -> None:
    """The choices made, and the programs made by them."""
    _choice._cheapest.cache_clear()
    jax.clear_caches()
