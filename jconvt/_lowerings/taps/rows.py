"""`tap_sums` with features last: sums over taps, vectorised along channels.

The input is (N, *space, G, I, 1), the weight (*taps, G, I, O). Each function computes
the output and is written for one of the three maps, which is the function itself, its
transpose in the input or its transpose in the weight.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.geometry import Geometry
from jconvt._lowerings.axes import add_arrays, crop_space, merge_axes, pad, pad_space
from jconvt._lowerings.fence import fenced
from jconvt._lowerings.patches.blocks import Blocks, Span, cut_axes, each_kept_tap
from jconvt._lowerings.patches.joins import concatenate
from jconvt._lowerings.taps.work import loops_of_taps, rows_at_once

Tap = tuple[int, ...]


def rows_in_blocks(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """The output (N, *out, G, O), by residues that read the same elements."""
    rank = geometry.rank
    size = x.shape[1 : 1 + rank]
    cuts = cut_axes(geometry, size, (False,) * rank, early=True)
    x = padded(x, cuts, 1)

    def assemble(spans: tuple[Span, ...]) -> jax.Array:
        axis = len(spans)
        if axis == rank:
            return _residues(x, w, cuts, spans)
        return concatenate(
            [assemble((*spans, span)) for span in cuts[axis].spans], 2 + 2 * axis
        )

    y = assemble(())
    for axis in range(1, 1 + rank):
        y = merge_axes(y, axis)
    return crop_space(y, [cut.crop for cut in cuts])


def _residues(
    x: jax.Array,
    w: jax.Array,
    cuts: Sequence[Blocks],
    spans: Sequence[Span],
) -> jax.Array:
    """The outputs of neighbouring residues: (N, *(blocks, residues), G, O)."""
    rank, blocks = len(cuts), [cut.count for cut in cuts]
    lengths = [span.length for span in spans]

    def product(chosen: tuple[tuple[int, int], ...]) -> jax.Array:
        elements, taps = x, w
        for axis, (tap, element) in enumerate(chosen):
            elements = lax.slice_in_dim(
                elements, element, element + blocks[axis], axis=1 + axis
            )
            taps = lax.slice_in_dim(taps, tap, tap + lengths[axis], axis=axis)
        elements = lax.expand_dims(elements, range(2, 2 + 2 * rank, 2))
        taps = lax.expand_dims(taps, (0, *range(1, 1 + 2 * rank, 2)))
        return (elements * taps).sum(-2, dtype=x.dtype)

    terms = itertools.product(*(span.terms for span in spans))
    products = [product(chosen) for chosen in terms]
    if products:
        return add_arrays(products)
    space = itertools.chain.from_iterable(zip(blocks, lengths, strict=True))
    shape = (x.shape[0], *space, w.shape[rank], w.shape[-1])
    return jnp.zeros(shape, x.dtype)


def padded(x: jax.Array, cuts: Sequence[Blocks], first: int) -> jax.Array:
    """`x` with the zeros that the blocks read, in memory; `first`: its spatial axes."""
    pads = [cut.pad for cut in cuts]
    if all(ends == (0, 0) for ends in pads):
        return x
    return fenced(partial(pad_space, pads=pads, first=first), x)


def shifted_taps(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """The output (N, *out, G, O), for its transpose in x.

    The transpose reads the cotangent once for each tap. If an input channel has several
    output channels, it adds these once, not for every tap.
    """
    if w.shape[-1] > 1:
        x = fenced(partial(jnp.broadcast_to, shape=(*x.shape[:-1], w.shape[-1])), x)
    size = x.shape[1:-3]

    def add_up(x: jax.Array, w: jax.Array, taps: Sequence[Tap]) -> jax.Array:
        return add_arrays([_spread(x * w[tap], tap, geometry, size) for tap in taps])

    y = in_loops(add_up, x, w, each_kept_tap(geometry.axes, size))
    return _crop(y, size, geometry)


def in_loops(
    add_up: Callable[..., jax.Array], x: jax.Array, w: jax.Array, taps: Sequence[Tap]
) -> jax.Array:
    """``add_up(x, w, taps=taps)``, by several loops if there are many taps.

    They are those of its transpose; see `loops_of_taps`.
    """
    loops = loops_of_taps(len(taps))
    if loops == 1:
        return add_up(x, w, taps=taps)
    return add_arrays(
        [fenced(partial(add_up, taps=taps[i::loops]), x, w) for i in range(loops)]
    )


def taps_by_rows(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """The output (N, *out, G, O), for its transpose in w, a sum over positions.

    The transpose first adds several rows element by element, because they are products
    with the same copy of a tap. Only the rest is summed along axes.
    """
    size = x.shape[1:-3]
    axis = min(1, geometry.rank)  # without spatial axes, the rows are images
    rows = x.shape[axis]
    at_once = rows_at_once(rows)
    copy = partial(_copies, shape=(*x.shape[:-1], w.shape[-1]), axis=axis)
    several, rest = partial(copy, count=rows // at_once), rows % at_once

    def to_rows(tap: jax.Array) -> jax.Array:
        copies = [fenced(several, tap)] * at_once
        return concatenate([*copies, copy(tap, count=rest)] if rest else copies, axis)

    products = [
        _spread(x * to_rows(w[tap]), tap, geometry, size)
        for tap in each_kept_tap(geometry.axes, size)
    ]
    return _crop(add_arrays(products), size, geometry)


def _copies(tap: jax.Array, shape: tuple[int, ...], axis: int, count: int) -> jax.Array:
    """A tap, repeated for every position of `count` rows."""
    return jnp.broadcast_to(tap, (*shape[:axis], count, *shape[axis + 1 :]))


def _grids(geometry: Geometry, size: tuple[int, ...]) -> list[tuple[int, int]]:
    """(number of blocks of the full output, stride) per axis."""
    return [
        (n + axis.dilation * (axis.kernel_size - 1) // axis.stride, axis.stride)
        for n, axis in zip(size, geometry.axes, strict=True)
    ]


def _spread(
    y: jax.Array, tap: Tap, geometry: Geometry, size: tuple[int, ...]
) -> jax.Array:
    """Products with a tap (N, *space, G, I, O) -> (N, *(blocks, residues), G, O).

    Element i is added to block ``i + m`` and residue r of the full output, with
    ``m, r = divmod(tap*dilation, stride)``. All other outputs are zero.
    """
    pads: list[tuple[int, int, int]] = []
    for t, axis, n, (blocks, stride) in zip(
        tap, geometry.axes, size, _grids(geometry, size), strict=True
    ):
        shift, residue = divmod(t * axis.dilation, stride)
        pads += [(shift, blocks - n - shift, 0), (residue, stride - 1 - residue, 0)]
    y = lax.expand_dims(y.sum(-2, dtype=y.dtype), range(2, 2 + 2 * geometry.rank, 2))
    return pad(y, pads, first=1)


def _crop(y: jax.Array, size: tuple[int, ...], geometry: Geometry) -> jax.Array:
    """(N, *(blocks, residues), G, O) -> (N, *out, G, O), once for all taps."""
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
