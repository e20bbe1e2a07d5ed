"""Pictures of a transposed convolution, with matplotlib.

matplotlib is optional (``pip install 'jconvt[plot]'``) and is imported when a function
is called. Each function draws on ``ax`` or on a new figure, and returns the axes. The
colours are those of matplotlib's current style, light or dark.
"""

from jconvt.plot._lowerings import lowerings
from jconvt.plot._overlap import overlap
from jconvt.plot._scatter import scatter

__all__ = ["lowerings", "overlap", "scatter"]
