"""What a formulation costs on a CPU: a linear model of its work.

Seconds are a sum of rates times the counts of `Work`, with rates of their own for each
of the three maps. `python -m benchmarks.fit` fits them to times of random layers (none
of them in the benchmark's zoo) in float32 on two cores; those below are such fits,
rounded, with ``transposed`` held near what a transpose alone was timed at. ``summed``,
``convolved`` and ``packed``, and the output's ``cut`` and ``added``, were set by hand,
so that whole training steps of layers of `make cliffs` got faster. Only their ratios
matter to the choice, and wider elements scale all terms alike. No jax import.
"""

from jconvt._call.problem import Map, Problem
from jconvt._lowerings.spare import is_slow
from jconvt._lowerings.work import Work, has_fast_convolutions

_TABLE: dict[str, tuple[float, float, float]] = {
    "multiply_adds": (0.0075, 0.0075, 0.0075),
    "summed": (0.06, 0.1, 0.15),
    "convolved": (0.01, 0.018, 0.018),
    "packed": (0.18, 0.5, 0.5),
    "scattered": (1.2, 0.51, 0.5),
    "looped": (0.8, 0.8, 0.8),
    "operands": (0.11, 0.17, 0.28),
    "gathered": (0.37, 0.095, 0.055),
    "joined": (0.021, 0.26, 0.14),
    "added": (0.87, 0.49, 0.27),
    "reordered": (0.94, 1.1, 0.63),
    "strided": (0.054, 0.06, 0.023),
    "regrouped": (0.6, 0.05, 0.5),
    "transposed": (1.1, 1.1, 1.1),
    "swapped": (0.25, 0.26, 0.22),
    "prepared": (2.7, 2.3, 1.2),
    "cut": (1.0, 0.18, 0.2),
    "calls": (22000, 40000, 17000),
    "pressure": (0.73, 0.61, 0.57),
    "fixed": (27000, 39000, 28000),
}
"""Nanoseconds for each feature: of the output, the input and the weight gradient.

The multiply-adds are those of whole vectors; where products are ``scattered``, no zeros
are multiplied. ``looped`` is convolved work where XLA:CPU has plain loops, which go
over groups as over channels, and vary too much to be fitted: its rate is held at what
keeps them to layers of a few thousand multiply-adds. ``pressure`` are the elements of
temporaries where they are more than a process keeps between runs: glibc hands an
allocation of 32 MiB and more back to the system, and made anew it costs a page fault
for every 4 KiB. ``fixed`` is 1 for what is more than a convolution.
"""

RATES: dict[Map, dict[str, float]] = {
    which: dict(zip(_TABLE, rates, strict=True))
    for which, rates in zip(Map, zip(*_TABLE.values(), strict=True), strict=True)
}
"""The columns of the table."""

KEPT_BYTES = 24 * 2**20
"""Temporaries that a process keeps from run to run: of 32 MiB, with results beside
them, and less what the estimate misses."""


def features(which: Map, problem: Problem, work: Work) -> dict[str, int]:
    """The counts that the rates apply to; most are those of `Work` as they are."""
    found = {name: getattr(work, name, 0) for name in _TABLE}
    found |= {
        "multiply_adds": 0 if work.convolved else work.lanes,
        "pressure": _pressure(problem, work.temporary),
        "fixed": 0 if work.convolved else 1,
    }
    return found | _convolutions(which, problem, work)


def _convolutions(which: Map, problem: Problem, work: Work) -> dict[str, int]:
    """The multiply-adds of convolutions, by how XLA:CPU runs them."""
    counts: dict[str, int] = dict.fromkeys(_CONVOLVED, 0)
    geometry = problem.geometry
    fast = has_fast_convolutions(which, problem)
    if not work.convolved:
        return counts
    if fast and not work.inflated:
        counts["packed"] = work.packed * _times_packed(which, problem)
        counts["convolved"] = work.lanes
        counts["prepared"] = work.prepared // 2
    elif fast and work.scattered:
        counts["convolved"] = _SCATTERED * work.scattered * problem.in_channels
        counts["scattered"] = work.scattered
    else:
        counts["looped"] = work.convolved * geometry.groups
    return counts


_CONVOLVED = ("convolved", "packed", "scattered", "looped")


def _times_packed(which: Map, problem: Problem) -> int:
    """So many times as long as the rate says it takes to pack an element.

    Eigen packs rows of channels: over several axes in vectors of 4, or element by
    element if 4 does not divide the channels of a group. A slow YNNPACK
    (`jconvt._lowerings.spare`) is slow where its arrays are not in a cache. The factors
    are rounded from fits to times of some 500 convolutions with jaxlib 0.10.
    """
    geometry = problem.geometry
    elements = problem.inputs + problem.outputs
    large = elements * problem.itemsize > _CACHE_BYTES
    if large and which == Map.INPUT and is_slow(which, problem):
        return 4
    read = problem.out_channels if which == Map.INPUT else problem.in_channels
    unaligned = geometry.rank > 1 and read // geometry.groups % 4 > 0
    times = (2 if unaligned else 1) * (9 if geometry.rank == 3 else 1)
    if geometry.groups > 1:
        # The convolutions of phases, at stride 1 with no spare outputs, are YNNPACK's.
        phases = which == Map.OUTPUT and max(geometry.stride, default=1) > 1
        times *= 8 if phases else 3
    return times


_CACHE_BYTES = 8 * 2**20
"""Input and output of this size are taken to leave the caches."""

_SCATTERED = 5
"""A multiply-add whose product is scattered takes so many times as long."""


def seconds(which: Map, problem: Problem, work: Work) -> float:
    """The estimate for one map alone."""
    rates = RATES[which]
    counts = features(which, problem, work)
    return 1e-9 * sum(rates[name] * count for name, count in counts.items())


def seconds_of_pressure(which: Map, problem: Problem, temporary: int) -> float:
    """What so many elements of temporaries cost, alive in one program."""
    return 1e-9 * RATES[which]["pressure"] * _pressure(problem, temporary)


def _pressure(problem: Problem, temporary: int) -> int:
    return temporary if temporary * problem.itemsize > KEPT_BYTES else 0


def shared_seconds(which: Map, work: Work, *names: str) -> float:
    """The part of an estimate that these counts make: done once, it serves two maps."""
    rates = RATES[which]
    return 1e-9 * sum(rates[name] * getattr(work, name) for name in names)


def fits(problem: Problem, work: Work, native: Work) -> bool:
    """Whether temporaries keep the promise about memory.

    They may exceed those of the `native` form by twice the largest of input, weight and
    output; where that is less than 64 MiB, these are allowed. Products that XLA's own
    transposed convolution scatters are not counted for it: `memory_analysis` does not
    show them.
    """
    of_native = (native.temporary - native.scattered) * problem.itemsize
    most = allowed_bytes(problem, of_native)
    return _MARGIN * work.peak * problem.itemsize <= most


def allowed_bytes(problem: Problem, native: int) -> int:
    """The promise about memory, where the native form has so many bytes of its own."""
    largest = max(problem.inputs, problem.weights, problem.outputs)
    return max(native + 2 * largest * problem.itemsize, _SMALL_BYTES)


_SMALL_BYTES = 64 * 2**20
_MARGIN = 1.1
"""Estimates of temporaries may be too small by a tenth."""

DEAREST = 3.0
"""No formulation estimated at so many times the least is taken to save memory."""
