"""The state of a stream, its checks, and how parts of a batch begin anew."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.typing import ArrayLike

from jconvt._call.arguments import Shape
from jconvt._call.geometry import Size
from jconvt._call.numerics import Numerics
from jconvt._call.tracebacks import ends_traceback
from jconvt.streaming._stream import Stream


class State(NamedTuple):
    """What a stream remembers between two chunks: arrays alone, zeros at the beginning.

    `init` makes it; `step` takes one and gives the next. It is a pytree, and passes
    through every transformation of JAX.

    Attributes:
      sums: partial sums of the outputs that are not emitted yet, of the shape of an
        output with the batch axis first, if there is one, in the accumulation dtype.
      heard: int32 of shape ``(N,)``, or ``()`` for unbatched input: input elements so
        far, counted until the delay is over.
      missing: int32 of the shape of `heard`: input elements since the end of an item's
        signal, counted until nothing of the signal is left.
    """

    sums: jax.Array
    heard: jax.Array
    missing: jax.Array


export.register_namedtuple_serialization(
    State, serialized_name="jconvt.streaming.State"
)


@ends_traceback
def reset(state: State, where: ArrayLike) -> State:
    """The state in which some items of a batch begin a new signal.

    What was left of their old signals is dropped. To hear the end of a signal first,
    give `masked_step` a few elements that its mask leaves out.

    Args:
      state: what `init` or `step` gave.
      where: bools of shape ``(N,)``, or ``()`` for unbatched input: which items begin
        anew.

    Returns:
      The new state.

    Raises:
      TypeError: `state` is no state, or `where` does not hold bools.
      ValueError: `where` has another shape.

    Example:
      >>> import jax.numpy as jnp, jconvt.streaming
      >>> state = jconvt.streaming.init((1, 1, 3), batch=2)
      >>> chunk, weight = jnp.ones((2, 1, 4)), jnp.ones((1, 1, 3))
      >>> state, y = jconvt.streaming.step(state, chunk, weight)
      >>> state = jconvt.streaming.reset(state, jnp.array([True, False]))
      >>> state, y = jconvt.streaming.step(state, chunk, weight)
      >>> y[:, 0]
      Array([[1., 2., 3., 3.],
             [3., 3., 3., 3.]], dtype=float32)
    """
    function = "streaming.reset"
    check_state(function, state)
    check_bools(function, "where", where, np.shape(state.heard))

    def begin(a: jax.Array) -> jax.Array:
        others = [*range(np.ndim(where), a.ndim)]
        return jnp.where(jnp.expand_dims(where, others), jnp.zeros((), a.dtype), a)

    return jax.tree.map(begin, state)


def check_bools(function: str, argument: str, value: Any, shape: Shape) -> Any:
    """`value` if it is an array of bools of this shape, or the error."""
    if getattr(value, "dtype", None) != np.bool_:
        found = getattr(value, "dtype", None)
        said = f"dtype {found}" if found is not None else type(value).__name__
        raise TypeError(
            f"{function}: `{argument}` must be a JAX or NumPy array of bools; got "
            f"{said}."
        )
    if value.shape != tuple(shape):
        raise ValueError(
            f"{function}: `{argument}` must have shape {tuple(shape)}; got "
            f"{value.shape}."
        )
    return value


def check_state(function: str, state: Any) -> None:
    """A TypeError unless `state` is a `State`."""
    if not isinstance(state, State):
        raise TypeError(
            f"{function}: `state` must be what jconvt.streaming.init or step gave; got "
            f"{type(state).__name__}. A step gives (state, outputs)."
        )


def check_sums(
    function: str, state: State, shape: Sequence[Size | None], numerics: Numerics
) -> None:
    """An error unless the partial sums fit; None in `shape` stands for any size."""
    sums = state.sums
    fits = len(sums.shape) == len(shape) and all(
        wanted is None or found == wanted
        for found, wanted in zip(sums.shape, shape, strict=True)
    )
    if not fits:
        shown = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(
            f"{function}: `state` must hold sums of shape ({shown}) for these "
            f"arguments; got {sums.shape}. Give jconvt.streaming.init the same options "
            f"and the sizes of the chunk."
        )
    if sums.dtype != numerics.accumulation:
        raise TypeError(
            f"{function}: `state` must hold sums of dtype {numerics.accumulation} for "
            f"these arguments; got {sums.dtype}. Give jconvt.streaming.init as `dtype` "
            f"what input, weight and bias promote to."
        )


def sums_shape(
    stream: Stream, output_shape: Sequence[Size | None], batched: bool
) -> tuple[Size | None, ...]:
    """The shape of `State.sums`, from the shape of a chunk's output."""
    shape = list(output_shape)
    *batch, streamed = stream.output_axes(batched)
    shape[streamed] = stream.kept
    return (*(shape.pop(axis) for axis in batch), *shape)
