"""The three maps as JAX primitives: one equation each, formulated when lowered.

The trilinear form ``<y, f(x, w)>`` of output, input and weight has a derivative in each
argument, and these are the three maps of a layer: the output, the input gradient and
the weight gradient. Each transpose of one of them is another of them, so derivatives of
any order, in either mode, stay among the three and keep nothing but operands.

The platform is known when a program is lowered, and only then is a formulation chosen
and traced, for that platform alone and for one device's share of the batch.
"""

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.interpreters import ad, batching, mlir

from jconvt._call.call import Call, Sizes
from jconvt._call.problem import Map
from jconvt._maps.batching import fold, groups_of, place, unfold
from jconvt._maps.explicit_axes import on_each_device
from jconvt._maps.target import Target
from jconvt._maps.tools import enter_rules

if TYPE_CHECKING:
    from jax.extend.core import Primitive
else:
    # jax.extend would take 20 ms to import, most of them for Pallas.
    Primitive = type(lax.dot_general_p)


def apply(
    made: Map, one: jax.Array, other: jax.Array, call: Call, shape: Sizes
) -> jax.Array:
    """The map that makes one of the arrays, of `shape`, out of the other two."""
    return PRIMITIVES[made].bind(one, other, call=call, shape=shape)


class _Map(Primitive):
    """A primitive that JAX's tools know as soon as one of them runs it."""

    def bind(self, *operands: jax.Array, **parameters: Any) -> Any:
        enter_rules(PRIMITIVES)
        return super().bind(*operands, **parameters)


def _type(made: Map, one: Any, other: Any, *, call: Call, shape: Sizes) -> Any:
    """The type of the result; inside `jax.shard_map` it varies as the operands do."""
    del other
    dtype = call.numerics.result if made == Map.OUTPUT else call.operand
    return one.update(shape=shape, dtype=dtype, weak_type=False)


def _transpose(
    made: Map, to: Map, cotangent: jax.Array, one: Any, other: Any, *, call: Call,
    shape: Sizes,
) -> jax.Array:  # fmt: skip
    """The cotangent of operand `to`."""
    del shape
    if not jnp.issubdtype(call.operand, jnp.inexact):
        raise TypeError(
            "conv_transpose: a transposed convolution of integers has no transpose, "
            "as JAX has none of most of their operations; got operands of dtype "
            f"{call.operand}. Convert `input` and `weight` to floats first."
        )
    arrays = dict(zip(made.operands, (one, other), strict=True)) | {made: cotangent}
    one, other = (arrays[which] for which in to.operands)
    return apply(to, one, other, call, arrays[to].aval.shape)


def _batch(
    made: Map,
    operands: tuple[jax.Array, jax.Array],
    axes: tuple[int | None, int | None],
    *,
    call: Call,
    shape: Sizes,
) -> tuple[jax.Array, int]:
    at = dict(zip(made.operands, axes, strict=True))
    mapped = frozenset(
        {made, *(which for which, axis in at.items() if axis is not None)}
    )
    layout, groups = call.layout, call.geometry.groups

    def count_of(operands: tuple[jax.Array, ...]) -> Any:
        return next(
            a.shape[axis]
            for a, axis in zip(operands, axes, strict=True)
            if axis is not None
        )

    if not isinstance(count_of(operands), int) and Map.WEIGHT in mapped:
        # Channels and groups are ints: a symbolic axis can be more batch alone.
        return _one_by_one(made, operands, axes, call, shape), 0

    def run(*operands: jax.Array) -> jax.Array:
        count = count_of(operands)
        geometry = replace(call.geometry, groups=groups_of(mapped, groups, count))
        # The shape of what is made, as that of an array with the mapped axis in front.
        whole = jax.eval_shape(
            lambda a: fold(a, 0, made, mapped, layout, groups),
            jax.ShapeDtypeStruct((count, *shape), call.operand),
        ).shape
        one, other = (
            a if axis is None else fold(a, axis, which, mapped, layout, groups)
            for (which, axis), a in zip(at.items(), operands, strict=True)
        )
        result = apply(made, one, other, replace(call, geometry=geometry), whole)
        return unfold(result, count, shape, made, mapped, layout, groups)

    to, _ = place(made, mapped, layout, groups)
    return on_each_device(run, operands, axes, to), to


def _one_by_one(
    made: Map,
    operands: tuple[jax.Array, jax.Array],
    axes: tuple[int | None, int | None],
    call: Call,
    shape: Sizes,
) -> jax.Array:
    """A loop over the mapped axis, which is then in front."""
    mapped = [
        a if axis is None else jax.numpy.moveaxis(a, axis, 0)
        for a, axis in zip(operands, axes, strict=True)
    ]

    def body(one_of: tuple[jax.Array, ...]) -> jax.Array:
        taken = iter(one_of)
        one, other = (
            a if axis is None else next(taken)
            for a, axis in zip(operands, axes, strict=True)
        )
        return apply(made, one, other, call, shape)

    return lax.map(
        body, tuple(a for a, axis in zip(mapped, axes, strict=True) if axis is not None)
    )


def _primitive(made: Map) -> Primitive:
    of = "" if made == Map.OUTPUT else f"_{made}".replace(" ", "_")
    primitive = _Map(f"conv_transpose{of}")
    program = jax.jit(primitive.bind, static_argnames=("call", "shape"))

    def alone(*operands: jax.Array, **parameters: Any) -> jax.Array:
        """Called outside of a program it is one, under `jax.disable_jit` too."""
        with jax.disable_jit(False):
            return program(*operands, **parameters)

    primitive.def_impl(alone)
    primitive.def_abstract_eval(partial(_type, made))
    transposes = [partial(_transpose, made, which) for which in made.operands]
    ad.defbilinear(primitive, *transposes)
    batching.primitive_batchers[primitive] = partial(_batch, made)
    # Any other platform is given what an NVIDIA GPU is: of an AMD GPU, and of what may
    # come, nothing is known that would speak for another table.
    for platform, registered in (("cpu", "cpu"), ("tpu", "tpu"), ("cuda", None)):
        rule = partial(_lowering_rule, made, platform)
        mlir.register_lowering(primitive, rule, platform=registered)
    return primitive


def _lowering_rule(
    made: Map,
    platform: str,
    context: mlir.LoweringRuleContext,
    *operands: Any,
    **parameters: Any,
) -> Any:
    def run(one: jax.Array, other: jax.Array, *, call: Call, shape: Sizes) -> jax.Array:
        from jconvt._maps.make import make  # loaded when a program is first lowered

        named = dict(zip(made.operands, (one, other), strict=True))
        return make(made, named, call, shape, Target(platform, _devices(context)))

    rule = mlir.lower_fun(run, multiple_results=False)
    # Inside `jax.shard_map` types say over which devices an array varies. Within a
    # formulation, which is computed by each device for itself, this has no meaning; but
    # transposing would sum over devices where an operand varies and its cotangent is
    # not said to.
    arrays: list[Any] = list(context.avals_in)
    types = [ShapedArray(a.shape, a.dtype, sharding=a.sharding) for a in arrays]
    return rule(context.replace(avals_in=types), *operands, **parameters)


def _devices(context: mlir.LoweringRuleContext) -> int:
    """Among how many devices JAX may divide what is lowered."""
    axes: Any = context.module_context.axis_context
    if hasattr(axes, "manual_axes"):  # inside `jax.shard_map`: over its other axes
        sizes = axes.mesh.shape.items()
        return math.prod(n for name, n in sizes if name not in axes.manual_axes)
    return getattr(axes, "num_devices", 1)


PRIMITIVES: dict[Map, Primitive] = {which: _primitive(which) for which in Map}
