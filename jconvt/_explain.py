"""Which formulation will run, and why, for shapes alone: `jconvt.explain`."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jconvt._call.arguments import IntOrInts, Padding, Shape, is_int
from jconvt._call.geometry import Geometry, Size
from jconvt._call.layout import DimensionNumbers
from jconvt._call.numerics import Precision, as_dtype, check_precision
from jconvt._call.problem import Problem, Slot
from jconvt._call.problem_of import problem_of
from jconvt._call.recipe import Recipe
from jconvt._call.tracebacks import ends_traceback
from jconvt._choice.choose import (
    PLATFORMS,
    Formulation,
    best_variant,
    choose,
    estimate,
    reason_for,
    work_of,
)
from jconvt._choice.pinned import AUTO
from jconvt._choice.turned import as_output
from jconvt._explanation import Candidate, Estimate, Explanation
from jconvt._lowerings.table import LOWERINGS
from jconvt._shapes import recipe_of_shapes


@ends_traceback
def explain(
    input_shape: Shape,
    weight_shape: Shape,
    *,
    dtype: DTypeLike = jnp.float32,
    platform: str | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    output_size: IntOrInts | None = None,
    groups: int = 1,
    dilation: IntOrInts = 1,
    dimension_numbers: DimensionNumbers | None = None,
    data_format: str | None = None,
    precision: Precision = None,
    preferred_element_type: DTypeLike | None = None,
    lowering: str = "auto",
) -> Explanation:
    """Say which lowering a call runs, for the output and for both gradients, and why.

    Nothing is computed or compiled. The options are those of `conv_transpose`.

    Args:
      input_shape: ``(N, C_in, *S)`` or ``(C_in, *S)``: ints, or symbolic dimensions
        of `jax.export` for batch and space.
      weight_shape: ``(C_in, C_out/groups, *K)``: ints.
      dtype: to which the operands promote.
      platform: "cpu", "cuda", "rocm" or "tpu". None: JAX's default backend here (a
        program decides when it is lowered, not by that).
      stride: output elements between neighbouring input elements.
      padding: output elements cropped.
      output_padding: output elements appended.
      output_size: the output's spatial size.
      groups: groups of channels.
      dilation: output elements between neighbouring taps.
      dimension_numbers: layouts of input, weight and output.
      data_format: as in `conv_transpose2d`, in place of `dimension_numbers`.
      precision: of no effect on the choice.
      preferred_element_type: of no effect on the choice.
      lowering: ``"auto"``, or a name, which then serves all three maps.

    Returns:
      An `Explanation`.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: an argument out of range, shapes that do not fit, or a platform or
        lowering that is not known.

    Example:
      >>> import jconvt
      >>> found = jconvt.explain((1, 256, 64, 64), (256, 64, 2, 2), stride=2,
      ...                        platform="cpu")
      >>> found.forward
      'gather'
      >>> found.useful_multiply_adds
      268435456
      >>> print(found)  # doctest: +ELLIPSIS
      (1, 256, 64, 64) with weight (256, 64, 2, 2) -> (1, 64, 128, 128), float32 on cpu
      useful multiply-adds: 268,435,456
      ...
    """
    function = "explain"
    recipe, shape, weight = recipe_of_shapes(
        function,
        input_shape,
        weight_shape,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        output_size=output_size,
        groups=groups,
        dilation=dilation,
        dimension_numbers=dimension_numbers,
        data_format=data_format,
        lowering=lowering,
    )
    check_precision(function, precision)
    del preferred_element_type
    platform = _check_platform(function, platform)
    operand = as_dtype(function, dtype)
    static = recipe.layout.is_static(shape, recipe.batched)
    problem = _problem(recipe, shape, weight, operand)
    geometry = problem.geometry
    empty = 0 in (problem.inputs, problem.weights, problem.outputs)
    picks = {
        slot: _pick(slot, lowering, platform, problem, operand, static, empty)
        for slot in Slot
    }
    chosen = platform == "cpu" and static and lowering == AUTO
    maps = {s: as_output(s, problem) if chosen else (s, problem) for s in Slot}
    return Explanation(
        input_shape=shape,
        weight_shape=weight,
        output_shape=recipe.output_shape(shape, weight),
        dtype=operand.name,
        platform=platform,
        forward=picks[Slot.FORWARD].lowering,
        input_gradient=picks[Slot.INPUT_GRADIENT].lowering,
        weight_gradient=picks[Slot.WEIGHT_GRADIENT].lowering,
        reason=_reason(lowering, platform, geometry, static, empty),
        useful_multiply_adds=problem.useful if all(map(is_int, shape)) else None,
        candidates=tuple(
            Candidate(
                lowering=row.name,
                summary=row.summary,
                refusal=row.refuses(geometry, static),
                picked_for=tuple(
                    str(s) for s, pick in picks.items() if pick.lowering == row.name
                ),
                estimates=()
                if empty or row.refuses(geometry, static) is not None
                else tuple(
                    _estimate(slot, made, row.name, platform, operand, picks[slot])
                    for slot, made in maps.items()
                ),
            )
            for row in LOWERINGS.values()
        ),
    )


def _problem(
    recipe: Recipe,
    shape: tuple[Size, ...],
    weight: tuple[Size, ...],
    dtype: "np.dtype[np.generic]",
) -> Problem:
    """What a lowering is given: the input wrapped and trimmed."""
    layout = recipe.layout
    geometry, trims = recipe.geometry.trim()
    size = tuple(
        _at_least_nothing(n + before + after - sum(trim.drop))
        for n, (before, after), trim in zip(
            layout.spatial(shape, recipe.batched), recipe.wrap, trims, strict=True
        )
    )
    batch = shape[layout.input[0]] if recipe.batched else 1
    return problem_of(batch, size, weight, geometry, layout, dtype)


def _at_least_nothing(n: Size) -> Size:
    """Of an axis without elements none can be dropped."""
    return max(n, 0) if is_int(n) else n


def _pick(
    slot: Slot,
    lowering: str,
    platform: str,
    problem: Problem,
    dtype: "np.dtype[np.generic]",
    static: bool,
    empty: bool,
) -> Formulation:
    if empty:
        return Formulation("lhs_dilation" if lowering == AUTO else lowering)
    if lowering != AUTO:
        return best_variant(slot, lowering, problem)
    return choose(slot, platform, problem, dtype, static)


def _reason(
    lowering: str, platform: str, geometry: Geometry, static: bool, empty: bool
) -> str:
    if empty:
        return "nothing to compute"
    if lowering != AUTO:
        return f"lowering={lowering!r}"
    return reason_for(platform, geometry, static)


def _estimate(
    slot: Slot,
    made: tuple[Slot, Problem],
    name: str,
    platform: str,
    dtype: "np.dtype[np.generic]",
    pick: Formulation,
) -> Estimate:
    """For `slot`, the work of the map that is `made` for it."""
    _, problem = made
    several = len(LOWERINGS[name].variants(problem)) > 1
    chosen = pick if pick.lowering == name else best_variant(made[0], name, problem)
    work = work_of(*made, chosen)
    time = estimate(*made, work, dtype) if platform == "cpu" else None
    return Estimate(
        slot=str(slot),
        variant=str(chosen.variant) if several else "",
        pieces=str(chosen.pieces),
        multiply_adds=work.executed,
        bytes=work.moved * problem.itemsize,
        milliseconds=None if time is None else 1e3 * time,
        picked=chosen == pick,
    )


def _check_platform(function: str, platform: object) -> str:
    if platform is None:
        platform = jax.default_backend()
    platform = "cuda" if platform == "gpu" else platform
    if not isinstance(platform, str):
        raise TypeError(f"{function}: `platform` must be a string; got {platform!r}.")
    if platform not in PLATFORMS:
        raise ValueError(
            f"{function}: `platform` must be one of {', '.join(PLATFORMS)}; got "
            f"{platform!r}."
        )
    return platform
