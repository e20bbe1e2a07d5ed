"""A transposed convolution of spatially sharded arrays, with a halo exchange.

Under `jax.jit` the functions of `jconvt` work on sharded arrays too, but JAX's compiler
decides what is sent between devices. Here it is explicit: each device sends its border
elements to its neighbours, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import IntOrInts, Padding, spatial_rank
from jconvt._call.call import Sizes
from jconvt._call.layout import DimensionNumbers, Layout
from jconvt._call.lowerings import Lowerings
from jconvt._call.numerics import Numerics, Precision, check_array
from jconvt._call.options import normalize_options
from jconvt._call.tracebacks import ends_traceback
from jconvt._halo import Share, share_of
from jconvt._maps.execute import check_arrays, run, settle_call

__all__ = ["conv_transpose"]

_FUNCTION = "sharding.conv_transpose"


@ends_traceback
def conv_transpose(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    mesh_axes: Sequence[str | None],
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    output_size: IntOrInts | None = None,
    groups: int = 1,
    dilation: IntOrInts = 1,
    dimension_numbers: DimensionNumbers | None = None,
    precision: Precision = None,
    preferred_element_type: DTypeLike | None = None,
    lowering: str | Lowerings = "auto",
) -> jax.Array:
    """`jconvt.conv_transpose` of spatially sharded arrays, inside `jax.shard_map`.

    Each device passes its share of the input and gets its share of the output. All
    shares together, and the gradients, equal those of `jconvt.conv_transpose` of the
    whole input, for any stride, kernel, dilation and padding. Devices exchange the
    elements at the borders of their shares (`jax.lax.ppermute`), with several
    neighbours if the kernel is longer than a share; the gradient sends cotangents back.
    Batch and channels may be sharded over other mesh axes, by the rules of
    `jax.shard_map`.

    Args:
      input: a share of ``(N, C_in, *S)`` or ``(C_in, *S)`` with at least one element
        along each sharded axis; all shares have the same size.
      weight: the whole weight, ``(C_in, C_out/groups, *K)``.
      bias: the whole bias, ``(C_out,)``, or None.
      mesh_axes: for each spatial axis, in the order of `stride`, the name of the mesh
        axis over which it is sharded, or None.
      stride: as in `jconvt.conv_transpose`, in output elements.
      padding: as there; output elements cropped at both ends of the whole output.
      output_padding: output elements appended to the whole output.
      output_size: spatial size of the whole output.
      groups: number of channel groups.
      dilation: output elements between neighbouring taps.
      dimension_numbers: layouts of input, weight and output.
      precision: as in `jax.lax.conv_general_dilated`.
      preferred_element_type: dtype of the result.
      lowering: ``"auto"``, the name of a lowering, or `jconvt.Lowerings`.

    Returns:
      A share of ``(N, C_out, *O)`` or ``(C_out, *O)``. Each sharded size O must be a
      multiple of the number of devices. With ``O = S*stride`` each device computes its
      share alone, otherwise more than that.

    Raises:
      TypeError: an option or array of the wrong kind.
      ValueError: an option out of range, shapes that do not fit, an output size that
        the devices do not divide, or a name that is no mesh axis of an enclosing
        `jax.shard_map`.

    Example:
      >>> import jax, jax.numpy as jnp, jconvt.sharding
      >>> from functools import partial
      >>> from jax.sharding import AxisType, PartitionSpec as P
      >>> mesh = jax.make_mesh((1,), ("rows",), axis_types=(AxisType.Auto,))
      >>> up = partial(jconvt.sharding.conv_transpose, mesh_axes=("rows", None),
      ...              stride=2, padding=1)
      >>> rows = P(None, None, "rows")
      >>> up = jax.shard_map(up, mesh=mesh, in_specs=(rows, P()), out_specs=rows)
      >>> up(jnp.ones((1, 4, 8, 8)), jnp.ones((4, 3, 4, 4))).shape
      (1, 3, 16, 16)
    """
    rank = spatial_rank(_FUNCTION, check_array(_FUNCTION, "weight", weight).shape)
    options = normalize_options(
        _FUNCTION,
        rank,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
        dimension_numbers=dimension_numbers,
    )
    devices = _devices(mesh_axes, rank)
    x, w, b = check_arrays(_FUNCTION, input, weight, bias)
    inputs = _whole(options.layout, x.shape, devices)
    call = settle_call(
        options,
        (inputs, w.shape, None if b is None else b.shape),
        [x, w] if b is None else [x, w, b],
        output_size=output_size,
        precision=precision,
        preferred_element_type=preferred_element_type,
        lowering=lowering,
    )
    layout, geometry = call.layout, call.geometry
    whole = call.output_shape(inputs, w.shape)
    crop, wrap = list(geometry.crop), list(call.wrap)
    drifting: list[tuple[int, str, Share]] = []
    for i, (name, count) in enumerate(zip(mesh_axes, devices, strict=True)):
        if name is None or count is None:
            continue
        axis = _number(layout.input, i, call.batched)
        out_axis = _number(layout.output, i, call.batched)
        outputs = _outputs(whole[out_axis], count, name)
        share = share_of(geometry.axes[i], wrap[i], x.shape[axis], outputs, count)
        x = _exchange(x, axis, share, name, count, periodic=any(wrap[i]))
        crop[i], wrap[i] = share.crop, (0, 0)
        if share.drift:
            drifting.append((out_axis, name, share))
    geometry = replace(geometry, crop=tuple(crop))
    y = run(x, w, b, replace(call, geometry=geometry, wrap=tuple(wrap)))
    for axis, name, share in drifting:
        begin = share.begin + share.drift * lax.axis_index(name)
        y = lax.dynamic_slice_in_dim(y, begin, share.outputs, axis)
    return y


def _devices(mesh_axes: object, rank: int) -> tuple[int | None, ...]:
    """The number of devices along each spatial axis; None if it is not sharded."""
    if not isinstance(mesh_axes, tuple | list) or not all(
        name is None or isinstance(name, str) for name in mesh_axes
    ):
        raise TypeError(
            f"{_FUNCTION}: `mesh_axes` must be a tuple or list of names of mesh axes "
            f"and None; got {mesh_axes!r}."
        )
    names = [name for name in mesh_axes if name is not None]
    if len(mesh_axes) != rank or len(set(names)) != len(names):
        raise ValueError(
            f"{_FUNCTION}: `mesh_axes` must have an entry for each of {rank} spatial "
            f"axes, and no name twice; got {mesh_axes!r}."
        )
    try:
        return tuple(
            None if name is None else lax.axis_size(name) for name in mesh_axes
        )
    except NameError as error:
        raise ValueError(
            f"{_FUNCTION}: `mesh_axes` must name axes of the mesh of a jax.shard_map "
            f"around the call; got {mesh_axes!r}: {error}"
        ) from error


def _number(axes: tuple[int, ...], i: int, batched: bool) -> int:
    """The axis number of the i-th spatial axis; `axes` counts a batch axis."""
    return axes[2 + i] - (not batched and axes[2 + i] > axes[0])


def _whole(layout: Layout, shape: Sizes, devices: tuple[int | None, ...]) -> Sizes:
    """The shape of the whole input, from the `shape` of one device's share."""
    missing = len(layout.input) - len(shape)
    if missing not in (0, 1):
        return shape  # the next check refuses a wrong rank
    sizes = list(shape)
    for i, count in enumerate(devices):
        axis = _number(layout.input, i, batched=not missing)
        if count is None:
            continue
        if not (isinstance(sizes[axis], int) and sizes[axis] > 0):
            raise ValueError(
                f"{_FUNCTION}: `input` must have at least one element along a sharded "
                f"axis, and a size that is an int there; got {sizes[axis]} on axis "
                f"{axis} of {tuple(shape)}."
            )
        sizes[axis] *= count
    return tuple(sizes)


def _outputs(whole: int, devices: int, name: str) -> int:
    """The outputs of one device, or the error."""
    if whole % devices:
        raise ValueError(
            f"{_FUNCTION}: the output size must be a multiple of the number of devices "
            f"along a sharded axis; got {whole} on the {devices} of {name!r}. With "
            f"`output_size` or another `padding` it can be input size times stride, "
            f"which is such a multiple."
        )
    return whole // devices


def _exchange(
    x: jax.Array, axis: int, share: Share, name: str, devices: int, *, periodic: bool
) -> jax.Array:
    """Extends a device's `x` along `axis` by the elements of its neighbours."""
    n, x = x.shape[axis], jnp.asarray(x)
    # 16-bit floats are sent as such. The transpose adds what it receives in float32.
    narrow, wide = x.dtype, Numerics(None, x.dtype).accumulation
    x = x.astype(wide)

    def neighbours(halo: int, step: int) -> list[jax.Array]:
        """`halo` elements of the devices before (step -1) or after (1), by distance."""
        parts: list[jax.Array] = []
        for hops, taken in enumerate(range(0, halo, n), start=1):
            length = min(n, halo - taken)
            start = n - length if step < 0 else 0
            part = lax.slice_in_dim(x, start, start + length, axis=axis)
            receivers = ((c, c - step * hops) for c in range(devices))
            pairs = [
                (c, to % devices)
                for c, to in receivers
                if periodic or 0 <= to < devices
            ]
            received = lax.ppermute(part.astype(narrow), name, pairs)
            parts.append(received.astype(wide))
        return parts

    before, after = neighbours(share.before, -1), neighbours(share.after, 1)
    if before or after:
        x = jnp.concatenate([*reversed(before), x, *after], axis)
    return x.astype(narrow)
