"""The overlap map: why some transposed convolutions draw checkerboards."""

import typing

import numpy as np

from jconvt._call.arguments import IntOrInts, Padding
from jconvt.plot._axes import axes_of
from jconvt.plot._line import lines_of

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes


def overlap(
    input_size: IntOrInts,
    kernel_size: IntOrInts,
    *,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    output_size: IntOrInts | None = None,
    dilation: IntOrInts = 1,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw how many taps contribute to each output element.

    Bars for one spatial axis, an image with its colour bar for two. Where the kernel
    (undilated) is a multiple of the stride the map is flat but for its borders; where
    it is not, the map shows the checkerboard that the layer draws on flat input unless
    its weights make up for it.

    Args:
      input_size: input elements per spatial axis: an int, or one for each of 1 or 2
        axes.
      kernel_size: taps per spatial axis, likewise. Two plain ints are for one axis.
      stride: as in `jconvt.conv_transpose`, output elements, as are the next four.
      padding: output elements cropped, in any way that `conv_transpose` takes.
      output_padding: output elements appended.
      output_size: the output's spatial size.
      dilation: output elements between neighbouring taps.
      ax: matplotlib axes to draw on; None: those of a new figure.

    Returns:
      The axes. Of the bars, number o stands at o and is as high as the number of pairs
      of an input element and a tap that add to output element o; ``ax.images[0]`` of
      two axes holds the same numbers.

    Raises:
      ImportError: matplotlib is not installed.
      TypeError: an argument of the wrong kind.
      ValueError: an argument out of range, or more than 2 spatial axes.

    Example:
      >>> import jconvt.plot
      >>> ax = jconvt.plot.overlap(4, 3, stride=2)
      >>> [int(bar.get_height()) for bar in ax.patches]
      [1, 1, 2, 1, 2, 1, 2, 1, 1]
      >>> ax = jconvt.plot.overlap((2, 2), 3, stride=2)
      >>> ax.images[0].get_array().tolist()[2]
      [2, 2, 4, 2, 2]
    """
    function = "plot.overlap"
    lines = lines_of(
        function,
        2,
        input_size,
        kernel_size,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        output_size=output_size,
        dilation=dilation,
    )
    ax = axes_of(function, ax, (5.0, 2.4 if len(lines) == 1 else 4.0))
    from matplotlib.ticker import MaxNLocator

    whole = MaxNLocator(integer=True)
    counts = [line.overlap for line in lines]
    if len(counts) == 1:
        ax.bar(np.arange(counts[0].size), counts[0], width=0.9)
        ax.set(xlabel="output element", ylabel="taps")
        ax.yaxis.set_major_locator(whole)
    else:
        image = ax.imshow(np.multiply.outer(*counts), vmin=0, interpolation="nearest")
        ax.set(xlabel="output column", ylabel="output row")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.figure.colorbar(image, ax=ax, label="taps", ticks=whole)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax
