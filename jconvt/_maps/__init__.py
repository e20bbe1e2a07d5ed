"""Step 2, execution: the three maps of a layer as JAX operations.

In: checked arrays and a `Call`. Out: the output, and under differentiation the
gradients. `execute` is the file to read first: it runs a checked call as one program.
`primitive` defines the three maps (output, input gradient, weight gradient) as JAX
primitives, and `make` replaces each by the formulation that `jconvt._choice` picks when
a program is lowered. `batching`, `explicit_axes` and `shard_map` serve `jax.vmap` and
arrays on several devices.
"""
