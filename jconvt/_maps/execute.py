"""From checked options and arrays to the result: what every public function ends in."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import ParamSpec, TypeVar, Unpack, cast

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import Shape
from jconvt._call.call import Call, RunOptions, check_symbolic_trim, make_call
from jconvt._call.lowerings import PLAIN_LAX
from jconvt._call.numerics import Numerics, check_array
from jconvt._call.options import Options
from jconvt._choice.pinned import check_lowering
from jconvt._maps.bilinear import bilinear
from jconvt._maps.explicit_axes import as_channels_of
from jconvt._maps.primitive import PRIMITIVES
from jconvt._maps.tools import enter_rules

P = ParamSpec("P")
R = TypeVar("R")


def execute(
    options: Options,
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    *,
    dtype: DTypeLike | None = None,
    **run_options: Unpack[RunOptions],
) -> jax.Array:
    """Check the arrays against the options, then run one compiled program.

    `dtype` is what to cast the arrays to; None: what they promote to.
    """
    x, w, b = check_arrays(options.function, input, weight, bias)
    call = settle_call(
        options,
        (x.shape, w.shape, None if b is None else b.shape),
        [dtype] if dtype is not None else [a for a in (x, w, b) if a is not None],
        **run_options,
    )
    return run(x, w, b, call)


def check_arrays(
    function: str, input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """The operands as arrays, or the error."""
    return (
        check_array(function, "input", input),
        check_array(function, "weight", weight),
        None if bias is None else check_array(function, "bias", bias),
    )


def settle_call(
    options: Options,
    shapes: tuple[Shape, Shape, Shape | None],
    operands: Sequence[ArrayLike | DTypeLike],
    **run: Unpack[RunOptions],
) -> Call:
    """The call for input, weight and bias of these shapes, or the error.

    `operands` are the arrays or dtypes that are promoted together.
    """
    enter_rules(PRIMITIVES)
    call = make_call(options, shapes, operands, **run)
    static = call.is_static(tuple(shapes[0]))
    check_lowering(options.function, call.lowering, call.geometry, static)
    check_symbolic_trim(options.function, call, tuple(shapes[0]))
    return call


def as_program(*static: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make one program of a function of input, weight, bias, call, and so on.

    Plain lax runs as it stands: a tool that replaces functions of lax while a model is
    called must neither find nor leave a cached trace.
    """

    def decorate(run: Callable[P, R]) -> Callable[P, R]:
        program = jax.jit(run, static_argnums=static, inline=True)

        @wraps(run)
        def either(*args: P.args, **named: P.kwargs) -> R:
            call = cast(Call, args[3])
            chosen = run if call.lowering == PLAIN_LAX else program
            return chosen(*args, **named)

        return either

    return decorate


@as_program(3)
@jax.named_scope("jconvt.conv_transpose")
def run(x: jax.Array, w: jax.Array, b: jax.Array | None, call: Call) -> jax.Array:
    """A settled call's output."""
    layout, dtype = call.layout, call.operand
    x, w = jnp.asarray(x, dtype), jnp.asarray(w, dtype)
    if call.batched:
        y = bilinear(x, w, call)
    else:
        x = jnp.expand_dims(x, layout.input[0])
        y = bilinear(x, w, replace(call, batched=True))
        y = jnp.squeeze(y, layout.output[0])
    if b is None:
        return y
    channel = layout.output[1]
    if not call.batched:
        channel -= channel > layout.output[0]
    b = as_channels_of(y, jnp.asarray(b, dtype), channel)
    return add_bias(y, b, channel, call.numerics)


def add_bias(y: jax.Array, b: jax.Array, channel: int, numerics: Numerics) -> jax.Array:
    """`y` plus one number for each place of axis `channel`, of the result's dtype.

    Added in the accumulation dtype, so that the bias gradient is summed in it too.
    """
    wide = numerics.accumulation
    b = jnp.expand_dims(b, [axis for axis in range(y.ndim) if axis != channel])
    return (y.astype(wide) + b.astype(wide)).astype(numerics.result)
