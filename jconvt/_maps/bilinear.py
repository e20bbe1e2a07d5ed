"""The bilinear map that every public function and layer computes."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType

from jconvt._call.call import Call
from jconvt._call.lowerings import PLAIN_LAX
from jconvt._call.problem import Map
from jconvt._maps.explicit_axes import output_spec, with_automatic_axes
from jconvt._maps.primitive import apply
from jconvt._maps.varying import alike


def bilinear(x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    """The transposed convolution of batched `x` with `w`, of one dtype, without bias.

    One of three primitives of JAX, whose other two are its gradients; or, on request,
    one convolution of lax.
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
    # With explicit axes lax asks for shardings that nobody has given it under `vmap`;
    # of some symbolic sizes its derivatives make others.
    explicit = any(
        AxisType.Explicit in jax.typeof(a).sharding.mesh.axis_types for a in (x, w)
    )
    plain = call.lowering == PLAIN_LAX and not explicit and call.recovers(x.shape)
    as_asked = _as_lax if plain else _as_primitive
    run = partial(as_asked, call=call)
    return with_automatic_axes(run, x, w, output_spec(x, w, call))


def _as_primitive(x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    return apply(Map.OUTPUT, x, w, call, call.output_shape(x.shape, w.shape))


def _as_lax(x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    """As lax and JAX's own derivatives, which every tool for JAX knows."""
    # These load every lowering.
    from jconvt._choice.formulation import Formulation
    from jconvt._maps.make import perform
    from jconvt._maps.target import Target

    shape, result = call.output_shape(x.shape, w.shape), call.numerics.result
    # Some tools know weights that are OI + space or space + IO alone.
    in_channels, out_channels, *space = call.layout.weight
    if (*space, in_channels, out_channels) != tuple(range(w.ndim)):
        w = lax.transpose(w, (out_channels, in_channels, *space))
        ordered = (1, 0, *range(2, w.ndim))
        call = replace(call, layout=replace(call.layout, weight=ordered))
    call = call.for_input_gradient
    if jnp.issubdtype(x.dtype, jnp.floating):
        # JAX computes gradients in the operands' dtype, and adds up in it those of the
        # elements that continue a periodic input.
        call = replace(call, operand=call.numerics.result)
        x, w = x.astype(call.operand), w.astype(call.operand)
    operands = {Map.INPUT: x, Map.WEIGHT: w}
    y = perform(
        Map.OUTPUT, operands, call, shape, Formulation(PLAIN_LAX), Target("any")
    )
    return alike(y.astype(result), x)[0]
