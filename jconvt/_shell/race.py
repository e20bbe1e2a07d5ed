"""The contenders of `bench`: made, compared with each other, timed in turn.

The numbers are small and whole, so that sums are exact in any order: two right results
differ by the rounding of their elements at most.
"""

import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

import jconvt
from jconvt._call.arguments import did_you_mean
from jconvt._call.call import Call
from jconvt._call.lowerings import AUTO, Lowerings, field_of
from jconvt._call.numerics import Numerics, as_dtype
from jconvt._call.options import dimension_numbers_of
from jconvt._call.problem import Map
from jconvt._choice.pinned import check_lowering
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import PLAIN
from jconvt._maps.execute import add_bias
from jconvt._shapes import call_of_shapes
from jconvt._shell.timing import ROUNDS, race

NATIVE = "native"
TRAINING = "forward and gradients"

GIVEN = "--lowering"
"""The contender that this option of the command adds."""

NOT_SLOWER = 1.05
"""How much more time than the fastest auto may need and be kept: noise is more."""

Shape = tuple[int, ...]
Forward = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@dataclass(frozen=True, slots=True)
class Found:
    """What a race found.

    Attributes:
      layer: its shapes and dtype.
      machine: the device and JAX's version.
      method: how times were taken.
      seconds: of each race, the median seconds of each contender.
      notes: which lowerings auto chose, and which contenders were left out, and why.
      disagree: contenders whose results differ from those of the first; not timed.
      lowering: the fastest lowering of each map, as `Lowerings.to_json` gives it.
    """

    layer: str
    machine: str
    method: str
    seconds: dict[str, dict[str, float]]
    notes: tuple[str, ...]
    disagree: tuple[str, ...]
    lowering: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer with its sizes.

    Attributes:
      options: for `jconvt.conv_transpose`.
      call: what follows from them and the shapes.
    """

    input_shape: Shape
    weight_shape: Shape
    output_shape: Shape
    dtype: np.dtype[Any]
    options: dict[str, Any]
    call: Call

    @classmethod
    def of(
        cls,
        input_shape: Shape,
        weight_shape: Shape,
        keywords: dict[str, Any],
        dtype: str,
    ) -> Self:
        """The layer of shapes and options, or their error."""
        call, shape, weight = call_of_shapes(
            "bench", input_shape, weight_shape, **keywords
        )
        found = as_dtype("bench", dtype)
        if jax.dtypes.canonicalize_dtype(found) != found:
            raise ValueError(
                f"bench: `dtype` {found.name} needs JAX_ENABLE_X64=1 to be set."
            )
        options = dict(keywords)
        data_format = options.pop("data_format")
        if data_format is not None:
            options["dimension_numbers"] = dimension_numbers_of(
                "bench", data_format, call.geometry.rank
            )
        return cls(
            input_shape=shape,
            weight_shape=weight,
            output_shape=call.output_shape(shape, weight),
            dtype=found,
            options=options,
            call=call,
        )

    def arrays(self) -> tuple[jax.Array, ...]:
        """Input, weight, bias and cotangent."""
        channels = self.weight_shape[self.call.layout.weight[1]]
        bias_shape = (channels * self.call.geometry.groups,)
        random = np.random.default_rng(0)
        lowest = 0 if jnp.issubdtype(self.dtype, jnp.unsignedinteger) else -2
        return tuple(
            jnp.asarray(random.integers(lowest, 3, shape), self.dtype)
            for shape in (
                *(self.input_shape, self.weight_shape, bias_shape, self.output_shape),
            )
        )

    def why_not_native(self) -> str | None:
        """Why one convolution of JAX cannot express it, or None where it can."""
        if any(map(any, self.call.wrap)):
            return "it has no periodic borders"
        if any(min(pads) < 0 for pads in self.call.geometry.dilated_pads):
            return "it would need a negative padding of the inflated input"
        return None

    def native(self, x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        """One `lax.conv_general_dilated` with ``lhs_dilation``; JAX differentiates."""
        layout, numerics = self.call.layout, Numerics(None, self.dtype)
        call = replace(self.call, operand=self.dtype, numerics=numerics)
        if not self.call.batched:
            x = jnp.expand_dims(x, layout.input[0])
        lower = LOWERINGS["lhs_dilation"].lower
        y = lower(x, w, call, PLAIN, Map.OUTPUT)
        y = add_bias(y, b, layout.output[1], numerics)
        return y if self.call.batched else jnp.squeeze(y, layout.output[0])


def race_layer(
    layer: Layer,
    names: Sequence[str] | None,
    seconds: float,
    more: str | Lowerings | None = None,
) -> Found:
    """Races the contenders, `names` alone where given, in each map and in training.

    `more` is the `lowering` of one more contender.
    """
    contenders, notes = _contenders(layer, names)
    if more is not None:
        check_lowering("bench", more, layer.call.geometry, static=True)
        contenders[GIVEN] = partial(
            jconvt.conv_transpose, **layer.options, lowering=more
        )
    arrays = layer.arrays()
    times: dict[str, dict[str, float]] = {}
    disagree: set[str] = set()
    for what, task in _tasks(layer).items():
        runs: dict[str, Callable[[], object]] = {}
        first = None
        for name, forward in contenders.items():
            _say(f"{what}: compiling {name}")
            run = partial(_run, jax.jit(partial(task, forward)), arrays)
            try:
                result = run()
            except jax.errors.JaxRuntimeError as error:
                notes.append(f"{name} did not run {what}: {_first_line(error)}")
                continue
            first = result if first is None else first
            if _differ(result, first):
                disagree.add(name)
                notes.append(f"{name} is not timed {what}: its results differ.")
                continue
            runs[name] = run
        _say(f"{what}: timing")
        times[what] = race(runs, seconds=seconds)
    device = jax.devices()[0]
    return Found(
        layer=f"{layer.input_shape} with weight {layer.weight_shape} -> "
        f"{layer.output_shape}, {layer.dtype.name}",
        machine=f"{device.device_kind}, {os.cpu_count()} CPU cores; "
        f"jax {jax.__version__}, jconvt {jconvt.__version__}",
        method=f"medians of at least {ROUNDS} turns in {seconds:g} s, contenders in "
        "turn in one process, all compiled and warm",
        seconds=times,
        notes=(_choice(layer), *notes),
        disagree=tuple(sorted(disagree)),
        lowering=_fastest(times).to_json(),
    )


def _fastest(times: dict[str, dict[str, float]]) -> Lowerings:
    """Of each map that was raced, the fastest lowering or auto."""
    entries: dict[str, str] = {}
    for which in Map:
        found = {n: t for n, t in times.get(which, {}).items() if n in LOWERINGS}
        if found:
            name = min(found, key=lambda n: found[n])
            auto = times[which].get(AUTO, math.inf)
            kept = auto <= NOT_SLOWER * found[name]
            entries[field_of(which)] = AUTO if kept else name
    return Lowerings(**entries)


def _contenders(
    layer: Layer, names: Sequence[str] | None
) -> tuple[dict[str, Forward], list[str]]:
    """Name -> function, in the order of the race; and why others are left out."""
    known = (AUTO, *LOWERINGS, NATIVE)
    for name in names or ():
        if name not in known:
            raise ValueError(
                f"bench: `contenders` must be of {', '.join(known)}; got {name!r}."
                f"{did_you_mean(name, known)}"
            )
        if name in LOWERINGS:
            check_lowering("bench", name, layer.call.geometry, static=True)
    contenders: dict[str, Forward] = {}
    notes = []
    for name in known if names is None else names:
        reason = None
        if name == NATIVE:
            reason = layer.why_not_native()
        elif name != AUTO:
            reason = LOWERINGS[name].refuses(layer.call.trimmed, static=True)
        if reason is not None:
            notes.append(f"{name} is not in the race: {reason}.")
        elif name == NATIVE:
            contenders[name] = layer.native
        else:
            # An entry for each map, which is no convolution of lax under any name.
            each = Lowerings(**{field_of(which): name for which in Map})
            contenders[name] = partial(
                jconvt.conv_transpose, **layer.options, lowering=each
            )
    return contenders, notes


def _tasks(layer: Layer) -> dict[str, Callable[..., Any]]:
    """What is raced; integers have no gradients."""
    tasks: dict[str, Callable[..., Any]] = {Map.OUTPUT: _forward}
    if jnp.issubdtype(layer.dtype, jnp.inexact):
        tasks[Map.INPUT] = _input_gradient
        tasks[Map.WEIGHT] = _weight_gradient
        tasks[TRAINING] = _forward_and_gradients
    return {str(what): task for what, task in tasks.items()}


def _forward(
    forward: Forward, x: jax.Array, w: jax.Array, b: jax.Array, cotangent: jax.Array
) -> Any:
    del cotangent
    return forward(x, w, b)


def _input_gradient(
    forward: Forward, x: jax.Array, w: jax.Array, b: jax.Array, cotangent: jax.Array
) -> Any:
    return jax.vjp(lambda x: forward(x, w, b), x)[1](cotangent)


def _weight_gradient(
    forward: Forward, x: jax.Array, w: jax.Array, b: jax.Array, cotangent: jax.Array
) -> Any:
    return jax.vjp(lambda w: forward(x, w, b), w)[1](cotangent)


def _forward_and_gradients(
    forward: Forward, x: jax.Array, w: jax.Array, b: jax.Array, cotangent: jax.Array
) -> Any:
    y, pull_back = jax.vjp(forward, x, w, b)
    return y, pull_back(cotangent)


def _run(compiled: Callable[..., Any], arrays: tuple[jax.Array, ...]) -> Any:
    return jax.block_until_ready(compiled(*arrays))


def _differ(found: Any, expected: Any) -> bool:
    """Whether some array differs by more than rounding its elements a few times."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return any(_differs(np.asarray(a), np.asarray(b)) for a, b in pairs)


def _differs(found: np.ndarray, expected: np.ndarray) -> bool:
    if not jnp.issubdtype(expected.dtype, jnp.inexact):
        return not np.array_equal(found, expected)
    few = 4 * float(jnp.finfo(expected.dtype).eps)
    wide = np.result_type(expected.dtype, np.float32)
    found, expected = found.astype(wide), expected.astype(wide)
    scale = np.abs(expected).max(initial=0)
    # Written so that NaN differs.
    return not bool(np.all(np.abs(found - expected) <= few * scale))


def _choice(layer: Layer) -> str:
    found = jconvt.explain(
        layer.input_shape, layer.weight_shape, dtype=layer.dtype, **layer.options
    )
    return (
        f"auto is {found.forward} forward, {found.input_gradient} for the input "
        f"gradient and {found.weight_gradient} for the weight gradient."
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _say(message: str) -> None:
    """Progress, on a terminal's stderr; stdout is for results alone."""
    if sys.stderr.isatty():
        print(message, file=sys.stderr, flush=True)
