"""Which formulation ``lowering="auto"`` uses, for each of the three maps of a layer.

A layer in training runs three bilinear maps: the output, the input gradient and the
weight gradient. The gradients are made by transposing a lowering in its input or in its
weight (`jconvt._maps.make`), so the choice for a gradient is the lowering whose
*transpose* is good:

================== ================================= ===============================
lowering           transposed in the input           transposed in the weight
================== ================================= ===============================
``lhs_dilation``   an ordinary strided convolution   a convolution with dilated input
``space_to_batch`` the same, of shares of space      the same, of shares of space
``role_swapped``   a convolution, roles exchanged    cuDNN's backward-filter
``phases``         strided slices, convolutions      the same
``matmul``         one GEMM                          one GEMM
``gather``         GEMMs, patches added up           GEMMs of patches and cotangent
``winograd``       the same, with filters            the same, with filters
``overlap_add``    gathered cotangent, one GEMM      gathered cotangent, one GEMM
``tap_sums``       taps times slices, added up       slices times slices, added up
================== ================================= ===============================

On a CPU the estimate of `jconvt._choice.cost` decides between the GEMM formulations and
the convolutions, and an input gradient at stride 1 is made as an output
(`jconvt._choice.turned`); elsewhere a table of preferences does. The platform is known
when a program is lowered, and only then is a choice made: never by
`jax.default_backend()`.
"""

import itertools
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jconvt._call.geometry import Geometry
from jconvt._call.problem import PLAIN, Problem, Slot, Variant, Work
from jconvt._choice.cost import (
    KEPT_BYTES,
    fits,
    seconds,
    seconds_of_pressure,
    shared_seconds,
)
from jconvt._choice.pieces import WHOLE, Pieces, small_pieces, total_work
from jconvt._choice.tables import is_compact, is_plain, preferred, reason_of
from jconvt._choice.turned import as_output
from jconvt._lowerings.table import LOWERINGS

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


class Formulation(NamedTuple):
    """A lowering, what it does with its freedom, and the pieces it is used on."""

    lowering: str
    variant: Variant = PLAIN
    pieces: Pieces = WHOLE


def choose(
    slot: Slot,
    platform: str,
    problem: Problem,
    dtype: np.dtype[Any],
    static: bool,
    whole: bool = False,
    local: bool = True,
    turned: bool = True,
) -> Formulation:
    """The formulation of a slot on a platform.

    `static` says that the spatial sizes are ints, not symbolic; `whole` that nothing
    can be cut into pieces; `local` that one device holds the arrays whole; `turned`
    that a CPU makes the map of `jconvt._choice.turned.as_output`.
    """
    if platform == "cpu" and static:
        return _cheapest(problem, dtype, whole, turned)[slot]
    name, _, variant = preferred(slot, platform, problem, static, local)
    if variant is None:
        return best_variant(slot, name, problem)
    return Formulation(name, variant)


def work_of(slot: Slot, problem: Problem, formulation: Formulation) -> Work:
    """What a formulation takes for one of the three maps."""
    name, variant, pieces = formulation
    row = LOWERINGS[name]
    return total_work(problem, pieces, slot, lambda p: row.work(p, variant, slot))


def estimate(slot: Slot, problem: Problem, work: Work, dtype: np.dtype[Any]) -> float:
    """Seconds on a CPU, by the model of `jconvt._choice.cost`."""
    fast = has_fast_convolutions(slot, problem.geometry, dtype)
    return seconds(slot, problem, work, fast)


def reason_for(platform: str, geometry: Geometry, static: bool) -> str:
    """Why a platform's choice is what it is."""
    if platform == "cpu" and static:
        return "least estimated time, both gradients together"
    return reason_of(platform, geometry)


def best_variant(slot: Slot, lowering: str, problem: Problem) -> Formulation:
    """A lowering that the caller has named, with the variant that costs least."""
    row = LOWERINGS[lowering]
    variants = row.variants(problem)
    if len(variants) == 1:
        return Formulation(lowering, variants[0])
    costs = [seconds(slot, problem, row.work(problem, v, slot), True) for v in variants]
    return Formulation(lowering, variants[costs.index(min(costs))])


def candidates(
    slot: Slot, problem: Problem, dtype: np.dtype[Any]
) -> dict[Formulation, Work]:
    """What a CPU can choose from, with the work of each."""
    whole = [
        Formulation(name, variant)
        for name in _CPU
        if LOWERINGS[name].refuses(problem.geometry, static=True) is None
        and _may_serve(name, slot, problem, dtype)
        for variant in LOWERINGS[name].variants(problem)
    ]
    cut = [f._replace(pieces=_pieces(slot, problem, f)) for f in whole]
    works = {f: work_of(slot, problem, f) for f in (*whole, *cut)}
    native = work_of(slot, problem, Formulation("lhs_dilation"))
    found = {f: work for f, work in works.items() if fits(problem, work, native)}
    # XLA:CPU has grouped convolutions as plain loops, and it gathers a sharded batch
    # for the transposed ones.
    apart = {f: work for f, work in found.items() if f.lowering != "lhs_dilation"}
    return apart if apart and problem.geometry.groups > 1 else found


def _pieces(slot: Slot, problem: Problem, whole: Formulation) -> Pieces:
    most = KEPT_BYTES // problem.itemsize
    return small_pieces(problem, slot, lambda p: work_of(slot, p, whole), most)


@lru_cache(maxsize=1024)
def _cheapest(
    problem: Problem, dtype: np.dtype[Any], whole: bool, turned: bool
) -> dict[Slot, Formulation]:
    """By the estimate of `jconvt._choice.cost`; the two gradients are chosen as a pair.

    XLA does once what two maps of one formulation have in common: the patches of the
    input (output and weight gradient), the prepared kernels (output and input
    gradient), the parts of the cotangent (both gradients). It may run the maps at the
    same time, so the temporaries of all three are alive together.
    """
    maps = {
        slot: as_output(slot, problem) if turned else (slot, problem) for slot in Slot
    }
    works = {
        slot: {
            f: work
            for f, work in candidates(*made, dtype).items()
            if not whole or f.pieces == WHOLE
        }
        for slot, made in maps.items()
    }
    times = {
        slot: {f: estimate(*maps[slot], work, dtype) for f, work in found.items()}
        for slot, found in works.items()
    }
    apart = {slot for slot, made in maps.items() if made != (slot, problem)}
    outputs, inputs, weights = times.values()
    forward = min(outputs, key=lambda f: outputs[f])

    def alone(slot: Slot, formulation: Formulation) -> float:
        temporary = works[slot][formulation].temporary
        pressure = seconds_of_pressure(*maps[slot], temporary)
        return times[slot][formulation] - pressure

    def cost(pair: tuple[Formulation, Formulation]) -> float:
        total = alone(Slot.INPUT_GRADIENT, pair[0])
        total += alone(Slot.WEIGHT_GRADIENT, pair[1])
        picks = dict(zip(Slot, (forward, *pair), strict=True))
        alive: dict[Formulation, int] = {}
        for slot, formulation in picks.items():
            temporary = works[slot][formulation].temporary
            alive[formulation] = max(alive.get(formulation, 0), temporary)
        total += seconds_of_pressure(Slot.WEIGHT_GRADIENT, problem, sum(alive.values()))
        for one, other, slot, names in _SHARED:
            if apart & {one, other}:
                continue
            if picks[one] == picks[other] and picks[one].pieces == WHOLE:
                total -= shared_seconds(slot, works[slot][picks[one]], *names)
        return total

    pair = min(itertools.product(inputs, weights), key=cost)
    return dict(zip(Slot, (forward, *pair), strict=True))


# Two maps, the map by whose rates what they share is estimated, and what they share.
_SHARED: tuple[tuple[Slot, Slot, Slot, tuple[str, ...]], ...] = (
    (
        Slot.INPUT_GRADIENT,
        Slot.WEIGHT_GRADIENT,
        Slot.WEIGHT_GRADIENT,
        ("joined", "added", "reordered", "strided"),
    ),
    (Slot.FORWARD, Slot.WEIGHT_GRADIENT, Slot.WEIGHT_GRADIENT, ("gathered",)),
    (Slot.FORWARD, Slot.INPUT_GRADIENT, Slot.INPUT_GRADIENT, ("prepared",)),
)


def _may_serve(name: str, slot: Slot, problem: Problem, dtype: np.dtype[Any]) -> bool:
    """Whether a lowering keeps its promises on a CPU in this slot.

    Filters' sums lose bits that 16-bit floats and integers do not have. Convolutions
    are for what XLA:CPU sends to Eigen or YNNPACK. Sums without a GEMM are for groups
    that have nothing to contract.
    """
    if name == "winograd":
        return dtype in (np.dtype(np.float32), np.dtype(np.float64))
    if name == "phases":
        fast = has_fast_convolutions(slot, problem.geometry, dtype)
        return slot == Slot.FORWARD and fast and is_compact(problem.geometry)
    if name == "tap_sums":
        return problem.in_channels == problem.geometry.groups
    return True


def has_fast_convolutions(slot: Slot, geometry: Geometry, dtype: np.dtype[Any]) -> bool:
    """Whether XLA:CPU sends the convolutions to Eigen or YNNPACK.

    It does so with 1-d and 2-d ones of float32 (and of 16-bit floats, widened);
    grouped, 3-d, float64, complex and integer ones run in plain loops, dilated ones not
    much faster, and so does a weight gradient, whose kernel is the cotangent.
    """
    if slot == Slot.WEIGHT_GRADIENT:
        return False
    narrow = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize <= 4
    return is_plain(geometry) and geometry.rank <= 2 and narrow


_CPU = (
    "gather", "winograd", "overlap_add", "tap_sums", "phases", "lhs_dilation",
)  # fmt: skip
