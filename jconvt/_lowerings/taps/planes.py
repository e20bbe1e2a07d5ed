"""`tap_sums` with features first: sums over taps, vectorised along image rows.

The input is (G, I, 1, N, *space), the weight (G, I, O, *taps); a plane is the image of
one channel.
"""

import itertools
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jconvt._call.geometry import Geometry
from jconvt._lowerings.axes import add_arrays, crop_space, merge_axes, split_axis
from jconvt._lowerings.fence import fenced
from jconvt._lowerings.patches.blocks import cut_axes, each_kept_tap
from jconvt._lowerings.patches.joins import interleave
from jconvt._lowerings.patches.places import Place, scatter_sum
from jconvt._lowerings.patches.sheet import Sheet
from jconvt._lowerings.taps.rows import Tap, in_loops, padded
from jconvt._lowerings.taps.work import is_apart, loops_of_terms

_SPACE = 4
"""The first spatial axis of the input."""


def planes_in_blocks(
    x: jax.Array, w: jax.Array, geometry: Geometry, sheet: Sheet
) -> jax.Array:
    """The output (G*O, N, *out): each residue of all blocks, then interleaved."""
    size = x.shape[_SPACE:]
    cuts = cut_axes(geometry, size, (False,) * geometry.rank, early=True)
    x = padded(x, cuts, _SPACE)
    counts = tuple(cut.tiles for cut in cuts)
    terms = [
        list(itertools.product(range(w.shape[1]), itertools.product(*residue)))
        for residue in itertools.product(*(cut.terms for cut in cuts))
    ]

    def residues(x: jax.Array, w: jax.Array) -> jax.Array:
        each = [_residue(x, w, some, counts) for some in terms]
        return lax.concatenate([lax.expand_dims(y, (0,)) for y in each], 0)

    apart = is_apart(geometry, max(map(len, terms)))
    y = fenced(residues, x, w) if apart else residues(x, w)
    return interleave(split_axis(y, 0, geometry.stride), cuts, sheet)


Term = tuple[int, tuple[tuple[int, int], ...]]
"""An input channel, and a tap and the first element that it multiplies, by axis."""


def _residue(
    x: jax.Array, w: jax.Array, terms: Sequence[Term], counts: tuple[int, ...]
) -> jax.Array:
    """The outputs (G*O, N, *blocks) of one residue, by as few loops as are fast."""
    if not terms:
        return jnp.zeros((w.shape[0] * w.shape[2], x.shape[3], *counts), x.dtype)

    def add_up(x: jax.Array, w: jax.Array, some: Sequence[Term]) -> jax.Array:
        return add_arrays([_product(x, w, *term, counts) for term in some])

    loops = loops_of_terms(len(terms))
    if loops == 1:
        return add_up(x, w, terms)
    return add_arrays(
        [fenced(partial(add_up, some=terms[i::loops]), x, w) for i in range(loops)]
    )


def _product(
    x: jax.Array,
    w: jax.Array,
    channel: int,
    chosen: tuple[tuple[int, int], ...],
    counts: tuple[int, ...],
) -> jax.Array:
    """One channel's elements times one tap.

    XLA:CPU vectorises the sum of such products, but no sum along the axis of channels.
    """
    elements = lax.slice_in_dim(x, channel, channel + 1, axis=1)
    taps = lax.slice_in_dim(w, channel, channel + 1, axis=1)
    for axis, ((_, first), count) in enumerate(
        zip(chosen, counts, strict=True), _SPACE
    ):
        elements = lax.slice_in_dim(elements, first, first + count, axis=axis)
    return _times(elements, taps, tuple(tap for tap, _ in chosen))


def shifted_planes(
    x: jax.Array, w: jax.Array, geometry: Geometry, sheet: Sheet
) -> jax.Array:
    """The output (G*O, N, *out), for its transpose in x; see `rows.shifted_taps`."""
    size = x.shape[_SPACE:]
    if w.shape[2] > 1:
        shape = (*x.shape[:2], w.shape[2], *x.shape[3:])
        x = fenced(partial(jnp.broadcast_to, shape=shape), x)
    axes = geometry.axes
    full = [(n - 1) * a.stride + a.extent for n, a in zip(size, axes, strict=True)]

    def places(tap: Tap) -> list[Place]:
        return [Place(t * a.dilation, a.stride) for t, a in zip(tap, axes, strict=True)]

    def add_up(x: jax.Array, w: jax.Array, taps: Sequence[Tap]) -> jax.Array:
        made = [(_times(x, w, tap), places(tap)) for tap in taps]
        return scatter_sum(made, full, sheet)

    crop = partial(crop_space, crops=[(a.low, a.high) for a in axes], first=2)
    return fenced(crop, in_loops(add_up, x, w, each_kept_tap(axes, size)))


def _times(x: jax.Array, w: jax.Array, tap: Tap) -> jax.Array:
    """Every element times one tap, summed over I: (G*O, N, *space)."""
    factor = w[(..., *tap)]
    factor = lax.expand_dims(factor, range(3, x.ndim))
    return merge_axes((x * factor).sum(1, dtype=x.dtype), 0)
