"""Explicit sharding axes: where the output lies. The rest is JAX's partitioner's.

With explicit axes the type of an array says how it is sharded, and an operation must
say how its result is. For a transposed convolution that follows from its operands, axis
by axis, as below. Inside, the axes are automatic, so that everything else is as under
`jax.jit` without explicit axes, and `jax.sharding.auto_axes` has the derivatives.

================ =================================================================
axis of output   sharded as
================ =================================================================
batch            the input's batch
channels         the weight's output channels; with groups, which the output
                 channels are cut into first, the input's channels, or else the
                 weight's input channels
space            the input's space, where the output's size is a multiple too
================ =================================================================

No mesh axis shards two of them: the first keeps it. A sharding of channels that are
summed over ends there.
"""

from collections.abc import Callable
from typing import cast

import jax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from jconvt._call.call import Call, Sizes

Run = Callable[[jax.Array, jax.Array], jax.Array]

Along = str | tuple[str, ...] | None
"""The entry of a `PartitionSpec` for one axis."""


def with_automatic_axes(run: Run, x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    """`run`, which makes the output, where no type says how an array is sharded."""
    meshes = (jax.typeof(a).sharding.mesh for a in (x, w))
    mesh = next(mesh for mesh in meshes if AxisType.Explicit in mesh.axis_types)
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    axes = tuple(name for name, kind in kinds if kind == AxisType.Explicit)
    sharding = NamedSharding(mesh, _output_spec(x, w, call, mesh))
    # Without a function it is a decorator, so its type says nothing of this call.
    automatic = cast(Run, jax.sharding.auto_axes(run, axes=axes, out_sharding=sharding))
    return automatic(x, w)


def _output_spec(
    x: jax.Array, w: jax.Array, call: Call, mesh: AbstractMesh
) -> PartitionSpec:
    layout = call.layout
    inputs: tuple[Along, ...] = tuple(jax.typeof(x).sharding.spec)
    weights: tuple[Along, ...] = tuple(jax.typeof(w).sharding.spec)
    shape: Sizes = call.output_shape(x.shape, w.shape)
    channels = weights[layout.weight[1]]
    if call.geometry.groups > 1:
        channels = inputs[layout.input[1]] or weights[layout.weight[0]]
    wanted = (
        inputs[layout.input[0]],
        channels,
        *(inputs[axis] for axis in layout.input[2:]),
    )
    found: list[Along] = [None] * len(shape)
    taken: set[str] = set()
    for axis, along in zip(layout.output, wanted, strict=True):
        names = (along,) if isinstance(along, str) else along or ()
        count = 1
        for name in names:
            count *= mesh.shape[name]
        if taken.isdisjoint(names) and shape[axis] % count == 0:
            found[axis] = along
            taken.update(names)
    return PartitionSpec(*found)
