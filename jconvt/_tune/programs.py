"""Traced programs: walks through their equations, and rewrites some of them."""

from collections.abc import Callable, Iterator
from typing import Any

from jax.extend import core

Change = Callable[[core.JaxprEqn], core.JaxprEqn]


def equations(jaxpr: Any, times: int = 1) -> Iterator[tuple[core.JaxprEqn, int]]:
    """Each equation, of programs inside it too, and how often it runs.

    The length of a `scan` is counted; a loop whose length is unknown counts once.
    """
    for equation in _open(jaxpr).eqns:
        yield equation, times
        length = equation.params.get("length", 1)
        inner = times * (length if equation.primitive.name == "scan" else 1)
        for value in equation.params.values():
            for program in _programs(value):
                yield from equations(program, inner)


def rewrite(jaxpr: Any, change: Change) -> Any:
    """The program with its equations changed, in programs inside it too.

    A program that is called twice stays one, and what holds no changed equation stays
    the same object, so that JAX compiles neither more often than before. The Python
    functions by which custom rules differentiate are no programs yet, and stay.
    """
    return _rewrite(jaxpr, change, {})


def _rewrite(jaxpr: Any, change: Change, done: dict[int, Any]) -> Any:
    if id(jaxpr) in done:
        return done[id(jaxpr)]
    old = _open(jaxpr).eqns
    new = [_rewrite_equation(equation, change, done) for equation in old]
    found = jaxpr
    if not _same(old, new):
        opened = _open(jaxpr).replace(eqns=new)
        found = opened if _open(jaxpr) is jaxpr else jaxpr.replace(jaxpr=opened)
    done[id(jaxpr)] = found
    return found


def _rewrite_equation(
    equation: core.JaxprEqn, change: Change, done: dict[int, Any]
) -> core.JaxprEqn:
    old = equation.params
    new = {name: _rewrite_value(value, change, done) for name, value in old.items()}
    if not _same(old.values(), new.values()):
        equation = equation.replace(params=new)
    return change(equation)


def _rewrite_value(value: Any, change: Change, done: dict[int, Any]) -> Any:
    if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
        return _rewrite(value, change, done)
    if not isinstance(value, tuple):
        return value
    new = [_rewrite_value(item, change, done) for item in value]
    if _same(value, new):
        return value
    return type(value)(*new) if hasattr(value, "_fields") else tuple(new)


def _programs(value: Any) -> Iterator[Any]:
    """The programs in a parameter of an equation."""
    if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _programs(item)


def _open(jaxpr: Any) -> core.Jaxpr:
    """Without its constants; newer versions of JAX have one class for both."""
    return jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr


def _same(old: Any, new: Any) -> bool:
    return all(a is b for a, b in zip(old, new, strict=True))
