"""A convolution with a dilated kernel as an ordinary one, by space-to-batch.

With taps d apart, an output reads only input elements whose positions are equal modulo
d. So the elements of each of the d residues are an image of their own, and these images
are one batch of an ordinary convolution. XLA:GPU would fill a dilated kernel up with
zeros.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from jconvt._lowerings.axes import merge_axes, move_axis, pad_axis, split_axis


class Undilated(NamedTuple):
    """The operand and the options of the ordinary convolution.

    Attributes:
      x: the input (N, *space, C), with the residues of some axes in the batch and those
        axes padded.
      padding: what the convolution has still to pad, per spatial axis.
      dilation: the kernel's dilation, per spatial axis; 1 for those in the batch.
      in_batch: (axis, dilation, output size) for each axis with residues in the batch.
    """

    x: jax.Array
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    in_batch: tuple[tuple[int, int, int], ...]

    def interleave(self, y: jax.Array) -> jax.Array:
        """The convolution's result with the residues back in space: (N, *out, C)."""
        for axis, d, size in reversed(self.in_batch):
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
    """Moves the residues of every dilated axis of static size into the batch."""
    pads = [*padding]
    spacing = [1 if k == 1 else d for k, d in zip(taps, dilation, strict=True)]
    in_batch: list[tuple[int, int, int]] = []
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
        in_batch.append((axis, d, size))
    return Undilated(x, tuple(pads), tuple(spacing), tuple(in_batch))
