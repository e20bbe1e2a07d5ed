"""Run configs, several in one program, and compare each with the definition."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import oracles
from fuzz.config import Config
from fuzz.definition import Definition, compare
from fuzz.doors import DOORS
from fuzz.strategies import MAPS, serving
from fuzz.streamed import STREAMS
from fuzz.ways import WAYS, Arrays, Results

USERS: dict[str, Any] = {}
"""The compiler's options as every user has them."""

_FASTEST: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


@functools.cache
def volume() -> dict[str, Any]:
    """Those that compile fastest: a tenth of the time, most of it by older emitters.

    Without those that this XLA does not have; jax 0.12 has no older emitters.
    """
    return {name: value for name, value in _FASTEST.items() if _is_known(name, value)}


def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value})()
    except jax.errors.JaxRuntimeError:
        return False
    return True


class Wrong(AssertionError):
    """A config that fails; the message ends with its line."""

    def __init__(self, config: Any, reason: str) -> None:
        super().__init__(f"{reason}\n{config.line()}")
        self.config = config


class Prepared(NamedTuple):
    """A config with its arrays, plain and as the call takes them."""

    config: Config
    plain: Arrays
    given: Arrays


def prepare(config: Config) -> Prepared:
    """Arrays of a config in its layout."""
    plain = config.arrays()
    given = {name: to_layout(config, name, a) for name, a in plain.items()}
    return Prepared(config, plain, given)


_SPEC = {"x": 0, "w": 1, "g": 2}


def to_layout(config: Config, name: str, a: np.ndarray | None) -> np.ndarray | None:
    """A plain array in the layout of the call."""
    if a is None or name[0] == "b":
        return a
    spec = config.specs[_SPEC[name[0]]]
    a = oracles.permute(a, config.plain_specs[_SPEC[name[0]]], spec)
    if name[0] != "w" and config.batch is None:
        a = np.squeeze(a, spec.index("N"))
    return a


def from_layout(config: Config, name: str, a: np.ndarray) -> np.ndarray:
    """The inverse of `to_layout`."""
    if name == "b":
        return a
    spec = config.specs[_SPEC[name]]
    if name != "w" and config.batch is None:
        a = np.expand_dims(a, spec.index("N"))
    return oracles.permute(a, spec, config.plain_specs[_SPEC[name]])


def results_of(config: Config, given: Arrays) -> Results:
    """What a config's way makes of its call."""
    call = (DOORS | STREAMS)[config.door](config)
    return WAYS[config.way].program(call, given, config.mapped, config.axes)


def check(configs: Sequence[Config], options: dict[str, Any] | None = None) -> None:
    """A `Wrong` for the first of the configs that does not give what it must."""
    prepared = [prepare(config) for config in configs]
    names: list[list[str]] = []

    def program(arrays: list[Arrays]) -> list[list[Any]]:
        names.clear()
        made = []
        for config, given in zip(configs, arrays, strict=True):
            with _blaming(config):
                results = results_of(config, given)
            names.append([name for name, _ in results])
            made.append([a for _, a in results])
        return made

    options = volume() if options is None else options
    run = jax.jit(program, compiler_options=options)
    try:
        found = run([p.given for p in prepared])
    except Wrong:
        raise
    except Exception as error:  # from where formulations are traced, or from XLA
        if len(configs) == 1:
            reason = f"{type(error).__name__}: {error}"
            raise Wrong(configs[0], reason) from error
        for config in configs:
            check([config], options)
        raise
    for one, its_names, arrays in zip(prepared, names, found, strict=True):
        compare_results(one, list(zip(its_names, arrays, strict=True)))


class _blaming:
    """An error inside becomes that of a config."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, Exception):
            reason = f"{type(error).__name__}: {error}"
            raise Wrong(self.config, reason) from error


def compare_results(one: Prepared, results: Results, roundings: int = 0) -> None:
    """The results of one config with the definition, rounded so often more."""
    config = one.config
    entries = {config.lowering_of(which) for which in MAPS}
    filters = "winograd" in entries or (
        "auto" in entries and "winograd" in serving(config)
    )
    definition = Definition(config, filtered=filters)
    expected = WAYS[config.way].expected(definition, one.plain, config.mapped)
    for i, ((name, a), wanted) in enumerate(zip(results, expected, strict=True)):
        more = roundings
        if config.cut is not None and name in "wb":
            more += 2 * len(config.cut.lengths)  # each chunk's, and their sum
        if config.way == "jet":
            more += 16  # its factorials are exp(lgamma(n + 1)), a few units off
        limits = dataclasses.replace(wanted, roundings=wanted.roundings + more)
        try:
            actual = from_layout(config, name, np.asarray(a))
            exact = config.whole and config.way != "jet"
            compare(actual, limits, config.dtype_of(name), config.result, exact)
        except AssertionError as error:
            raise Wrong(config, f"result {i}, {name}: {error}") from None
