"""The bilinear map that every public function and layer computes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.call import Call
from jconvt._call.problem import Map
from jconvt._maps.primitive import apply
from jconvt._maps.varying import alike


def bilinear(x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    """The transposed convolution of batched `x` with `w`, of one dtype, without bias.

    One of three primitives of JAX; the other two are its gradients.
    """
    if call.cut:
        y = bilinear(x, w, replace(call, cut=()))
        for axis, size in zip(call.layout.output[2:], call.cut, strict=True):
            y = y if size is None else lax.slice_in_dim(y, 0, size, axis=axis)
        return y
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        # JAX makes a complex convolution of real ones, whose operands are sums of real
        # and imaginary parts: in the operands' dtype, whatever the result's.
        call = replace(call, operand=call.numerics.result)
        x, w = x.astype(call.operand), w.astype(call.operand)
    x, w = alike(x, w)

    def run(x: jax.Array, w: jax.Array) -> jax.Array:
        return apply(Map.OUTPUT, x, w, call, call.output_shape(x.shape, w.shape))

    if all(along is None for a in (x, w) for along in jax.typeof(a).sharding.spec):
        return run(x, w)
    from jconvt._maps.explicit_axes import with_automatic_axes  # rarely needed

    return with_automatic_axes(run, x, w, call)
