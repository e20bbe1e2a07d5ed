"""Step 2, execution: the three maps of a layer as JAX operations.

In: checked arrays and a `Call`. Out: the output, and under differentiation the
gradients. `execute` is the file to read first: it runs a checked call as one program.
`primitive` defines the three maps (output, input gradient, weight gradient) as JAX
primitives, and `make` replaces each by the formulation that `jconvt._choice` picks when
a program is lowered. `frame` extends and trims the input
around a lowering, `loops` computes in pieces, `batching` serves `jax.vmap`,
`explicit_axes`, `varying` and `partition` arrays on several devices, and `tools` holds
rules for JAX's own tools.
"""
