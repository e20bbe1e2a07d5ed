"""The shape of an output, and the call that shapes and options make, without arrays."""

from typing import Unpack

import numpy as np
from jax.typing import DTypeLike

from jconvt._call.arguments import (
    IntOrInts,
    Padding,
    Shape,
    check_shape,
    spatial_rank,
)
from jconvt._call.call import Call, Sizes
from jconvt._call.geometry import Size
from jconvt._call.layout import DimensionNumbers
from jconvt._call.lowerings import Lowerings
from jconvt._call.numerics import Precision
from jconvt._call.options import (
    GeometryOptions,
    dimension_numbers_of,
    normalize_options,
)
from jconvt._call.tracebacks import ends_traceback
from jconvt._maps.execute import settle_call


@ends_traceback
def output_shape(
    input_shape: Shape,
    weight_shape: Shape,
    *,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    output_size: IntOrInts | None = None,
    groups: int = 1,
    dilation: IntOrInts = 1,
    dimension_numbers: DimensionNumbers | None = None,
    data_format: str | None = None,
    precision: Precision = None,
    preferred_element_type: DTypeLike | None = None,
    lowering: str | Lowerings = "auto",
) -> tuple[Size, ...]:
    """The shape that a transposed convolution gives for these shapes and options.

    Only arithmetic, with the errors of `conv_transpose`. It also takes the options that
    do not affect the shape, so that the same keyword arguments serve both functions.

    Args:
      input_shape: ``(N, C_in, *S)`` or ``(C_in, *S)``: ints, or symbolic dimensions
        of `jax.export` for batch and space.
      weight_shape: ``(C_in, C_out/groups, *K)``: ints.
      stride: as in `conv_transpose`, like the next three.
      padding: output elements to crop.
      output_padding: output elements appended.
      output_size: the output's spatial size, in place of `output_padding`.
      groups: number of groups of channels.
      dilation: output elements between neighbouring taps.
      dimension_numbers: layouts of input, weight and output.
      data_format: as in `conv_transpose2d`, in place of `dimension_numbers`.
      precision: without effect here.
      preferred_element_type: without effect here.
      lowering: without effect on the shape; an error if it cannot serve.

    Returns:
      A tuple of ints, symbolic where the input's are.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument is out of range, or shapes do not fit.

    Example:
      >>> import jax, jconvt
      >>> jconvt.output_shape((16, 128, 16, 16), (128, 64, 4, 4), stride=2, padding=1)
      (16, 64, 32, 32)
      >>> n, = jax.export.symbolic_shape("n")
      >>> jconvt.output_shape((1, 8, n), (8, 4, 5), stride=3, padding="SAME")
      (1, 4, 3*n)
    """
    del preferred_element_type
    call, shape, weight = call_of_shapes(
        "output_shape",
        input_shape,
        weight_shape,
        data_format=data_format,
        output_size=output_size,
        precision=precision,
        lowering=lowering,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
        dimension_numbers=dimension_numbers,
    )
    return call.output_shape(shape, weight)


def call_of_shapes(
    function: str,
    input_shape: Shape,
    weight_shape: Shape,
    dtype: DTypeLike = np.float32,
    *,
    data_format: str | None = None,
    output_size: IntOrInts | None = None,
    precision: Precision = None,
    lowering: str | Lowerings = "auto",
    **geometry: Unpack[GeometryOptions],
) -> tuple[Call, Sizes, Sizes]:
    """The call, and the shapes as plain ints (or symbolic); or the error.

    `dtype` is that of the arrays; no shape depends on it.
    """
    shape = check_shape(function, "input_shape", input_shape)
    weight = check_shape(function, "weight_shape", weight_shape)
    rank = spatial_rank(function, weight)
    if data_format is not None:
        numbers = geometry.get("dimension_numbers")
        if numbers is not None:
            raise ValueError(
                f"{function}: `data_format` and `dimension_numbers` say the same; give "
                f"one of them. Got {data_format!r} and {numbers!r}."
            )
        numbers = dimension_numbers_of(function, data_format, rank)
        geometry = {**geometry, "dimension_numbers": numbers}
    call = settle_call(
        normalize_options(function, rank, **geometry),
        (shape, weight, None),
        [dtype],
        output_size=output_size,
        precision=precision,
        lowering=lowering,
    )
    return call, shape, weight
