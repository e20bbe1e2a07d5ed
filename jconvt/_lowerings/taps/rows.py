"""A sum of products put in their places one by one, made to be transposed.

A tap t puts the element e into block ``e + m``, at residue r, with
``(m, r) = divmod(t*d, s)`` on the grid of the uncropped output. Its transpose reads
that place. Elements and taps are (N, *space, G, I, 1 or O) and (*taps, G, I, O).
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.geometry import Geometry
from jconvt._lowerings.axes import crop_space, merge_axes, pad
from jconvt._lowerings.fence import fenced
from jconvt._lowerings.patches.blocks import keep_taps
from jconvt._lowerings.patches.joins import concatenate

Tap = tuple[int, ...]


def shifted_taps(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """(N, *out, G, O), to be transposed in x.

    Where an input channel makes several outputs, the transpose adds these up once, and
    not for every tap. A loop reads the cotangent in as many places as it adds up taps:
    of many it makes several loops, or the places evict each other from the cache.
    """
    if w.shape[-1] > 1:
        x = fenced(partial(jnp.broadcast_to, shape=(*x.shape[:-1], w.shape[-1])), x)
    place = partial(_place, geometry=geometry, size=x.shape[1:-3])

    def add_up(x: jax.Array, w: jax.Array, taps: Iterable[Tap]) -> jax.Array:
        return _sum([place(x * w[tap], tap) for tap in taps])

    return _keep(in_loops(add_up, x, w, _kept(x, geometry)), x, geometry)


def in_loops(
    add_up: Callable[..., jax.Array], x: jax.Array, w: jax.Array, taps: Sequence[Tap]
) -> jax.Array:
    """``add_up(x, w, taps=taps)``, the transpose of which reads not too many places."""
    loops = -(-len(taps) // _MOST_PLACES)
    if loops == 1:
        return add_up(x, w, taps=taps)
    return _sum(
        [fenced(partial(add_up, taps=taps[i::loops]), x, w) for i in range(loops)]
    )


_MOST_PLACES = 25


def taps_by_rows(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """(N, *out, G, O), to be transposed in w.

    Several rows share one copy of a tap, whose transpose is a sum of whole rows; a
    copy's own transpose sums along axes, apart.
    """
    axis = min(1, geometry.rank)  # without space, the rows are images
    rows = x.shape[axis]
    shares = min(rows, max(_SHARES, key=lambda n: (-(rows % n), n)))
    copy = partial(_copies, shape=(*x.shape[:-1], w.shape[-1]), axis=axis)
    several, rest = partial(copy, count=rows // shares), rows % shares

    def spread(tap: jax.Array) -> jax.Array:
        copies = [fenced(several, tap)] * shares
        return concatenate([*copies, copy(tap, count=rest)] if rest else copies, axis)

    place = partial(_place, geometry=geometry, size=x.shape[1:-3])
    placed = [place(x * spread(w[tap]), tap) for tap in _kept(x, geometry)]
    return _keep(_sum(placed), x, geometry)


_SHARES = (8, 7, 6, 5)
"""Rows added up at once; the number that leaves fewest over."""


def _copies(tap: jax.Array, shape: tuple[int, ...], axis: int, count: int) -> jax.Array:
    """A tap for every position, of `count` rows."""
    return jnp.broadcast_to(tap, (*shape[:axis], count, *shape[axis + 1 :]))


def _kept(x: jax.Array, geometry: Geometry) -> list[Tap]:
    kept, _ = keep_taps(geometry.axes, x.shape[1:-3])
    return list(itertools.product(*(range(*ends) for ends in kept)))


def _grids(geometry: Geometry, size: tuple[int, ...]) -> list[tuple[int, int]]:
    """Blocks of the uncropped output, and outputs of a block, per axis."""
    return [
        (n + axis.dilation * (axis.kernel_size - 1) // axis.stride, axis.stride)
        for n, axis in zip(size, geometry.axes, strict=True)
    ]


def _place(
    y: jax.Array, taps: Tap, geometry: Geometry, size: tuple[int, ...]
) -> jax.Array:
    """(N, *space, G, I, O) -> (N, *(blocks, residues), G, O), zeros but at the taps."""
    pads = [(0, 0, 0)]
    for tap, axis, n, (blocks, stride) in zip(
        taps, geometry.axes, size, _grids(geometry, size), strict=True
    ):
        shift, residue = divmod(tap * axis.dilation, stride)
        pads += [(shift, blocks - n - shift, 0), (residue, stride - 1 - residue, 0)]
    y = lax.expand_dims(y.sum(-2, dtype=y.dtype), range(2, 2 + 2 * geometry.rank, 2))
    return pad(y, [*pads, (0, 0, 0), (0, 0, 0)])


def _keep(y: jax.Array, x: jax.Array, geometry: Geometry) -> jax.Array:
    """The blocks as an output, cropped. Transposed it is done once, for all taps."""
    size = x.shape[1:-3]
    crops = [
        (axis.low, blocks * stride - axis.low - axis.output_size(n))
        for axis, n, (blocks, stride) in zip(
            geometry.axes, size, _grids(geometry, size), strict=True
        )
    ]

    def keep(y: jax.Array) -> jax.Array:
        for axis in range(1, 1 + geometry.rank):
            y = merge_axes(y, axis)
        return crop_space(y, crops)

    return fenced(keep, y)


def _sum(parts: list[jax.Array]) -> jax.Array:
    return sum(parts[1:], start=parts[0])
