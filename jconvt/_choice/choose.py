"""Which formulation ``lowering="auto"`` uses, for each of the three maps of a layer.

A layer in training runs three bilinear maps: the output, the input gradient and the
weight gradient. The gradients are made by transposing a lowering in its input or in its
weight (`jconvt._maps.make`), so the choice for a gradient is the lowering whose
*transpose* is good:

================== ================================= ===============================
lowering           transposed in the input           transposed in the weight
================== ================================= ===============================
``lhs_dilation``   an ordinary strided convolution   a convolution with dilated input
``space_to_batch`` the same, of strips of space      the same, of shares of space
``role_swapped``   a convolution, roles exchanged    cuDNN's backward-filter
``phases``         strided slices, convolutions      the same
``fused_phases``   one convolution                   one convolution
``matmul``         one GEMM                          one GEMM
``gather``         GEMMs, patches added up           GEMMs of patches and cotangent
``winograd``       the same, with filters            the same, with filters
``overlap_add``    gathered cotangent, one GEMM      gathered cotangent, one GEMM
``tap_sums``       taps times slices, added up       slices times slices, added up
================== ================================= ===============================

On a CPU the estimate of `jconvt._choice.cost` decides, and an input gradient at stride
1 is computed as an output (`jconvt._choice.turned`). On other platforms, and on a CPU
where spatial sizes are symbolic, a table of preferences decides
(`jconvt._choice.tables`). The platform is known when a program is lowered, and only
then is a choice made: never by `jax.default_backend()`.
"""

import itertools
from collections.abc import Iterator
from functools import lru_cache

from jconvt._call.lowerings import Entry, read_entry
from jconvt._call.problem import Map, Problem
from jconvt._choice.by_group import (
    can_go_by_group,
    problem_of_group,
    work_of_groups,
)
from jconvt._choice.cost import (
    DEAREST,
    KEPT_BYTES,
    fits,
    seconds,
    seconds_of_pressure,
    shared_seconds,
)
from jconvt._choice.formulation import Formulation
from jconvt._choice.pieces import (
    WHOLE,
    Pieces,
    at_most,
    small_pieces,
    total_work,
    ways_to_cut,
)
from jconvt._choice.tables import preferred, reason_of
from jconvt._choice.turned import is_turned, turned_problem
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import VARIANTS, Work

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""What `explain` takes. An AMD GPU (rocm) is given the tables of an NVIDIA one."""


def choose(
    which: Map, platform: str, problem: Problem, *, local: bool = True
) -> Formulation:
    """The formulation of a map on a platform.

    `local` says that one device holds the arrays whole.
    """
    if platform == "cpu" and problem.static:
        return _cheapest(problem, local)[which]
    name, _, variant = preferred(which, platform, problem, local)
    if variant is None:
        return best_variant(which, name, problem)
    return Formulation(name, variant(problem))


def work_of(which: Map, problem: Problem, formulation: Formulation) -> Work:
    """What a formulation takes for a map, or for what replaces it."""
    row, variant = LOWERINGS[formulation.lowering], formulation.variant
    made, solved = _solved(which, problem, formulation)
    work = total_work(
        solved, formulation.pieces, made, lambda p: row.work(p, variant, made)
    )
    return work_of_groups(problem, work) if formulation.by_group else work


def estimate(which: Map, problem: Problem, formulation: Formulation) -> float:
    """Seconds on a CPU, by the model of `jconvt._choice.cost`."""
    return _seconds(which, problem, formulation, work_of(which, problem, formulation))


def _seconds(
    which: Map, problem: Problem, formulation: Formulation, work: Work
) -> float:
    return seconds(*_solved(which, problem, formulation), work)


def _solved(
    which: Map, problem: Problem, formulation: Formulation
) -> tuple[Map, Problem]:
    """The map that a formulation computes, and the layer that its lowering is given."""
    if formulation.turned:
        which, problem = Map.OUTPUT, turned_problem(problem)
    return which, problem_of_group(problem) if formulation.by_group else problem


def reason_for(platform: str, problem: Problem) -> str:
    """Why a platform's choice is what it is."""
    if platform == "cpu" and problem.static:
        decided = [which for which in Map if memory_decides(which, problem)]
        memory = f" (memory decides for: {', '.join(decided)})" if decided else ""
        return f"least estimated time, both gradients together{memory}"
    return reason_of(platform, problem.geometry)


def pinned(which: Map, entry: str, problem: Problem) -> Formulation:
    """What an entry of `Lowerings` says that is not ``"auto"``.

    Its pieces are those of the problem that are no larger than the entry allows.
    """
    said = read_entry(entry)
    how = Formulation(said.lowering, turned=said.turned, by_group=said.by_group)
    made, solved = _solved(which, problem, how)
    if said.variant is None:
        found = best_variant(made, said.lowering, solved)
    else:
        found = Formulation(said.lowering, VARIANTS[said.variant])
    pieces = at_most(solved, said.images, said.blocks, said.axis)
    return how._replace(variant=found.variant, pieces=pieces)


def entry_for(which: Map, problem: Problem, formulation: Formulation) -> str:
    """The entry of `Lowerings` by which `pinned` gives a formulation of a map."""
    _, solved = _solved(which, problem, formulation)
    lowering, variant, pieces, turned, by_group = formulation
    several = len(LOWERINGS[lowering].variants(solved)) > 1
    images = problem.batch // pieces.batch if pieces.batch > 1 else 0
    said = str(variant) if several else None
    return str(
        Entry(lowering, said, images, pieces.blocks, pieces.axis, turned, by_group)
    )


def best_variant(which: Map, lowering: str, problem: Problem) -> Formulation:
    """A lowering with the variant that costs least."""
    row = LOWERINGS[lowering]
    variants = row.variants(problem)
    if len(variants) == 1:
        return Formulation(lowering, variants[0])
    costs = [seconds(which, problem, row.work(problem, v, which)) for v in variants]
    return Formulation(lowering, variants[costs.index(min(costs))])


def candidates(which: Map, problem: Problem) -> dict[Formulation, Work]:
    """What a CPU can choose from for a map, with the work of each.

    Where an input gradient is computed as an output, these are the output's, `turned`.
    What would need too much memory is cut into pieces that need less. If all that is
    left is estimated at more than `DEAREST` times the least, the promise about memory
    is given up: then the candidate is the one that needs least memory of those that are
    not so slow.
    """
    works = _works(which, problem)
    found = {f: w for f, w in works.items() if _fits(which, problem, w)}
    times = {f: _seconds(which, problem, f, w) for f, w in works.items()}
    most = DEAREST * min(times.values())
    if any(times[f] <= most for f in found):
        return found
    able = [f for f, time in times.items() if time <= most]
    least = min(able, key=lambda f: works[f].peak)
    return found | {least: works[least]}


def memory_decides(which: Map, problem: Problem) -> bool:
    """Whether a CPU leaves the fastest formulation of a map aside to save memory."""
    works = _works(which, problem)
    fastest = min(works, key=lambda f: _seconds(which, problem, f, works[f]))
    return fastest not in candidates(which, problem)


@lru_cache(maxsize=1024)
def _works(which: Map, problem: Problem) -> dict[Formulation, Work]:
    """All that a CPU may compute a map by, as a whole and in pieces."""
    turned = is_turned(which, problem)
    ways = [Formulation("lhs_dilation", turned=turned)]
    if can_go_by_group(problem):
        ways.append(ways[0]._replace(by_group=True))
    whole = [f for way in ways for f in _serving(which, problem, way)] or ways[:1]
    cut = [f._replace(pieces=p) for f in whole for p in _pieces(which, problem, f)]
    return {f: work_of(which, problem, f) for f in (*whole, *cut)}


def _serving(which: Map, problem: Problem, way: Formulation) -> Iterator[Formulation]:
    """Lowerings and variants that a CPU may choose, each computed in a given way."""
    made, solved = _solved(which, problem, way)
    for row in LOWERINGS.values():
        refused = row.refuses(solved.geometry, static=True)
        if refused is None and row.not_on_cpu(made, solved) is None:
            for variant in row.variants(solved):
                yield way._replace(lowering=row.name, variant=variant)


def _pieces(which: Map, problem: Problem, whole: Formulation) -> Iterator[Pieces]:
    """Pieces that stay in the memory that a process keeps, and pieces that fit."""
    made, solved = _solved(which, problem, whole)
    row, variant = LOWERINGS[whole.lowering], whole.variant

    def fits_in(pieces: Pieces) -> bool:
        work = work_of(which, problem, whole._replace(pieces=pieces))
        return _fits(which, problem, work)

    yield small_pieces(
        solved,
        made,
        lambda part: row.work(part, variant, made),
        KEPT_BYTES // solved.itemsize,
    )
    if not fits_in(WHOLE):
        cuts = list(ways_to_cut(solved))
        yield next(filter(fits_in, cuts), cuts[-1])


def _fits(which: Map, problem: Problem, work: Work) -> bool:
    native = work_of(which, problem, Formulation("lhs_dilation"))
    return fits(problem, work, native)


@lru_cache(maxsize=1024)
def _cheapest(problem: Problem, local: bool = True) -> dict[Map, Formulation]:
    """By the estimate of `jconvt._choice.cost`; the gradients are chosen as a pair.

    XLA does once what two maps of one formulation have in common: the patches of the
    input (output and weight gradient), the prepared kernels (output and input
    gradient), the parts of the cotangent (both gradients). It may run the maps at the
    same time, so the temporaries of all three are alive together. Where sums of taps
    need no GEMM, the gradients have the copy of the cotangent in common. On several
    devices (not `local`) no grouped convolution is taken, for which XLA gathers a
    sharded batch, and nothing goes by group, for which it would gather the channels.
    """
    works = {
        which: {
            f: work
            for f, work in candidates(which, problem).items()
            if local
            or not ((work.convolved and problem.geometry.groups > 1) or f.by_group)
        }
        or candidates(which, problem)
        for which in Map
    }
    times = {
        which: {f: _seconds(which, problem, f, work) for f, work in found.items()}
        for which, found in works.items()
    }
    outputs, inputs, weights = times.values()
    forward = min(outputs, key=lambda f: outputs[f])

    def alone(which: Map, formulation: Formulation) -> float:
        temporary = works[which][formulation].temporary
        made, solved = _solved(which, problem, formulation)
        pressure = seconds_of_pressure(made, solved, temporary)
        return times[which][formulation] - pressure

    def cost(pair: tuple[Formulation, Formulation]) -> float:
        total = alone(Map.INPUT, pair[0]) + alone(Map.WEIGHT, pair[1])
        picks = dict(zip(Map, (forward, *pair), strict=True))
        alive: dict[object, int] = {}
        for which, formulation in picks.items():
            work = works[which][formulation]
            copied_apart = which == Map.OUTPUT and not work.operands
            shared = which if copied_apart else formulation
            alive[shared] = max(alive.get(shared, 0), work.temporary)
        total += seconds_of_pressure(Map.WEIGHT, problem, sum(alive.values()))
        for one, other, which, names in _SHARED:
            work = works[which][picks[one]] if picks[one] == picks[other] else None
            if work and work.operands and picks[one].pieces == WHOLE:
                total -= shared_seconds(which, work, *names)
        return total

    pair = min(itertools.product(inputs, weights), key=cost)
    return dict(zip(Map, (forward, *pair), strict=True))


# Two maps, the map by whose rates what they share is estimated, and what they share.
_SHARED: tuple[tuple[Map, Map, Map, tuple[str, ...]], ...] = (
    (
        Map.INPUT,
        Map.WEIGHT,
        Map.WEIGHT,
        ("joined", "added", "reordered", "strided"),
    ),
    (Map.OUTPUT, Map.WEIGHT, Map.WEIGHT, ("gathered",)),
    (Map.OUTPUT, Map.INPUT, Map.INPUT, ("prepared",)),
)
