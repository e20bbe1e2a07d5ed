"""Which formulation will run, and why, for shapes alone: `jconvt.explain`."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jconvt._call.arguments import IntOrInts, Padding, Shape, did_you_mean, is_int
from jconvt._call.layout import DimensionNumbers
from jconvt._call.lowerings import AUTO, Lowerings, entries_of, read_entry
from jconvt._call.numerics import Precision, as_dtype
from jconvt._call.problem import Map, Problem
from jconvt._call.tracebacks import ends_traceback
from jconvt._choice.choose import (
    PLATFORMS,
    best_variant,
    choose,
    estimate,
    pinned,
    reason_for,
    work_of,
)
from jconvt._choice.formulation import Formulation
from jconvt._choice.turned import turned_problem
from jconvt._explanation import Candidate, Estimate, Explanation
from jconvt._lowerings.row import Lowering
from jconvt._lowerings.table import LOWERINGS
from jconvt._shapes import call_of_shapes


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
    lowering: str | Lowerings = "auto",
) -> Explanation:
    """Tell which lowering a call runs for the output and both gradients, and why.

    Nothing is computed or compiled. The options are those of `conv_transpose`. The
    answer is for one device; programs for several replace some lowerings.

    Args:
      input_shape: ``(N, C_in, *S)`` or ``(C_in, *S)``: ints, or symbolic dimensions
        of `jax.export` for batch and space.
      weight_shape: ``(C_in, C_out/groups, *K)``: ints.
      dtype: to which the operands promote.
      platform: "cpu", "cuda", "rocm" or "tpu". None: JAX's default backend. (A real
        program chooses for the platform that it is compiled for.)
      stride: output elements between neighbouring input elements.
      padding: output elements to crop.
      output_padding: output elements appended.
      output_size: the output's spatial size, in place of `output_padding`.
      groups: number of groups of channels.
      dilation: output elements between neighbouring taps.
      dimension_numbers: layouts of input, weight and output.
      data_format: as in `conv_transpose2d`, in place of `dimension_numbers`.
      precision: without effect on the choice.
      preferred_element_type: without effect on the choice.
      lowering: ``"auto"``, a name, which then serves all three maps, or
        `jconvt.Lowerings`.

    Returns:
      An `Explanation`.

    Raises:
      TypeError: an argument has the wrong type.
      ValueError: an argument is out of range, shapes do not fit, or a platform or
        lowering is unknown.

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
    del preferred_element_type
    function = "explain"
    call, shape, weight = call_of_shapes(
        function,
        input_shape,
        weight_shape,
        as_dtype(function, dtype),
        data_format=data_format,
        output_size=output_size,
        precision=precision,
        lowering=lowering,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
        dimension_numbers=dimension_numbers,
    )
    platform = _check_platform(function, platform)
    problem = call.problem(shape, weight)
    empty = 0 in (problem.inputs, problem.weights, problem.outputs)
    entries = entries_of(lowering)
    picks = {
        which: _pick(which, entry, platform, problem, empty)
        for which, entry in entries.items()
    }
    return Explanation(
        input_shape=shape,
        weight_shape=weight,
        output_shape=call.output_shape(shape, weight),
        dtype=call.operand.name,
        platform=platform,
        forward=picks[Map.OUTPUT].lowering,
        input_gradient=picks[Map.INPUT].lowering,
        weight_gradient=picks[Map.WEIGHT].lowering,
        reason=_reason(lowering, platform, problem, empty),
        useful_multiply_adds=problem.useful if all(map(is_int, shape)) else None,
        candidates=tuple(
            _candidate(row, picks, platform, problem, empty)
            for row in LOWERINGS.values()
        ),
    )


def _pick(
    which: Map, entry: str, platform: str, problem: Problem, empty: bool
) -> Formulation:
    if empty:
        return Formulation(
            "lhs_dilation" if entry == AUTO else read_entry(entry).lowering
        )
    if entry != AUTO:
        return pinned(which, entry, problem)
    return choose(which, platform, problem)


def _reason(
    lowering: str | Lowerings, platform: str, problem: Problem, empty: bool
) -> str:
    if empty:
        return "nothing to compute"
    entries = set(entries_of(lowering).values())
    reasons = [
        *([f"lowering={lowering!r}"] if entries != {AUTO} else []),
        *([reason_for(platform, problem)] if AUTO in entries else []),
    ]
    return "; auto: ".join(reasons)


def _candidate(
    row: Lowering,
    picks: dict[Map, Formulation],
    platform: str,
    problem: Problem,
    empty: bool,
) -> Candidate:
    refusal = row.refuses(problem.geometry, problem.static)
    return Candidate(
        lowering=row.name,
        summary=row.summary,
        refusal=refusal,
        picked_for=tuple(
            str(m) for m, pick in picks.items() if pick.lowering == row.name
        ),
        estimates=()
        if empty or refusal is not None
        else tuple(
            _estimate(which, row, platform, problem, pick)
            for which, pick in picks.items()
        ),
    )


def _estimate(
    which: Map, row: Lowering, platform: str, problem: Problem, pick: Formulation
) -> Estimate:
    """The cost of a lowering for a map, in the variant that is best for it."""
    chosen = pick
    if pick.lowering != row.name:
        chosen = best_variant(which, row.name, problem)
        if pick.turned:
            solved = turned_problem(problem)
            chosen = best_variant(Map.OUTPUT, row.name, solved)._replace(turned=True)
    work = work_of(which, problem, chosen)
    time = estimate(which, problem, chosen) if platform == "cpu" else None
    return Estimate(
        slot=str(which),
        variant=str(chosen.variant) if len(row.variants(problem)) > 1 else "",
        pieces=", ".join(
            [
                *(["by group"] if chosen.by_group else []),
                *([str(chosen.pieces)] if str(chosen.pieces) else []),
            ]
        ),
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
            f"{platform!r}.{did_you_mean(platform, (*PLATFORMS, 'gpu'))}"
        )
    return platform
