"""What a formulation costs on a CPU: a linear model of its work.

Seconds are a sum of rates times the counts of `Work`, with rates of their own for each
of the three maps. `python -m benchmarks.fit` fits them to times of random layers (none
of them in the benchmark's zoo) in float32 on two cores; those below are such fits,
rounded, but for ``calls``, ``fixed`` and ``pressure``, which were set by hand between
two of them. Only their ratios matter to the choice, and wider elements scale all terms
alike. No jax import.
"""

from jconvt._lowerings._problem import Problem, Slot, Work

FEATURES: tuple[str, ...] = (
    "multiply_adds",
    "convolved",
    "looped",
    "operands",
    "gathered",
    "joined",
    "strided",
    "transposed",
    "prepared",
    "calls",
    "batches",
    "pressure",
    "fixed",
)
"""The terms of the model, in the order of the rates.

The multiply-adds are those of whole vectors. ``looped`` is convolved work where XLA:CPU
has plain loops, which go over groups as over channels; ``batches`` the GEMMs of single
groups; ``pressure`` the elements of temporaries where they are more than a process
keeps between runs: glibc hands an allocation of 32 MiB and more back to the system, and
made anew it costs a page fault for every 4 KiB. ``fixed`` is 1 for what is more than a
convolution.
"""

RATES: dict[Slot, tuple[float, ...]] = {
    Slot.FORWARD: (
        0.0085, 0.022, 2, 0.9, 0.05, 0.12, 0.14, 1.1, 1.6, 6000, 75, 1.5, 36_000,
    ),
    Slot.INPUT_GRADIENT: (
        0.0108, 0.032, 2, 0.42, 0.02, 0.85, 0.5, 0.95, 2.8, 7000, 90, 1.5, 20_000,
    ),
    Slot.WEIGHT_GRADIENT: (
        0.0105, 0.018, 2, 1.0, 0.05, 0.85, 0.5, 1.2, 0.66, 5000, 69, 1.5, 30_000,
    ),
}  # fmt: skip
"""Nanoseconds for each feature. Plain loops vary too much to be fitted; theirs is held
at what keeps them to layers of a few thousand multiply-adds."""

# The maps of a training step share an allocation.
_KEPT_BYTES = {
    Slot.FORWARD: 20 * 2**20,
    Slot.INPUT_GRADIENT: 10 * 2**20,
    Slot.WEIGHT_GRADIENT: 10 * 2**20,
}


def features(slot: Slot, problem: Problem, work: Work, fast: bool) -> tuple[float, ...]:
    """The counts of a map; `fast` says that convolutions have a fast path."""
    groups = problem.geometry.groups
    convolved = work.lanes if work.convolved else 0
    return (
        0 if work.convolved else work.lanes,
        convolved if fast else 0,
        0 if fast else convolved * groups,
        work.operands,
        work.gathered,
        work.joined,
        work.strided,
        work.transposed,
        work.prepared,
        work.calls,
        work.calls * groups if groups > 1 else 0,
        _pressure(slot, problem, work),
        0 if work.convolved else 1,
    )


def seconds(slot: Slot, problem: Problem, work: Work, fast: bool) -> float:
    """The estimate for one map alone."""
    counts = features(slot, problem, work, fast)
    return 1e-9 * sum(r * c for r, c in zip(RATES[slot], counts, strict=True))


def _pressure(slot: Slot, problem: Problem, work: Work) -> int:
    kept = _KEPT_BYTES[slot] // problem.itemsize
    return work.temporary if work.temporary > kept else 0


def seconds_of_pressure(slot: Slot, problem: Problem, work: Work) -> float:
    """What the temporaries alone cost."""
    rate = RATES[slot][FEATURES.index("pressure")]
    return 1e-9 * rate * _pressure(slot, problem, work)


def shared_seconds(slot: Slot, work: Work, *names: str) -> float:
    """The part of an estimate that these counts make: done once, it serves two maps."""
    rates = dict(zip(FEATURES, RATES[slot], strict=True))
    return 1e-9 * sum(rates[name] * getattr(work, name) for name in names)


def fits(problem: Problem, work: Work) -> bool:
    """Whether temporaries stay within twice the larger of input and output.

    Where that is little, 64 MiB are allowed.
    """
    allowed = 2 * max(problem.inputs, problem.outputs)
    return work.temporary * problem.itemsize <= max(
        allowed * problem.itemsize, _SMALL_BYTES
    )


_SMALL_BYTES = 64 * 2**20
