"""What will run, and why: the choice of `jconvt._choice` as data and as text."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jconvt._arguments import IntOrInts, Padding, Shape, is_int
from jconvt._choice import AUTO, PLATFORMS, Slot, choose
from jconvt._geometry import Axis, Size
from jconvt._layout import DimensionNumbers
from jconvt._lowerings import LOWERINGS
from jconvt._numerics import Precision, check_dtype, check_precision
from jconvt._recipe import Recipe
from jconvt._shapes import recipe_of_shapes


@dataclass(frozen=True, slots=True)
class Candidate:
    """One lowering before the choice.

    Attributes:
      lowering: its name, as ``lowering=`` takes it.
      summary: what it does, in a line.
      refusal: why it cannot serve here; None where it can.
      picked_for: the maps it was chosen for, of "forward", "input gradient" and
        "weight gradient". A gradient is made by transposing the lowering.
    """

    lowering: str
    summary: str
    refusal: str | None
    picked_for: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a call runs on a platform. ``str()`` of it is a table to read.

    Attributes:
      input_shape: of the call.
      weight_shape: of the call.
      output_shape: of the result.
      dtype: to which the operands promote.
      platform: "cpu", "cuda", "rocm" or "tpu".
      forward: the lowering that computes the output.
      input_gradient: the lowering whose transpose computes the input gradient.
      weight_gradient: the lowering whose transpose computes the weight gradient.
      useful_multiply_adds: products of an input element and a tap that reach an
        output element, for each of the three maps; None with symbolic sizes.
      candidates: every lowering of the table.
    """

    input_shape: tuple[Size, ...]
    weight_shape: tuple[Size, ...]
    output_shape: tuple[Size, ...]
    dtype: str
    platform: str
    forward: str
    input_gradient: str
    weight_gradient: str
    useful_multiply_adds: int | None
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        work = self.useful_multiply_adds
        lines = [
            f"{self.input_shape} with weight {self.weight_shape} -> "
            f"{self.output_shape}, {self.dtype} on {self.platform}",
            f"useful multiply-adds: {'symbolic' if work is None else f'{work:,}'}",
            "",
        ]
        width = max(len(c.lowering) for c in self.candidates)
        for c in self.candidates:
            lines.append(f"{c.lowering:{width}}  {c.summary}")
            if c.refusal is not None:
                lines.append(f"{'':{width}}  cannot serve: {c.refusal}")
            elif c.picked_for:
                lines.append(f"{'':{width}}  -> {', '.join(c.picked_for)}")
        return "\n".join(lines)


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
    lowering: str = AUTO,
) -> Explanation:
    """Say which lowering a call runs, for the output and for both gradients, and why.

    Nothing is computed or compiled. The options are those of `conv_transpose`.

    Args:
      input_shape: ints, or symbolic dimensions of `jax.export`.
      weight_shape: ints.
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
      'matmul'
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
    operand = _check_dtype(function, dtype)
    static = recipe.layout.is_static(shape, recipe.batched)
    geometry, _ = recipe.geometry.trim()
    picks = {
        slot: choose(slot, platform, geometry, operand, static)
        if lowering == AUTO
        else lowering
        for slot in Slot
    }
    return Explanation(
        input_shape=shape,
        weight_shape=weight,
        output_shape=recipe.output_shape(shape, weight),
        dtype=operand.name,
        platform=platform,
        forward=picks[Slot.FORWARD],
        input_gradient=picks[Slot.INPUT_GRADIENT],
        weight_gradient=picks[Slot.WEIGHT_GRADIENT],
        useful_multiply_adds=_useful_multiply_adds(recipe, shape, weight),
        candidates=tuple(
            Candidate(
                lowering=row.name,
                summary=row.summary,
                refusal=row.refuses(recipe.geometry, static),
                picked_for=tuple(
                    str(s) for s, name in picks.items() if name == row.name
                ),
            )
            for row in LOWERINGS.values()
        ),
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


def _check_dtype(function: str, dtype: object) -> "np.dtype[np.generic]":
    try:
        # NumPy would read None as float64.
        found = np.dtype("" if dtype is None else dtype)  # pyright: ignore[reportArgumentType, reportCallIssue]
    except TypeError:
        raise TypeError(
            f"{function}: `dtype` must be a dtype; got {dtype!r}."
        ) from None
    check_dtype(function, "dtype", found)
    return found


def _useful_multiply_adds(
    recipe: Recipe, input_shape: tuple[Size, ...], weight_shape: tuple[Size, ...]
) -> int | None:
    layout = recipe.layout
    space = [
        n + before + after
        for n, (before, after) in zip(
            layout.spatial(input_shape, recipe.batched), recipe.wrap, strict=True
        )
    ]
    if not all(is_int(n) for n in input_shape):
        return None
    pairs = [
        _pairs(axis, n) for axis, n in zip(recipe.geometry.axes, space, strict=True)
    ]
    batch = input_shape[layout.input[0]] if recipe.batched else 1
    channels = weight_shape[layout.weight[0]] * weight_shape[layout.weight[1]]
    return batch * channels * math.prod(pairs)


def _pairs(axis: Axis, n: int) -> int:
    """Pairs of an element and a tap of one axis whose position is not cropped."""
    out, s = axis.output_size(n), axis.stride
    total = 0
    for tap in range(axis.kernel_size):
        # 0 <= s*i + offset < out for 0 <= i < n
        offset = tap * axis.dilation - axis.low
        first = max(0, -(offset // s))
        last = min(n - 1, (out - 1 - offset) // s)
        total += max(0, last - first + 1)
    return total
