"""At stride 1 an input gradient is an output: that of the turned kernel.

Per axis, with ``low`` of the output cropped and ``e = d*(k - 1) + 1``::

    y[o]  = sum over t of x[o + low - d*t] * w[t]
    dx[i] = sum over t of dy[i - low + d*t] * w[t]
          = sum over t of dy[i + (e - 1 - low) - d*t] * w[k - 1 - t]

so the cotangent takes the place of the input, the kernel is reversed along every
spatial axis and its channels change places, and ``e - 1 - low`` is cropped. With a crop
between 0 and ``e - 1`` (`Geometry.trim`) that one is too. Lowerings made for an output
then serve the gradient as they are, not transposed, and the transposes of some of them
are slower: filters are spread over an input where the output's are collected. No jax
import.
"""

import math
from dataclasses import replace

from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem


def as_output(which: Map, problem: Problem) -> tuple[Map, Problem]:
    """What is computed for a map: an output of the turned kernel, or the map itself."""
    if not is_turned(which, problem):
        return which, problem
    turned = replace(
        problem,
        geometry=turned_geometry(problem.geometry),
        in_channels=problem.out_channels,
        out_channels=problem.in_channels,
        size=problem.geometry.output_size(problem.size),
    )
    return Map.OUTPUT, turned


def is_turned(which: Map, problem: Problem) -> bool:
    """Whether a map of a trimmed geometry is computed as an output instead.

    Turning the kernel takes time for each weight, and what it saves grows with the
    products, of which a weight has one at each place at most.
    """
    geometry = problem.geometry
    if which != Map.INPUT or any(s > 1 for s in geometry.stride):
        return False
    out = geometry.output_size(problem.size)
    places = map(min, problem.size, out)
    return problem.batch * math.prod(places) >= _PLACES


_PLACES = 1000
"""Turn only if each weight is used at least this often: turning takes some 3 ns a
weight (`prepared` in `jconvt._choice.cost`), and saves about a third of a GEMM's 0.01
ns a product."""


def turned_geometry(geometry: Geometry) -> Geometry:
    """The geometry of the input gradient as an output."""
    return replace(geometry, crop=geometry.dilated_pads)
