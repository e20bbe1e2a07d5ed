"""At stride 1 an input gradient is an output: that of the turned kernel.

Per axis, with ``low`` of the output cropped and ``e = d*(k - 1) + 1``::

    y[o]  = sum over t of x[o + low - d*t] * w[t]
    dx[i] = sum over t of dy[i - low + d*t] * w[t]
          = sum over t of dy[i + (e - 1 - low) - d*t] * w[k - 1 - t]

so the cotangent replaces the input, the kernel is reversed along every spatial axis,
its input and output channels change places, and ``e - 1 - low`` elements are cropped.
If the crop is between 0 and ``e - 1`` (`Geometry.trim`), so is the new one. A lowering
then computes the gradient without being transposed, and the transposes of some
lowerings are slower than the lowerings themselves. Imports no JAX.
"""

import math
from dataclasses import replace

from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem


def turned_problem(problem: Problem) -> Problem:
    """The output of the turned kernel that is the input gradient, at stride 1."""
    return replace(
        problem,
        geometry=turned_geometry(problem.geometry),
        in_channels=problem.out_channels,
        out_channels=problem.in_channels,
        size=problem.geometry.output_size(problem.size),
    )


def is_turned(which: Map, problem: Problem) -> bool:
    """Whether a map of a trimmed geometry is computed as an output instead.

    The time to turn the kernel grows with the number of weights, the time saved with
    the number of products.
    """
    geometry = problem.geometry
    if which != Map.INPUT or any(s > 1 for s in geometry.stride):
        return False
    out = geometry.output_size(problem.size)
    places = map(min, problem.size, out)
    return problem.batch * math.prod(places) >= _PLACES


_PLACES = 1000
"""Turn only if each weight is used at least this often: turning takes about 3 ns per
weight (`prepared` in `jconvt._choice.cost`) and saves about a third of the 0.01 ns that
a GEMM takes per product."""


def turned_geometry(geometry: Geometry) -> Geometry:
    """The geometry of the input gradient as an output."""
    return replace(geometry, crop=geometry.dilated_pads)
