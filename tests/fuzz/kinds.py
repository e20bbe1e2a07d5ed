"""The kinds of checks: what is drawn for one program, and what is checked of it."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from hypothesis import strategies as st

from fuzz import arguments, nonfinite, shapes, sharded, streamed, torch_check
from fuzz.check import USERS, check
from fuzz.config import Config
from fuzz.pieces import small_pieces
from fuzz.strategies import configs


class Kind(NamedTuple):
    """One kind of check.

    Attributes:
      what: a line for the report.
      strategy: of the list that one call of `run` takes.
      run: checks them, or raises with a line that can be pasted.
      share: of the time.
      examples: how many lists are drawn at a time.
    """

    what: str
    strategy: st.SearchStrategy[list[Any]]
    run: Callable[[list[Any]], Any]
    share: float
    examples: int


def _several(strategy: st.SearchStrategy[Any], n: int) -> st.SearchStrategy[list[Any]]:
    """So many in one program, at times fewer; shrunk to the one that fails."""
    # Hypothesis likes to repeat itself.
    several = partial(st.lists, strategy, max_size=n, unique_by=lambda one: one.line())
    return st.integers(0, 7).flatmap(lambda few: several(min_size=1 if few == 0 else n))


def _as_users(some: list[Config]) -> None:
    check(some, USERS)


def _in_pieces(some: list[Config]) -> None:
    with small_pieces():
        check(some)


def _non_finite_in_pieces(some: list[nonfinite.Poisoned]) -> None:
    with small_pieces():
        nonfinite.check(some)


KINDS: dict[str, Kind] = {
    "programs": Kind(
        "value and derivatives against the definition",
        _several(configs(), 16),
        check,
        0.34,
        40,
    ),
    "default options": Kind(
        "the same, compiled as users compile",
        _several(configs(), 8),
        _as_users,
        0.05,
        5,
    ),
    "pieces": Kind(
        "value and derivatives, cut into pieces where the choice has any",
        _several(configs(lowering="auto", preferred=None), 16),
        _in_pieces,
        0.07,
        10,
    ),
    "sharded": Kind(
        "the same on several devices, automatic, explicit and under shard_map",
        _several(sharded.placed(), 3),
        sharded.check,
        0.06,
        5,
    ),
    "streaming": Kind(
        "value and derivatives of a signal in chunks against the definition",
        _several(streamed.streams(), 8),
        check,
        0.1,
        10,
    ),
    "non-finite": Kind(
        "where a NaN or an infinity goes, on what `auto` takes",
        _several(nonfinite.poisoned(), 16),
        nonfinite.check,
        0.12,
        10,
    ),
    "non-finite in pieces": Kind(
        "the same, cut into pieces where the choice has any",
        _several(nonfinite.poisoned(), 16),
        _non_finite_in_pieces,
        0.04,
        5,
    ),
    "PyTorch": Kind(
        "the definition itself against PyTorch, value and gradients in float64",
        _several(torch_check.layers(), 8),
        torch_check.check,
        0.06,
        100,
    ),
    "arguments": Kind(
        "one bad argument: TypeError or ValueError that names it, before tracing",
        _several(arguments.calls(), 8),
        arguments.check,
        0.12,
        100,
    ),
    "shapes": Kind(
        "shapes of any size, by arithmetic and abstract evaluation",
        _several(shapes.sizes(), 4),
        shapes.check,
        0.1,
        50,
    ),
}


def count(some: Iterable[Any], tally: Counter[str]) -> None:
    """What the configs were, for the report."""
    for one in some:
        config = getattr(one, "config", one)
        if isinstance(config, Config):
            for field in ("way", "door", "dtype", "rank"):
                tally[f"{field}: {getattr(config, field)}"] += 1
            one_for_all = isinstance(config.lowering, str)
            tally[f"lowering: {config.lowering if one_for_all else 'mixed'}"] += 1
            if len(set(map(type, config.paddings))) > 1:
                tally["padding: names and crops"] += 1
