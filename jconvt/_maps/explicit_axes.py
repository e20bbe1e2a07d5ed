"""Explicit sharding: derives how a result is sharded from how its operands are.

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
from jconvt._maps.varying import alike

Run = Callable[[jax.Array, jax.Array], jax.Array]

Along = str | tuple[str, ...] | None
"""The entry of a `PartitionSpec` for one axis."""


def is_sharded(*arrays: jax.Array) -> bool:
    """Whether the type of any array says that an explicit axis shards it."""
    return any(
        along is not None for a in arrays for along in jax.typeof(a).sharding.spec
    )


def with_automatic_axes(
    run: Run, one: jax.Array, other: jax.Array, spec: PartitionSpec
) -> jax.Array:
    """``run(one, other)`` where no type says how an array is sharded.

    The result's type says `spec`.
    """
    if not is_sharded(one, other):
        return run(one, other)
    mesh = _mesh(one, other)
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    axes = tuple(name for name, kind in kinds if kind == AxisType.Explicit)
    sharding = NamedSharding(mesh, spec)
    # Without a function it is a decorator, so its type says nothing of this call.
    automatic = cast(Run, jax.sharding.auto_axes(run, axes=axes, out_sharding=sharding))
    if AxisType.Manual in mesh.axis_types:
        # Derivatives of `jax.shard_map` may keep what has the types of its mesh alone
        # (jax 0.10), and so the operands as they came. Nothing is computed twice.
        automatic = jax.checkpoint(automatic, prevent_cse=False)
    return automatic(one, other)


def on_each_device(
    run: Run,
    operands: tuple[jax.Array, jax.Array],
    axes: tuple[int | None, int | None],
    to: int,
) -> jax.Array:
    """``run(*operands)`` of each device's part of a mapped axis.

    It is axis `axes` of the operands and axis `to` of the result. No other axis of them
    is sharded: operands that are have been given automatic axes before.
    """
    found = [
        along
        for a, axis in zip(operands, axes, strict=True)
        if axis is not None and (along := jax.typeof(a).sharding.spec[axis])
    ]
    if not found:
        return run(*operands)
    along = found[0]
    made = PartitionSpec(*([None] * to), along)
    if jax.__version_info__ < (0, 10):  # knows no shard_map over a mapped axis
        return with_automatic_axes(run, *operands, made)
    specs = tuple(
        PartitionSpec(*([None] * axis), along) if axis is not None else PartitionSpec()
        for axis in axes
    )
    mesh = _mesh(*operands)
    one, other = (
        jax.sharding.reshard(a, NamedSharding(mesh, spec))
        for a, spec in zip(operands, specs, strict=True)
    )
    part = jax.shard_map(
        lambda *parts: run(*alike(*parts)),
        mesh=mesh,
        in_specs=specs,
        out_specs=made,
        axis_names={along} if isinstance(along, str) else set(along),
    )
    return jax.jit(part, inline=True)(one, other)


def as_channels_of(y: jax.Array, b: jax.Array, channel: int) -> jax.Array:
    """The bias, sharded as axis `channel` of `y`: along no mesh axis of another."""
    if not is_sharded(b):
        return b
    spec = PartitionSpec(jax.typeof(y).sharding.spec[channel])
    return jax.sharding.reshard(b, NamedSharding(_mesh(b), spec))


def output_spec(x: jax.Array, w: jax.Array, call: Call) -> PartitionSpec:
    """How the output of the operands is sharded."""
    if not is_sharded(x, w):
        return PartitionSpec()
    mesh = _mesh(x, w)
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


def _mesh(*arrays: jax.Array) -> AbstractMesh:
    meshes = (jax.typeof(a).sharding.mesh for a in arrays)
    return next(mesh for mesh in meshes if AxisType.Explicit in mesh.axis_types)
