"""Random streams of a constructor: what draws the parameters, or the error."""

from collections.abc import Callable

import jax
from flax import nnx


def parameter_keys(layer: str, rngs: object) -> Callable[[], jax.Array]:
    """The stream that parameters are drawn from: a key at each call."""
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(
            f"{layer}: `rngs` must be a flax.nnx.Rngs; got {type(rngs).__name__}. "
            f"nnx.Rngs(0) makes one of a seed, nnx.Rngs(key) of a key."
        )
    if not hasattr(rngs, "params"):
        streams = [repr(name) for name in vars(rngs) if not name.startswith("_")]
        raise ValueError(
            f"{layer}: `rngs` must have a stream 'params', or a default one; got "
            f"{', '.join(streams) or 'no stream'}. nnx.Rngs(0) makes a default one."
        )
    return rngs.params
