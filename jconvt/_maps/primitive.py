"""The three maps as JAX primitives: one equation each, formulated when lowered.

The trilinear form ``<y, f(x, w)>`` of output, input and weight has a derivative in each
argument, and these are the three maps of a layer: the output, the input gradient and
the weight gradient. Each transpose of one of them is another of them, so derivatives of
any order, in either mode, stay among the three and keep nothing but operands.

The platform is known when a program is lowered, and only then is a formulation chosen
and traced, for that platform alone and for one device's share of the batch.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
from jax import lax
from jax.interpreters import ad, batching, mlir
from jax.sharding import AxisType

from jconvt._call.call import Plan, Shape
from jconvt._maps.batching import Role, fold, groups_of, unfold

if TYPE_CHECKING:
    from jax.extend.core import Primitive
else:
    # jax.extend would take 20 ms to import, most of them for Pallas.
    Primitive = type(lax.dot_general_p)


def apply(
    made: Role, one: jax.Array, other: jax.Array, plan: Plan, shape: Shape
) -> jax.Array:
    """The map that makes one of the arrays, of `shape`, out of the other two."""
    return PRIMITIVES[made].bind(one, other, plan=plan, shape=shape)


def is_plain(*arrays: jax.Array) -> bool:
    """Whether no array's type says how it is sharded, explicitly or by shard_map.

    These primitives have no rules for such types.
    """
    for array in arrays:
        sharding = jax.typeof(array).sharding
        if any(along is not None for along in sharding.spec):
            return False
        if AxisType.Manual in sharding.mesh.axis_types:
            return False
    return True


def _operands(made: Role) -> tuple[Role, Role]:
    one, other = (role for role in Role if role != made)
    return one, other


def _run(
    made: Role,
    one: jax.Array,
    other: jax.Array,
    *,
    plan: Plan,
    shape: Shape,
    platform: str | None = None,
    devices: int = 1,
) -> jax.Array:
    from jconvt._maps.make import make  # loaded when a program is first lowered

    operands = dict(zip(_operands(made), (one, other), strict=True))
    return make(made, operands, plan, shape, platform, devices=devices)


def _type(made: Role, one: Any, other: Any, *, plan: Plan, shape: Shape) -> Any:
    del other
    dtype = plan.numerics.result if made == Role.OUTPUT else plan.operand
    return one.update(shape=shape, dtype=dtype, weak_type=False)


def _transpose(
    made: Role, to: Role, cotangent: jax.Array, one: Any, other: Any, *, plan: Plan,
    shape: Shape,
) -> jax.Array:  # fmt: skip
    """The cotangent of operand `to`."""
    del shape
    arrays = dict(zip(_operands(made), (one, other), strict=True)) | {made: cotangent}
    one, other = (arrays[role] for role in _operands(to))
    return apply(to, one, other, plan, arrays[to].aval.shape)


def _batch(
    made: Role,
    operands: tuple[jax.Array, jax.Array],
    mapped: tuple[int | None, int | None],
    *,
    plan: Plan,
    shape: Shape,
) -> tuple[jax.Array, int]:
    axes = dict(zip(_operands(made), mapped, strict=True))
    roles = frozenset({made, *(r for r, axis in axes.items() if axis is not None)})
    layout, groups = plan.layout, plan.geometry.groups
    count = next(
        a.shape[axis]
        for a, axis in zip(operands, mapped, strict=True)
        if axis is not None
    )
    # Channels and groups are ints: a symbolic axis can be more batch alone.
    foldable = isinstance(count, int) or Role.WEIGHT not in roles
    if not (foldable and is_plain(*operands)):
        run = partial(_run, made, plan=plan, shape=shape)
        return jax.vmap(run, in_axes=mapped)(*operands), 0
    one, other = (
        a if axis is None else fold(a, axis, role, roles, layout, groups)
        for (role, axis), a in zip(axes.items(), operands, strict=True)
    )
    geometry = replace(plan.geometry, groups=groups_of(roles, groups, count))
    # The shape of what is made, as that of an array with the mapped axis in front.
    whole = jax.eval_shape(
        lambda a: fold(a, 0, made, roles, layout, groups),
        jax.ShapeDtypeStruct((count, *shape), plan.operand),
    ).shape
    result = apply(made, one, other, replace(plan, geometry=geometry), whole)
    return unfold(result, count, shape, made, roles, layout, groups)


def _primitive(made: Role) -> Primitive:
    of = "" if made == Role.OUTPUT else f"_{made}_gradient"
    primitive = Primitive(f"conv_transpose{of}")
    run = partial(_run, made)
    primitive.def_impl(jax.jit(run, static_argnames=("plan", "shape")))
    primitive.def_abstract_eval(partial(_type, made))
    transposes = [partial(_transpose, made, role) for role in _operands(made)]
    ad.defbilinear(primitive, *transposes)
    batching.primitive_batchers[primitive] = partial(_batch, made)
    for platform, registered in (("cpu", "cpu"), ("tpu", "tpu"), ("cuda", None)):
        rule = partial(_lower, partial(run, platform=platform))
        mlir.register_lowering(primitive, rule, platform=registered)
    return primitive


def _lower(
    run: Callable[..., jax.Array],
    context: mlir.LoweringRuleContext,
    *operands: Any,
    **parameters: Any,
) -> Any:
    # Of a program that JAX partitions this is the number of its devices.
    devices: int = getattr(context.module_context.axis_context, "num_devices", 1)
    run = partial(run, devices=devices)
    rule = mlir.lower_fun(run, multiple_results=False)
    return rule(context, *operands, **parameters)


PRIMITIVES: dict[Role, Primitive] = {role: _primitive(role) for role in Role}
