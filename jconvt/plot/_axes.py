"""The axes to draw on. matplotlib is imported here first."""

import typing

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes_of(function: str, ax: object, size: tuple[float, float]) -> "Axes":
    """`ax` if it is not None, else the axes of a new figure of `size` in inches."""
    try:
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{function}: needs matplotlib; run: pip install 'jconvt[plot]'"
        ) from error

    if ax is None:
        return pyplot.subplots(figsize=size, layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(
            f"{function}: `ax` must be matplotlib axes, one, or None for a new figure; "
            f"got {type(ax).__name__}."
        )
    return ax
