"""The bilinear map that every public function and layer computes."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from jconvt._call.call import Call
from jconvt._call.problem import Map
from jconvt._maps.explicit_axes import output_spec, with_automatic_axes
from jconvt._maps.primitive import apply
from jconvt._maps.varying import alike


def bilinear(x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    """The transposed convolution of batched `x` with `w`, of one dtype, without bias.

    One of three primitives of JAX; the other two are its gradients.
    """
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        # JAX makes a complex convolution of real ones, whose operands are sums of real
        # and imaginary parts: in the operands' dtype, whatever the result's.
        call = replace(call, operand=call.numerics.result)
        x, w = x.astype(call.operand), w.astype(call.operand)
    x, w = alike(x, w)

    def run(x: jax.Array, w: jax.Array) -> jax.Array:
        return apply(Map.OUTPUT, x, w, call, call.output_shape(x.shape, w.shape))

    return with_automatic_axes(run, x, w, output_spec(x, w, call))
