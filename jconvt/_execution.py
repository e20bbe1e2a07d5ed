"""From checked options and arrays to the result: the one path of every front door."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jconvt._bilinear import bilinear
from jconvt._numerics import Numerics, Precision, check_array, settle
from jconvt._pinned import check_lowering
from jconvt._plan import Plan, Shape
from jconvt._recipe import Options, Recipe, make_recipe


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
    call = prepare(
        options,
        input,
        weight,
        bias,
        output_size=output_size,
        precision=precision,
        preferred_element_type=preferred_element_type,
        lowering=lowering,
        dtype=dtype,
    )
    return run(*call)


class Call(NamedTuple):
    """The arguments of `run`, checked."""

    input: jax.Array
    weight: jax.Array
    bias: jax.Array | None
    recipe: Recipe
    promoted: np.dtype[Any]
    numerics: Numerics
    lowering: str


def prepare(
    options: Options,
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    *,
    output_size: object,
    precision: Precision,
    preferred_element_type: DTypeLike | None,
    lowering: str,
    dtype: DTypeLike | None = None,
    whole: Callable[[Shape], Shape] = tuple,
) -> Call:
    """Check the arrays against the options.

    `whole` tells from the shape of `input` that of the array which it is a part of.
    """
    function = options.function
    x = check_array(function, "input", input)
    w = check_array(function, "weight", weight)
    b = None if bias is None else check_array(function, "bias", bias)
    recipe = make_recipe(
        options, whole(x.shape), w.shape, None if b is None else b.shape, output_size
    )
    types = [dtype] if dtype is not None else [a for a in (x, w, b) if a is not None]
    promoted, numerics = settle(function, types, precision, preferred_element_type)
    static = recipe.layout.is_static(x.shape, recipe.batched)
    lowering = check_lowering(function, lowering, recipe.geometry, static)
    return Call(x, w, b, recipe, promoted, numerics, lowering)


@partial(jax.jit, static_argnums=(3, 4, 5, 6), inline=True)
@jax.named_scope("jconvt.conv_transpose")
def run(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None,
    recipe: Recipe,
    promoted: np.dtype[Any],
    numerics: Numerics,
    lowering: str,
) -> jax.Array:
    """Plan and bias: the program."""
    layout = recipe.layout
    x, w = x.astype(promoted), w.astype(promoted)
    if not recipe.batched:
        x = jnp.expand_dims(x, layout.input[0])
    plan = Plan(
        geometry=recipe.geometry,
        wrap=recipe.wrap,
        layout=layout,
        operand=promoted,
        numerics=numerics,
        lowering=lowering,
    )
    y = bilinear(x, w, plan)
    if not recipe.batched:
        y = jnp.squeeze(y, layout.output[0])
    if b is None:
        return y
    channel = layout.output[1]
    if not recipe.batched:
        channel -= channel > layout.output[0]
    around = [axis for axis in range(y.ndim) if axis != channel]
    b = jnp.expand_dims(b.astype(promoted), around)
    # In the accumulation dtype, so that the bias gradient is summed in it too.
    wide = numerics.accumulation
    return (y.astype(wide) + b.astype(wide)).astype(numerics.result)
