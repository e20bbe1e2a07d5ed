"""The bilinear map behind every front door."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from jconvt._call.call import Plan
from jconvt._maps.batching import Role
from jconvt._maps.primitive import apply, is_plain


def bilinear(x: jax.Array, w: jax.Array, plan: Plan) -> jax.Array:
    """The transposed convolution of batched `x` with `w`, of one dtype, without bias.

    As a rule it is a primitive of JAX with two others for its gradients.
    """
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        # JAX makes a complex convolution of real ones, whose operands are sums of real
        # and imaginary parts: in the operands' dtype, whatever the result's.
        plan = replace(plan, operand=plan.numerics.result)
        x, w = x.astype(plan.operand), w.astype(plan.operand)

    def run(x: jax.Array, w: jax.Array) -> jax.Array:
        return apply(Role.OUTPUT, x, w, plan, plan.output_shape(x.shape, w.shape))

    if is_plain(x, w):
        return run(x, w)
    # Loaded when a program needs them.
    from jconvt._maps import explicit_axes, shard_map

    mesh = explicit_axes.explicit_mesh(x, w)
    if mesh is not None:
        return explicit_axes.with_automatic_axes(run, x, w, plan, mesh)
    return shard_map.bilinear(x, w, plan)
