"""`Tuned`: a function traced anew for what it is given, with picks in its trace."""

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core

from jconvt._tune.layers import Picks, with_picks
from jconvt._tune.report import TuneReport

Array = jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct


@dataclass(frozen=True, slots=True)
class Static:
    """What is no array among the arguments of a call, and where the arrays belong."""

    tree: Any
    values: tuple[Hashable, ...]

    def arguments(
        self, arrays: tuple[Any, ...]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments again."""
        given = iter(arrays)
        leaves = [next(given) if v is _ARRAY else v for v in self.values]
        return jax.tree.unflatten(self.tree, leaves)


class _Array:
    """Stands where an array belongs."""


_ARRAY = _Array()


def take_apart(
    arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[Static, tuple[Any, ...]]:
    """The static part of arguments, and their arrays and numbers."""
    leaves, tree = jax.tree.flatten((arguments, keywords))
    values = tuple(_ARRAY if _is_array(leaf) else leaf for leaf in leaves)
    for value in values:
        if not isinstance(value, Hashable):
            raise TypeError(
                "tune: an argument that is no array is static, and must be hashable; "
                f"got {value!r} of type {type(value).__name__}. Give it to the "
                "function with functools.partial instead."
            )
    return Static(tree, values), tuple(filter(_is_array, leaves))


def _is_array(leaf: object) -> bool:
    number = isinstance(leaf, int | float | complex) and not isinstance(leaf, bool)
    return number or isinstance(leaf, Array)


def trace(
    function: Callable[..., Any], static: Static, arrays: tuple[Any, ...]
) -> tuple[Any, Any]:
    """The program of a function for these arguments, and the tree of its result."""

    def flat(*arrays: Any) -> Any:
        arguments, keywords = static.arguments(arrays)
        return function(*arguments, **keywords)

    jaxpr, shapes = jax.make_jaxpr(flat, return_shape=True)(*arrays)
    return jaxpr, jax.tree.structure(shapes)


def run(
    function: Callable[..., Any], picks: Picks, static: Static, arrays: tuple[Any, ...]
) -> Any:
    """The result of a function, with picks in place of automatic choices."""
    jaxpr, tree = trace(function, static, arrays)
    results = core.jaxpr_as_fun(with_picks(jaxpr, picks))(*arrays)
    return jax.tree.unflatten(tree, results)


class Tuned:
    """A function with the lowerings that `tune` measured to be the fastest.

    It takes what the function takes and returns the same up to rounding. A call is one
    program, as under `jax.jit`; `jax.jit`, `jax.grad`, `jax.vmap` and other
    transformations take it like any function. It works for other shapes and dtypes too:
    layers that were not measured keep the automatic choice. Nothing outside of it
    changes.

    Arrays and numbers are traced; other arguments (strings, booleans, functions) are
    static and must be hashable. A `donate_argnums` inside the function has no effect;
    donate in a `jax.jit` around the tuned function.

    `tune` makes it.

    Args:
      function: what to compute.
      picks: the entries of `Lowerings` for the maps of each layer.
      report: what was measured and picked, a `TuneReport`; also an attribute.
    """

    report: TuneReport

    def __init__(
        self, function: Callable[..., Any], picks: Picks, report: TuneReport
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.report = report
        self._program = jax.jit(
            functools.partial(run, function, picks), static_argnums=0
        )

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Computes what the function computes.

        Args:
          *arguments: those of the function.
          **keywords: those of the function.

        Returns:
          What the function returns.
        """
        return self._program(*take_apart(arguments, keywords))

    def __repr__(self) -> str:
        return f"<jconvt.Tuned of {getattr(self, '__wrapped__', None)!r}>"
