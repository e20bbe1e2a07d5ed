"""From checked options and arrays to the result: the one path of every front door."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import Shape
from jconvt._call.call import Plan
from jconvt._call.numerics import Numerics, Precision, check_array, settle
from jconvt._call.options import Options
from jconvt._call.recipe import Recipe, make_recipe
from jconvt._choice.pinned import check_lowering
from jconvt._maps.bilinear import bilinear


def execute(
    options: Options,
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    *,
    output_size: object = None,
    precision: Precision = None,
    preferred_element_type: DTypeLike | None = None,
    lowering: str = "auto",
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Check the arrays against the options, then run one compiled program.

    `dtype` is what to cast the arrays to; None: what they promote to.
    """
    x, w, b = check_arrays(options.function, input, weight, bias)
    call = settle_call(
        options,
        (x.shape, w.shape, None if b is None else b.shape),
        [dtype] if dtype is not None else [a for a in (x, w, b) if a is not None],
        output_size=output_size,
        precision=precision,
        preferred_element_type=preferred_element_type,
        lowering=lowering,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """All that is static about a call, checked.

    Attributes:
      recipe: what to do, without sizes.
      promoted: dtype to which the operands are cast.
      numerics: how to compute; its `result` is the dtype of the output.
      lowering: ``"auto"``, or a formulation's name.
    """

    recipe: Recipe
    promoted: np.dtype[Any]
    numerics: Numerics
    lowering: str


def settle_call(
    options: Options,
    shapes: tuple[Shape, Shape, Shape | None],
    operands: Sequence[ArrayLike | DTypeLike],
    *,
    output_size: object,
    precision: Precision,
    preferred_element_type: DTypeLike | None,
    lowering: str,
) -> Call:
    """The call for input, weight and bias of these shapes, or the error.

    `operands` are the arrays or dtypes that are promoted together.
    """
    function = options.function
    recipe = make_recipe(options, *shapes, output_size)
    promoted, numerics = settle(function, operands, precision, preferred_element_type)
    static = recipe.layout.is_static(tuple(shapes[0]), recipe.batched)
    return Call(
        recipe=recipe,
        promoted=promoted,
        numerics=numerics,
        lowering=check_lowering(function, lowering, recipe.geometry, static),
    )


@partial(jax.jit, static_argnums=(3,), inline=True)
@jax.named_scope("jconvt.conv_transpose")
def run(x: jax.Array, w: jax.Array, b: jax.Array | None, call: Call) -> jax.Array:
    """A settled call's output."""
    recipe, promoted = call.recipe, call.promoted
    layout = recipe.layout
    x, w = x.astype(promoted), w.astype(promoted)
    if not recipe.batched:
        x = jnp.expand_dims(x, layout.input[0])
    plan = Plan(
        geometry=recipe.geometry,
        wrap=recipe.wrap,
        layout=layout,
        operand=promoted,
        numerics=call.numerics,
        lowering=call.lowering,
    )
    y = bilinear(x, w, plan)
    if not recipe.batched:
        y = jnp.squeeze(y, layout.output[0])
    if b is None:
        return y
    channel = layout.output[1]
    if not recipe.batched:
        channel -= channel > layout.output[0]
    return add_bias(y, b.astype(promoted), channel, call.numerics)


def add_bias(y: jax.Array, b: jax.Array, channel: int, numerics: Numerics) -> jax.Array:
    """`y` plus one number for each place of axis `channel`, of the result's dtype.

    Added in the accumulation dtype, so that the bias gradient is summed in it too.
    """
    wide = numerics.accumulation
    b = jnp.expand_dims(b, [axis for axis in range(y.ndim) if axis != channel])
    return (y.astype(wide) + b.astype(wide)).astype(numerics.result)
