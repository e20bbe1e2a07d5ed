"""The input of a dilated convolution, for an ordinary one.

With taps d apart an output reads elements that are d apart: residues of positions
modulo d never meet. The elements of one residue are an image of their own, and all of
these are one batch. XLA:GPU would write a dilated kernel out with its zeros.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from jconvt._lowerings.axes import merge_axes, move_axis, pad_axis, split_axis


class Undilated(NamedTuple):
    """What to convolve, (N, *space, C), and how.

    Attributes:
      x: with the residues of some axes in the batch.
      padding: of each spatial axis, as far as it is not in `x`.
      dilation: of each spatial axis, 1 where it is in the batch.
      taken: those axes, with their dilations and the sizes of the result.
    """

    x: jax.Array
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    taken: tuple[tuple[int, int, int], ...]

    def together(self, y: jax.Array) -> jax.Array:
        """The result for all residues, in their order."""
        for axis, d, size in reversed(self.taken):
            y = split_axis(y, 0, (y.shape[0] // d, d))
            y = merge_axes(move_axis(y, 1, axis + 1), axis)
            y = pad_axis(y, axis, 0, size - y.shape[axis])
        return y


def undilate(
    x: jax.Array,
    taps: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> Undilated:
    """Without dilation on the axes whose sizes are ints."""
    pads = [*padding]
    spacing = [1 if k == 1 else d for k, d in zip(taps, dilation, strict=True)]
    taken: list[tuple[int, int, int]] = []
    for i, (k, d) in enumerate(zip(taps, spacing, strict=True)):
        axis, n = 1 + i, x.shape[1 + i]
        size = n + sum(padding[i]) - d * (k - 1) if isinstance(n, int) else 0
        if d == 1 or size < 1:
            continue
        elements = -(-size // d) + k - 1
        low, _ = padding[i]
        x = pad_axis(x, axis, low, 0)
        x = pad_axis(x, axis, 0, elements * d - x.shape[axis])
        x = split_axis(x, axis, (elements, d))
        x = merge_axes(move_axis(x, axis + 1, 1), 0)
        pads[i], spacing[i] = (0, 0), 1
        taken.append((axis, d, size))
    return Undilated(x, tuple(pads), tuple(spacing), tuple(taken))
