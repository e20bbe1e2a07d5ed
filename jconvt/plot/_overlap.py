"""`overlap`: how many taps reach each output, and where checkerboards come from."""

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

    The picture shows bars for one spatial axis, and an image with a colour bar for two.
    If the kernel size is a multiple of the stride (and not dilated), the numbers are
    equal except at the borders. Otherwise they show the checkerboard that the layer
    makes of constant input, unless its weights compensate for it.

    Args:
      input_size: input elements per spatial axis: an int, or a tuple of one or two.
      kernel_size: taps per spatial axis, likewise. If both are ints, there is one axis.
      stride: as in `jconvt.conv_transpose`, in output elements.
      padding: output elements cropped, in every form that `conv_transpose` accepts.
      output_padding: output elements appended.
      output_size: the output's spatial size.
      dilation: output elements between neighbouring taps.
      ax: matplotlib axes to draw on; None: those of a new figure.

    Returns:
      The axes. The bar at o is as high as the number of pairs (input element, tap) that
      add to output element o. With two spatial axes, ``ax.images[0]`` holds these
      numbers.

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

    counts = [line.overlap for line in lines]
    if len(counts) == 1:
        ax.bar(np.arange(counts[0].size), counts[0], width=0.9)
        ax.set(xlabel="output element", ylabel="taps")
    else:
        image = ax.imshow(np.multiply.outer(*counts), vmin=0, interpolation="nearest")
        ax.set(xlabel="output column", ylabel="output row")
        ticks = MaxNLocator(integer=True)
        ax.figure.colorbar(image, ax=ax, label="taps", ticks=ticks)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    return ax
