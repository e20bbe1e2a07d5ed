"""Sums of taps with features first: products of the planes of each channel.

Neighbours along a row are neighbours in memory, so that products and sums are vector
operations along the rows. Elements and taps are (G, I, 1, N, *space) and
(G, I, O, *taps).
"""

import itertools
from collections.abc import Iterable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.geometry import Geometry
from jconvt._lowerings.axes import crop_space, merge_axes, pad, split_axis
from jconvt._lowerings.fence import fenced
from jconvt._lowerings.patches.blocks import cut_axes, keep_taps
from jconvt._lowerings.patches.joins import interleave
from jconvt._lowerings.patches.places import Place, place
from jconvt._lowerings.patches.sheet import Sheet
from jconvt._lowerings.taps.rows import Tap, in_loops

_SPACE = 4


def planes_in_blocks(
    x: jax.Array, w: jax.Array, geometry: Geometry, sheet: Sheet
) -> jax.Array:
    """(G*O, N, *out): every residue of every block, then interleaved."""
    size = x.shape[_SPACE:]
    cuts = cut_axes(geometry, size, (False,) * geometry.rank, early=True)
    pads = [(0, 0, 0)] * _SPACE + [(*cut.pad, 0) for cut in cuts]
    if any(cut.pad != (0, 0) for cut in cuts):
        x = fenced(partial(pad, pads=pads), x)
    counts = [cut.tiles for cut in cuts]

    def product(chosen: tuple[tuple[int, int], ...]) -> jax.Array:
        elements = x
        for axis, ((_, first), count) in enumerate(
            zip(chosen, counts, strict=True), _SPACE
        ):
            elements = lax.slice_in_dim(elements, first, first + count, axis=axis)
        return _times(elements, w, tuple(tap for tap, _ in chosen))

    def outputs(residues: tuple[list[tuple[int, int]], ...]) -> jax.Array:
        products = [product(chosen) for chosen in itertools.product(*residues)]
        if products:
            return sum(products[1:], start=products[0])
        return jnp.zeros((w.shape[0] * w.shape[2], x.shape[3], *counts), x.dtype)

    terms = [cut.terms for cut in cuts]
    strides = [cut.stride for cut in cuts]
    y = lax.concatenate(
        [
            lax.expand_dims(outputs(residues), (0,))
            for residues in itertools.product(*terms)
        ],
        0,
    )
    return interleave(split_axis(y, 0, strides), cuts, sheet)


def shifted_planes(
    x: jax.Array, w: jax.Array, geometry: Geometry, sheet: Sheet
) -> jax.Array:
    """(G*O, N, *out), to be transposed in x: as `shifted_taps`."""
    size = x.shape[_SPACE:]
    if w.shape[2] > 1:
        shape = (*x.shape[:2], w.shape[2], *x.shape[3:])
        x = fenced(partial(jnp.broadcast_to, shape=shape), x)
    axes = geometry.axes
    whole = [
        (n - 1) * a.stride + a.dilation * (a.kernel_size - 1) + 1
        for n, a in zip(size, axes, strict=True)
    ]

    def add_up(x: jax.Array, w: jax.Array, taps: Iterable[Tap]) -> jax.Array:
        made = [
            (
                _times(x, w, tap),
                [
                    Place(t * a.dilation, a.stride)
                    for t, a in zip(tap, axes, strict=True)
                ],
            )
            for tap in taps
        ]
        return place(made, whole, sheet)

    kept, _ = keep_taps(axes, size)
    taps = list(itertools.product(*(range(*ends) for ends in kept)))
    crop = partial(crop_space, crops=[(a.low, a.high) for a in axes], first=2)
    return fenced(crop, in_loops(add_up, x, w, taps))


def _times(x: jax.Array, w: jax.Array, tap: Tap) -> jax.Array:
    """Elements times a tap, summed over the inputs of a group: (G*O, N, *space)."""
    factor = w[(..., *tap)]
    factor = lax.expand_dims(factor, range(3, x.ndim))
    return merge_axes((x * factor).sum(1, dtype=x.dtype), 0)
