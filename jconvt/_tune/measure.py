"""Times the maps of layers on the default device, in turn, within a given time."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax

from jconvt._call.lowerings import AUTO
from jconvt._call.problem import Map
from jconvt._maps.primitive import PRIMITIVES
from jconvt._shell.timing import Run, race
from jconvt._tune.candidates import may_use
from jconvt._tune.layers import Layer, Picks, as_lowerings

FASTER = 0.97
"""A pick needs at most so much of the time of the automatic one: noise is less."""

NOT_SLOWER = 1.02
"""Picks together may need at most so much of the time of the automatic ones."""

FINALISTS = 4
"""So many are raced against each other, after each has been timed once."""

ROUNDS = 5
TUNED = "tuned"


@dataclass(frozen=True, slots=True)
class Budget:
    """A time on the clock until which to measure."""

    end: float

    @classmethod
    def of(cls, seconds: float) -> "Budget":
        """From now on."""
        return cls(time.perf_counter() + seconds)

    @property
    def left(self) -> float:
        """Seconds that remain; 0 if none."""
        return max(0.0, self.end - time.perf_counter())

    def share(self, part: float) -> "Budget":
        """A budget of a part of what remains, from now on."""
        return Budget.of(part * self.left)


@dataclass(slots=True)
class Times:
    """What was measured of one map of a layer.

    Attributes:
      seconds: median seconds by entry, ``"auto"`` among them.
      tried: candidates that were timed.
      candidates: how many there are.
      notes: what did not run, and why.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    tried: int = 0
    candidates: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def pick(self) -> str:
        """The fastest entry, or ``"auto"`` where that is not clearly slower."""
        if not self.seconds:
            return AUTO
        fastest = min(self.seconds, key=lambda entry: self.seconds[entry])
        clearly = self.seconds[fastest] <= FASTER * self.seconds[AUTO]
        return fastest if clearly else AUTO


def time_map(
    layer: Layer, which: Map, entries: Sequence[str], platform: str, budget: Budget
) -> Times:
    """Times the automatic formulation of a map and other entries while time lasts.

    Each is timed once when it has been compiled. The best of them, and the automatic
    one, are then raced in turn. Without other entries nothing is timed.
    """
    problem = layer.problem
    found = Times(candidates=len(entries))
    if not entries:
        return found
    arrays = jax.device_put(layer.arrays())
    native = _Native(layer, which, arrays)
    runs: dict[str, Run] = {}
    first: dict[str, float] = {}
    trials = budget.share(0.6)
    for entry in (AUTO, *entries):
        if not trials.left and entry != AUTO:
            break
        try:
            run, temporary = _compiled(layer, {which: entry}, arrays)
            if entry != AUTO and not may_use(platform, problem, temporary, native.size):
                found.notes.append(f"{entry} needs more memory than is promised")
                continue
            run()
        except jax.errors.JaxRuntimeError as error:
            found.notes.append(f"{entry} did not run: {str(error).splitlines()[0]}")
            if entry == AUTO:
                return found
            continue
        runs[entry] = run
        first |= race({entry: run}, seconds=0.0, rounds=1)
    found.tried = len(runs) - 1
    best = sorted(first, key=lambda entry: first[entry])[:FINALISTS]
    final = {entry: runs[entry] for entry in dict.fromkeys((AUTO, *best))}
    found.seconds = first | timed(final, first, budget) if best != [AUTO] else first
    return found


def timed(runs: Mapping[str, Run], once: Mapping[str, float], budget: Budget) -> Any:
    """A race, with fewer rounds where a run lasts long. `once`: seconds of one run."""
    lasts = sum(once[name] for name in runs)
    rounds = max(2, min(ROUNDS, int(budget.left / max(lasts, 1e-9))))
    return race(runs, seconds=min(budget.left, 2.0), rounds=rounds)


def time_together(
    layer: Layer, maps: Iterable[Map], entries: Mapping[Map, str], budget: Budget
) -> tuple[float, float]:
    """Seconds of all maps of a layer in one program, automatic and by these entries.

    XLA does once what several maps have in common, so what is fastest alone may be slow
    together with the others.
    """
    arrays = jax.device_put(layer.arrays())
    automatic = dict.fromkeys(maps, AUTO)
    runs = {
        AUTO: _compiled(layer, automatic, arrays)[0],
        TUNED: _compiled(layer, automatic | dict(entries), arrays)[0],
    }
    return time_pair(runs, budget)


def time_pair(runs: Mapping[str, Run], budget: Budget) -> tuple[float, float]:
    """Seconds of two programs, raced in turn."""
    once: dict[str, float] = {}
    for name, run in runs.items():
        run()
        once |= race({name: run}, seconds=0.0, rounds=1)
    found = timed(runs, once, budget)
    return found[AUTO], found[TUNED]


def settle(
    picks: Picks, compare: Callable[[Picks], tuple[float, float]]
) -> tuple[Picks, tuple[float, float]]:
    """The picks that do not slow down what holds them all, and its two times.

    `compare` gives the seconds by automatic formulations and by some picks. If all
    picks together are slower, those of the forward maps are tried alone, then none are
    left.
    """
    forward, automatic = _of_forward(picks), 0.0
    for kept in (picks,) if forward in (picks, {}) else (picks, forward):
        automatic, tuned = compare(kept)
        if tuned <= NOT_SLOWER * automatic:
            return kept, (automatic, tuned)
    return {}, (automatic, automatic)


def _of_forward(picks: Picks) -> Picks:
    return {
        layer: {Map.OUTPUT: entries[Map.OUTPUT]}
        for layer, entries in picks.items()
        if Map.OUTPUT in entries
    }


def compile_run(function: Callable[..., Any], *arguments: Any) -> tuple[Run, int]:
    """Runs a function of arrays as one program; and its bytes of temporaries."""
    compiled = jax.jit(function).lower(*arguments).compile()
    memory = compiled.memory_analysis()
    temporary = 0 if memory is None else int(memory.temp_size_in_bytes)
    return lambda: jax.block_until_ready(compiled(*arguments)), temporary


def _compiled(
    layer: Layer, entries: Mapping[Map, str], arrays: dict[Map, jax.Array]
) -> tuple[Run, int]:
    """Some maps of a layer, by entries, as one program."""
    call = replace(layer.call, lowering=as_lowerings(entries))
    shapes = layer.shapes

    def program(arrays: dict[Map, jax.Array]) -> list[jax.Array]:
        return [
            PRIMITIVES[which].bind(
                *(arrays[m] for m in which.operands), call=call, shape=shapes[which]
            )
            for which in entries
        ]

    return compile_run(program, arrays)


@dataclass(slots=True)
class _Native:
    """The temporaries of the native form, compiled when they are asked for."""

    layer: Layer
    which: Map
    arrays: dict[Map, jax.Array]
    bytes: int | None = None

    def size(self) -> int:
        """Bytes."""
        if self.bytes is None:
            native = {self.which: "lhs_dilation"}
            self.bytes = _compiled(self.layer, native, self.arrays)[1]
        return self.bytes
