"""What a formulation costs on a CPU: a linear model of its work.

Seconds are a sum of rates times the counts of `Work`, with rates of their own for each
of the three maps. `python -m benchmarks.fit` fits them to times of random layers (none
of them in the benchmark's zoo) in float32 on two cores; those below are such fits,
rounded, with ``transposed`` held near what a transpose alone was timed at. ``summed``
(from depthwise layers alone), ``inflated``, and the output's ``cut`` and ``added`` were
set by hand.
Only their ratios matter to the choice, and wider elements scale all terms alike. No jax
import.
"""

from jconvt._lowerings._problem import Problem, Slot, Work

FEATURES: tuple[str, ...] = (
    "multiply_adds",
    "summed",
    "convolved",
    "inflated",
    "scattered",
    "looped",
    "operands",
    "gathered",
    "joined",
    "added",
    "reordered",
    "strided",
    "regrouped",
    "transposed",
    "swapped",
    "prepared",
    "cut",
    "calls",
    "batches",
    "pressure",
    "fixed",
)
"""The terms of the model, in the order of the rates.

The multiply-adds are those of whole vectors; where products are ``scattered``, no zeros
are multiplied. ``looped`` is convolved work where XLA:CPU has plain loops, which go
over groups as over channels; ``batches`` the GEMMs of single groups; ``pressure`` the
elements of temporaries where they are more than a process keeps between runs: glibc
hands an allocation of 32 MiB and more back to the system, and made anew it costs a page
fault for every 4 KiB. ``fixed`` is 1 for what is more than a convolution.
"""

RATES: dict[Slot, tuple[float, ...]] = {
    Slot.FORWARD: (
        0.0075, 0.13, 0.053, 0.03, 1.2, 2, 0.11, 0.37, 0.021, 0.87, 0.94, 0.054, 0.31,
        1.1, 0.25, 2.7, 1.0, 22000, 22, 0.73, 27000,
    ),
    Slot.INPUT_GRADIENT: (
        0.0075, 0.11, 0.027, 0.03, 0.51, 2, 0.17, 0.095, 0.26, 0.49, 1.1, 0.06, 0.046,
        1.1, 0.26, 2.3, 0.18, 40000, 44, 0.61, 39000,
    ),
    Slot.WEIGHT_GRADIENT: (
        0.0075, 0.24, 0.018, 0.03, 0.5, 2, 0.28, 0.055, 0.14, 0.27, 0.63, 0.023, 0.25,
        1.1, 0.22, 1.2, 0.2, 17000, 65, 0.57, 28000,
    ),
}  # fmt: skip
"""Nanoseconds for each feature. Plain loops vary too much to be fitted; theirs is held
at what keeps them to layers of a few thousand multiply-adds."""

KEPT_BYTES = 24 * 2**20
"""Temporaries that a process keeps from run to run: of 32 MiB, with results beside
them, and less what the estimate misses."""


def features(slot: Slot, problem: Problem, work: Work, fast: bool) -> tuple[float, ...]:
    """The counts of a map; `fast` says that convolutions have a fast path."""
    groups = problem.geometry.groups
    convolved = work.lanes if work.convolved else 0
    scattered = work.scattered if fast else 0
    direct = convolved if not work.inflated else scattered * problem.in_channels
    return (
        0 if work.convolved else work.lanes,
        work.summed,
        direct if fast else 0,
        convolved if fast and work.inflated and not scattered else 0,
        scattered,
        0 if fast else convolved * groups,
        work.operands,
        work.gathered,
        work.joined,
        work.added,
        work.reordered,
        work.strided,
        work.regrouped,
        work.transposed,
        work.swapped,
        work.prepared,
        work.cut,
        work.calls,
        work.calls * groups if groups > 1 else 0,
        _pressure(problem, work.temporary),
        0 if work.convolved else 1,
    )


def seconds(slot: Slot, problem: Problem, work: Work, fast: bool) -> float:
    """The estimate for one map alone."""
    counts = features(slot, problem, work, fast)
    return 1e-9 * sum(r * c for r, c in zip(RATES[slot], counts, strict=True))


def seconds_of_pressure(slot: Slot, problem: Problem, temporary: int) -> float:
    """What so many elements of temporaries cost, alive in one program."""
    rate = RATES[slot][FEATURES.index("pressure")]
    return 1e-9 * rate * _pressure(problem, temporary)


def _pressure(problem: Problem, temporary: int) -> int:
    return temporary if temporary * problem.itemsize > KEPT_BYTES else 0


def shared_seconds(slot: Slot, work: Work, *names: str) -> float:
    """The part of an estimate that these counts make: done once, it serves two maps."""
    rates = dict(zip(FEATURES, RATES[slot], strict=True))
    return 1e-9 * sum(rates[name] * getattr(work, name) for name in names)


def fits(problem: Problem, work: Work, native: Work) -> bool:
    """Whether temporaries are at most twice the larger of input and output more.

    More than those of the `native` form. Where that is little, 64 MiB are allowed.
    """
    allowed = native.temporary + 2 * max(problem.inputs, problem.outputs)
    most = max(allowed * problem.itemsize, _SMALL_BYTES)
    return work.temporary * problem.itemsize <= most


_SMALL_BYTES = 64 * 2**20
