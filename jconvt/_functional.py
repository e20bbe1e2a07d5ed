"""The public functions: `conv_transpose` and its forms for one to three axes."""

from typing import Unpack

import jax
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import IntOrInts, Padding, spatial_rank
from jconvt._call.call import RunOptions
from jconvt._call.layout import DimensionNumbers
from jconvt._call.lowerings import Lowerings
from jconvt._call.numerics import Precision, check_array
from jconvt._call.options import (
    GeometryOptions,
    dimension_numbers_of,
    normalize_options,
)
from jconvt._call.tracebacks import ends_traceback
from jconvt._maps.execute import execute


@ends_traceback
def conv_transpose(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
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
    """Transposed convolution over any number of spatial axes, in any layout.

    Input element ``i`` adds ``weight[t] * input[i]`` to position ``i*stride +
    t*dilation`` of the full output; then ``padding`` elements are cropped from it. This
    is the adjoint of the convolution with the same weight. Each spatial axis has
    ``O = (S-1)*stride + dilation*(K-1) + 1 - low - high + output_padding`` output
    elements, where (low, high) is the crop. The result is linear in `input` and in
    `weight`, and can be differentiated in both modes to any order.

    N is the batch, C_in and C_out are the channels. S, O and K are the sizes of input,
    output and kernel along a spatial axis; ``*S`` stands for any number of axes.

    Args:
      input: ``(N, C_in, *S)``, or unbatched ``(C_in, *S)``. A JAX or NumPy array of
        integer, floating or complex dtype.
      weight: ``(C_in, C_out/groups, *K)``. Its rank says how many spatial axes there
        are: 0 or more.
      bias: ``(C_out,)``, added to every output element, also to those that no input
        element reaches; or None.
      stride: output elements between neighbouring input elements. An int, or one for
        each spatial axis.
      padding: *output* elements to crop. An int crops both ends of every axis. A tuple
        or list holds an int, a (low, high) pair or a name for each axis; a negative
        number in a pair appends elements, which hold the bias. A name chooses
        the crop: ``"VALID"`` gives ``O = (S-1)*stride + max(dilation*(K-1)+1,
        stride)``, which is more than padding 0 where the kernel is smaller than
        the stride; every other name gives ``O = S*stride``. ``"SAME"`` crops as
        TensorFlow, Keras and lax do, ``"SAME_LOWER"`` as ONNX does, and
        ``"CAUSAL"`` so that no output depends on a later input. ``"CIRCULAR"``
        extends the input periodically and crops as SAME (Flax's rule),
        ``"CIRCULAR_LOWER"`` as SAME_LOWER (Flax's rule with
        ``transpose_kernel=True``).
      output_padding: output elements appended at the high end. They are computed like
        all others and are not zeros. Smaller than `stride` or `dilation` on each axis;
        0 on an axis with a CIRCULAR padding.
      output_size: O, in place of `output_padding`. An int, or one for each spatial
        axis, at most ``stride - 1`` more than the size without `output_padding`. It may
        be a symbolic size of `jax.export`.
      groups: number of groups into which the channels are divided; groups do not mix.
      dilation: output elements between neighbouring taps.
      dimension_numbers: three specs as in lax, for input, weight and output, such as
        ``("NHWC", "HWIO", "NHWC")``, or a `jax.lax.ConvDimensionNumbers`. I is C_in and
        O is C_out/groups. The other letters are spatial axes; options with one entry
        for each axis follow their order in the weight. None: channels first,
        ``("NC...", "IO...", "NC...")``.
      precision: as in `jax.lax.conv_general_dilated`.
      preferred_element_type: dtype of the result, as in lax. None: the promoted dtype.
      lowering: how to compute the output and both gradients: ``"auto"``, a name from
        the list that `jconvt.explain` gives, or `jconvt.Lowerings` with a name for each
        of the three.

    Returns:
      ``(N, C_out, *O)``, or ``(C_out, *O)`` for an unbatched input, of the dtype to
      which the operands promote by JAX's rules. 16-bit floats are summed in float32;
      the bias is added to the rounded sum.

    Raises:
      TypeError: an option or array has the wrong type. Bools and floats are not ints.
      ValueError: an option is out of range, shapes do not fit, an output size cannot be
        reached, or a lowering cannot serve.

    Example:
      >>> import jax.numpy as jnp, jconvt
      >>> x = jnp.array([[[1, 2, 3]]])
      >>> w = jnp.array([[[1, 10]]])
      >>> jconvt.conv_transpose(x, w, stride=2)
      Array([[[ 1, 10,  2, 20,  3, 30]]], dtype=int32)
      >>> jconvt.conv_transpose(x, w, stride=2, padding=[(1, -2)])
      Array([[[10,  2, 20,  3, 30,  0,  0]]], dtype=int32)
      >>> jconvt.conv_transpose(x, w, padding="CIRCULAR")
      Array([[[31, 12, 23]]], dtype=int32)
      >>> volume = jnp.ones((2, 8, 8, 8, 4))
      >>> numbers = ("NDHWC", "DHWIO", "NDHWC")
      >>> jconvt.conv_transpose(volume, jnp.ones((3, 3, 3, 4, 6)), stride=2,
      ...                       padding="SAME", dimension_numbers=numbers).shape
      (2, 16, 16, 16, 6)

    Sizes and crop follow Dumoulin and Visin, arXiv:1603.07285, section 4.
    """
    function = "conv_transpose"
    options = normalize_options(
        function,
        spatial_rank(function, check_array(function, "weight", weight).shape),
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
        dimension_numbers=dimension_numbers,
    )
    return execute(
        options,
        input,
        weight,
        bias,
        output_size=output_size,
        precision=precision,
        preferred_element_type=preferred_element_type,
        lowering=lowering,
    )


@ends_traceback
def conv_transpose1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: IntOrInts = 1,
    padding: IntOrInts = 0,
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
    *,
    output_size: IntOrInts | None = None,
    data_format: str = "NCW",
    precision: Precision = None,
    preferred_element_type: DTypeLike | None = None,
    lowering: str | Lowerings = "auto",
) -> jax.Array:
    """Transposed convolution over one spatial axis, as PyTorch defines it.

    Args:
      input: ``(N, C_in, L)`` or ``(C_in, L)``; channels last under ``"NWC"``.
      weight: ``(C_in, C_out/groups, K)`` in either data format.
      bias: ``(C_out,)``, or None.
      stride: output elements between neighbouring input elements.
      padding: output elements cropped at both ends, at least 0.
      output_padding: output elements appended at the end, less than `stride` or
        `dilation`.
      groups: number of groups into which the channels are divided.
      dilation: output elements between neighbouring taps.
      output_size: the output's length, in place of `output_padding`.
      data_format: ``"NCW"`` or ``"NWC"``, of input and output.
      precision: as in `conv_transpose`.
      preferred_element_type: as in `conv_transpose`.
      lowering: as in `conv_transpose`.

    Returns:
      ``(N, C_out, O)`` or ``(C_out, O)``, in the data format, with
      ``O = (L-1)*stride - 2*padding + dilation*(K-1) + output_padding + 1``.

    Raises:
      TypeError: an option or array has the wrong type.
      ValueError: an option is out of range, or shapes do not fit.

    Example:
      >>> import jax.numpy as jnp, jconvt
      >>> x, w = jnp.array([[1, 2, 3]]), jnp.array([[[1, 1, 1]]])
      >>> jconvt.conv_transpose1d(x, w, stride=2, padding=1)
      Array([[1, 3, 2, 5, 3]], dtype=int32)
    """
    return _conv_transpose(
        "conv_transpose1d",
        1,
        input,
        weight,
        bias,
        data_format,
        {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "groups": groups,
            "dilation": dilation,
        },
        output_size=output_size,
        precision=precision,
        preferred_element_type=preferred_element_type,
        lowering=lowering,
    )


@ends_traceback
def conv_transpose2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: IntOrInts = 1,
    padding: IntOrInts = 0,
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
    *,
    output_size: IntOrInts | None = None,
    data_format: str = "NCHW",
    precision: Precision = None,
    preferred_element_type: DTypeLike | None = None,
    lowering: str | Lowerings = "auto",
) -> jax.Array:
    """Transposed convolution over two spatial axes, as PyTorch and MindSpore define it.

    Names, order and meaning of the arguments are those of
    `torch.nn.functional.conv_transpose2d` and of
    `mindspore.mint.nn.functional.conv_transpose2d`.

    Args:
      input: ``(N, C_in, H, W)`` or ``(C_in, H, W)``; channels last under ``"NHWC"``.
      weight: ``(C_in, C_out/groups, KH, KW)`` in either data format.
      bias: ``(C_out,)``, or None.
      stride: output elements between neighbouring input elements. An int, or a tuple or
        list of two; `padding`, `output_padding`, `dilation` and `output_size` too.
      padding: output elements cropped at both ends, at least 0. Pairs and names such
        as ``"SAME"`` are for `conv_transpose`.
      output_padding: output elements appended at the end, less than `stride` or
        `dilation` on each axis. They are computed like all others, not zeros.
      groups: number of groups into which the channels are divided.
      dilation: output elements between neighbouring taps.
      output_size: the output's spatial size, in place of `output_padding`.
      data_format: ``"NCHW"`` or ``"NHWC"``, of input and output.
      precision: as in `conv_transpose`.
      preferred_element_type: as in `conv_transpose`.
      lowering: as in `conv_transpose`.

    Returns:
      ``(N, C_out, OH, OW)`` or ``(C_out, OH, OW)``, in the data format, with
      ``O = (S-1)*stride - 2*padding + dilation*(K-1) + output_padding + 1`` per axis.

    Raises:
      TypeError: an option or array has the wrong type.
      ValueError: an option is out of range, or shapes do not fit.

    Example:
      >>> import jax, jax.numpy as jnp, jconvt
      >>> x = jnp.ones((1, 4, 5, 5))
      >>> w = jnp.ones((4, 8, 3, 3))
      >>> jconvt.conv_transpose2d(x, w).shape
      (1, 8, 7, 7)
      >>> jconvt.conv_transpose2d(x, w, stride=2, padding=1, output_size=(9, 10)).shape
      (1, 8, 9, 10)
      >>> loss = lambda w: jconvt.conv_transpose2d(x, w, stride=(2, 1)).sum()
      >>> jax.grad(loss)(w).shape
      (4, 8, 3, 3)
    """
    return _conv_transpose(
        "conv_transpose2d",
        2,
        input,
        weight,
        bias,
        data_format,
        {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "groups": groups,
            "dilation": dilation,
        },
        output_size=output_size,
        precision=precision,
        preferred_element_type=preferred_element_type,
        lowering=lowering,
    )


@ends_traceback
def conv_transpose3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: IntOrInts = 1,
    padding: IntOrInts = 0,
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
    *,
    output_size: IntOrInts | None = None,
    data_format: str = "NCDHW",
    precision: Precision = None,
    preferred_element_type: DTypeLike | None = None,
    lowering: str | Lowerings = "auto",
) -> jax.Array:
    """Transposed convolution over three spatial axes, as PyTorch defines it.

    Args:
      input: ``(N, C_in, D, H, W)`` or ``(C_in, D, H, W)``; channels last under
        ``"NDHWC"``.
      weight: ``(C_in, C_out/groups, KD, KH, KW)`` in either data format.
      bias: ``(C_out,)``, or None.
      stride: output elements between neighbouring input elements. An int, or a tuple or
        list of three; `padding`, `output_padding`, `dilation` and `output_size` too.
      padding: output elements cropped at both ends, at least 0.
      output_padding: output elements appended at the end, less than `stride` or
        `dilation` on each axis.
      groups: number of groups into which the channels are divided.
      dilation: output elements between neighbouring taps.
      output_size: the output's spatial size, in place of `output_padding`.
      data_format: ``"NCDHW"`` or ``"NDHWC"``, of input and output.
      precision: as in `conv_transpose`.
      preferred_element_type: as in `conv_transpose`.
      lowering: as in `conv_transpose`.

    Returns:
      ``(N, C_out, OD, OH, OW)`` or ``(C_out, OD, OH, OW)``, in the data format, with
      ``O = (S-1)*stride - 2*padding + dilation*(K-1) + output_padding + 1`` per axis.

    Raises:
      TypeError: an option or array has the wrong type.
      ValueError: an option is out of range, or shapes do not fit.

    Example:
      >>> import jax.numpy as jnp, jconvt
      >>> x, w = jnp.ones((1, 2, 4, 4, 4)), jnp.ones((2, 3, 2, 2, 2))
      >>> jconvt.conv_transpose3d(x, w, stride=2).shape
      (1, 3, 8, 8, 8)
    """
    return _conv_transpose(
        "conv_transpose3d",
        3,
        input,
        weight,
        bias,
        data_format,
        {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "groups": groups,
            "dilation": dilation,
        },
        output_size=output_size,
        precision=precision,
        preferred_element_type=preferred_element_type,
        lowering=lowering,
    )


def _conv_transpose(
    function: str,
    rank: int,
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    data_format: str,
    geometry: GeometryOptions,
    **run: Unpack[RunOptions],
) -> jax.Array:
    numbers = dimension_numbers_of(function, data_format, rank)
    geometry = {**geometry, "dimension_numbers": numbers}
    options = normalize_options(function, rank, **geometry, symmetric_padding=True)
    return execute(options, input, weight, bias, **run)
