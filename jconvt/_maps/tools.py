"""Rules for those of JAX's tools that `import jax` does not load.

Each of them asks a table of its own what to do with a primitive. A rule is entered once
the tool is loaded: to load it here would take longer than to load this library.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from operator import add
from typing import Any

import jax
from jax import lax

from jconvt._call.call import Call, Sizes
from jconvt._call.problem import Map


def enter_rules(primitives: Mapping[Map, Any]) -> None:
    """Enter the rules for every tool that has been loaded since the last call."""
    for module, (needed, enter) in tuple(_WAITING.items()):
        tool = sys.modules.get(module)
        # It lacks a name while it is being loaded, or in another JAX.
        if all(hasattr(tool, name) for name in needed):
            for made, primitive in primitives.items():
                enter(tool, made, primitive)
            _WAITING.pop(module, None)


def _enter_taylor_mode(tool: Any, made: Map, primitive: Any) -> None:
    del made
    tool.jet_rules[primitive] = partial(_product_of_series, primitive)
    # The kernels of our Flax layers pass a barrier, for which JAX has no rule.
    tool.jet_rules.setdefault(lax.optimization_barrier_p, _barrier_of_series)


def _barrier_of_series(
    arrays: Sequence[jax.Array], series: Sequence[Sequence[jax.Array]]
) -> tuple[Sequence[jax.Array], list[Sequence[jax.Array]]]:
    return lax.optimization_barrier(arrays), [*map(lax.optimization_barrier, series)]


def _product_of_series(
    primitive: Any,
    operands: Sequence[jax.Array],
    series: Sequence[Sequence[jax.Array]],
    **parameters: Any,
) -> tuple[jax.Array, list[jax.Array]]:
    """The Taylor coefficients of the result; `jet` has divided by the factorials."""
    ones, others = ([a, *terms] for a, terms in zip(operands, series, strict=True))
    first, *rest = (
        reduce(
            add,
            (
                primitive.bind(one, other, **parameters)
                for one, other in zip(ones, others[order::-1], strict=False)
            ),
        )
        for order in range(len(ones))
    )
    return first, rest


def _enter_checks(tool: Any, made: Map, primitive: Any) -> None:
    """A NaN in a result is an error, as in that of lax's convolution."""
    del made
    tool.error_checks[primitive] = partial(tool.nan_error_check, primitive)


def _enter_roofline(tool: Any, made: Map, primitive: Any) -> None:
    """Useful operations, and the bytes of operands and result."""

    def roofline(context: Any, *operands: Any, call: Call, shape: Sizes) -> Any:
        arrays = zip(made.operands, operands, strict=True)
        shapes = {which: a.shape for which, a in arrays} | {made: shape}
        useful = call.problem(shapes[Map.INPUT], shapes[Map.WEIGHT]).useful
        types = (*context.avals_in, *context.avals_out)
        return tool.RooflineResult(
            unfused_flops=2 * useful,
            unfused_hbm_bytes=tool.RooflineShape.total_bytes(types),
        )

    tool.register_roofline(primitive)(roofline)


_WAITING: dict[str, tuple[tuple[str, ...], Callable[[Any, Map, Any], None]]] = {
    "jax.experimental.jet": (("jet_rules",), _enter_taylor_mode),
    "jax._src.checkify": (("error_checks", "nan_error_check"), _enter_checks),
    "jax.experimental.roofline": (("register_roofline",), _enter_roofline),
}
"""Tools without our rules: what a rule needs of them, and what enters it."""
