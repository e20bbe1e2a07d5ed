"""A convolution of a dilated input, written so that XLA does not abort on it.

XLA writes groups as space: as an axis without padding, of an input dilated by d, with
a kernel of d elements that stand d - 1 apart. Where it exchanges input and kernel, if
the kernel is larger, it takes any axis with these numbers for such groups, whatever the
input's size, and fails a check (SwapConvOperands in its algebraic simplifier; seen up
to jax 0.12). So such an axis is padded for one output more, which is then removed.
"""

from collections.abc import Sequence

import jax
from jax import lax
from jax.sharding import PartitionSpec

from jconvt._call.geometry import Size
from jconvt._call.numerics import Numerics


def convolve_dilated(
    array: jax.Array,
    kernel: jax.Array,
    output_size: Sequence[Size],
    numbers: lax.ConvDimensionNumbers,
    numerics: Numerics,
    *,
    padding: Sequence[tuple[Size, Size]],
    dilation: Sequence[int],
    kernel_dilation: Sequence[int],
    groups: int,
    out_sharding: PartitionSpec | None = None,
) -> jax.Array:
    """Convolve the dilated `array` with the dilated and reversed `kernel`.

    `output_size`, `padding` and both dilations are per spatial axis.
    """
    space = numbers.rhs_spec[2:]
    sizes = [kernel.shape[axis] for axis in space]
    more = [
        # First this convolution, then its transpose, whose kernel is the cotangent.
        pads == (0, 0) and (k == d == 2 or out == d == kernel_d + 1)
        for k, out, d, kernel_d, pads in zip(
            sizes, output_size, dilation, kernel_dilation, padding, strict=True
        )
    ]
    y = lax.conv_general_dilated(
        array,
        lax.rev(kernel, space),
        window_strides=(1,) * len(space),
        padding=[
            (low, high + one) for (low, high), one in zip(padding, more, strict=True)
        ],
        lhs_dilation=dilation,
        rhs_dilation=kernel_dilation,
        dimension_numbers=numbers,
        feature_group_count=groups,
        precision=numerics.precision,
        preferred_element_type=numerics.result,
        out_sharding=out_sharding,
    )
    for axis, one in zip(numbers.out_spec[2:], more, strict=True):
        if one:
            y = lax.slice_in_dim(y, 0, y.shape[axis] - 1, axis=axis)
    return y
