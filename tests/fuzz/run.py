"""Draw, check and count until the time is over."""

import contextlib
import dataclasses
import gc
import math
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed

from fuzz.kinds import KINDS, count

CLEAR_AFTER = 2000
"""Configs after which JAX's caches are cleared, which else grow without bound."""


@dataclasses.dataclass
class Result:
    """What a run did.

    Attributes:
      seed: from which all seeds of its parts follow.
      seconds: how long it took.
      counts: distinct configs that were checked, by kind.
      spent: seconds, by kind.
      tally: the same by what they were.
      failures: kind, seed and message.
    """

    seed: int
    seconds: float = 0.0
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    spent: dict[str, float] = dataclasses.field(default_factory=dict)
    tally: Counter[str] = dataclasses.field(default_factory=Counter)
    failures: list[tuple[str, int, str]] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Tracing makes so many objects that collecting garbage takes a sixth of it."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@_seldom_collected()
def fuzz(seed: int, seconds: float, kinds: list[str]) -> Result:
    """Run each kind for its share of the time, a few examples at a time, in turn."""
    spent = dict.fromkeys(kinds, 0.0)
    result, start = Result(seed, spent=spent), time.monotonic()
    seen: dict[str, set[str]] = {kind: set() for kind in kinds}
    # Counted by kind: which kind's turn it is depends on time, its calls do not.
    parts = dict.fromkeys(kinds, 0)
    since = 0
    while kinds and time.monotonic() - start < seconds:
        kind = min(kinds, key=lambda kind: spent[kind] / KINDS[kind].share)
        part_seed = seed * 100_000 + parts[kind]
        parts[kind] += 1
        begun, before = time.monotonic(), len(seen[kind])
        wrong: list[str] = []
        try:
            run_part(kind, part_seed, seen[kind], result.tally, start + seconds, wrong)
        except Exception as error:
            # Shrinking may be cut short: the last failure is the smallest.
            message = wrong[-1] if wrong else str(error)
            result.failures.append((kind, part_seed, message))
            kinds = [other for other in kinds if other != kind]
        spent[kind] += time.monotonic() - begun
        since += len(seen[kind]) - before
        if since > CLEAR_AFTER:
            jax.clear_caches()
            gc.collect()
            since = 0
    result.counts = {kind: len(lines) for kind, lines in seen.items()}
    result.seconds = time.monotonic() - start
    return result


def run_part(
    kind: str,
    seed: int,
    seen: set[str],
    tally: Counter[str],
    until: float = math.inf,
    wrong: list[str] | None = None,
) -> None:
    """The examples of one seed; raises a failure after Hypothesis has shrunk it.

    Messages of the failures on the way are appended to `wrong`.
    """
    row = KINDS[kind]

    @with_seed(seed)
    @settings(
        max_examples=row.examples,
        deadline=None,
        derandomize=False,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(row.strategy)
    def example(some: list[Any]) -> None:
        new = {one.line(): one for one in some if one.line() not in seen}
        if time.monotonic() > until or not new:
            return
        try:
            row.run(list(new.values()))
        except Exception as error:
            if wrong is not None:
                wrong.append(str(error))
            raise
        count(new.values(), tally)
        seen.update(new)

    example()
