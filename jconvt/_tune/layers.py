"""The transposed convolutions of a traced program, and their lowerings replaced."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jconvt._call.call import Call, Sizes
from jconvt._call.layout import Layout
from jconvt._call.lowerings import AUTO, Lowerings, entries_of, field_of
from jconvt._call.problem import Map, Problem
from jconvt._maps.primitive import PRIMITIVES
from jconvt._tune.programs import equations, rewrite


@dataclass(frozen=True, slots=True)
class Layer:
    """A transposed convolution with its sizes, whatever lowering it was given."""

    call: Call
    input_shape: Sizes
    weight_shape: Sizes

    @classmethod
    def of(cls, equation: core.JaxprEqn, which: Map) -> Self:
        """The layer of which an equation computes a map."""
        arrays = zip(which.operands, equation.invars, strict=True)
        shapes: dict[Map, Sizes] = {m: _type_of(v).shape for m, v in arrays}
        shapes[which] = equation.params["shape"]
        call = replace(equation.params["call"], lowering=AUTO)
        return cls(call, shapes[Map.INPUT], shapes[Map.WEIGHT])

    @property
    def shapes(self) -> dict[Map, Sizes]:
        """The shapes of the three arrays."""
        output = self.call.output_shape(self.input_shape, self.weight_shape)
        return {
            Map.INPUT: self.input_shape,
            Map.WEIGHT: self.weight_shape,
            Map.OUTPUT: output,
        }

    @property
    def problem(self) -> Problem:
        """The sizes, for the choice."""
        return self.call.problem(self.input_shape, self.weight_shape)

    @property
    def is_measurable(self) -> bool:
        """Whether all sizes are positive ints."""
        sizes = [n for shape in self.shapes.values() for n in shape]
        known = all(isinstance(n, int) for n in sizes)
        return known and 0 not in (*sizes, *self.problem.size)

    @property
    def has_derivatives(self) -> bool:
        """Whether the dtype has gradients."""
        return bool(jnp.issubdtype(self.call.operand, jnp.inexact))

    def arrays(self) -> dict[Map, np.ndarray]:
        """Small whole numbers for the three arrays."""
        call, draw = self.call, np.random.default_rng(0)
        dtypes = dict.fromkeys(Map, call.operand) | {Map.OUTPUT: call.numerics.result}
        return {
            which: draw.integers(0, 3, shape).astype(dtypes[which])
            for which, shape in self.shapes.items()
        }

    def __str__(self) -> str:
        """All facts that are not a default; two layers never read alike."""
        call, geometry = self.call, self.call.geometry
        rank, result = geometry.rank, call.numerics.result
        ones, layout = (1,) * rank, call.layout
        usual = Layout.channels_first(rank)
        facts: dict[str, tuple[object, object]] = {
            "stride": (geometry.stride, ones),
            "crop": (geometry.crop, ((0, 0),) * rank),
            "dilation": (geometry.dilation, ones),
            "groups": (geometry.groups, 1),
            "wrap": (call.wrap, ((0, 0),) * rank),
            "layout": (
                (layout.input, layout.weight, layout.output),
                (usual.input, usual.weight, usual.output),
            ),
            "result": (result.name, call.operand.name),
            "precision": (_named(call.numerics.precision), "None"),
        }
        shown = [f"{n} {v}" for n, (v, default) in facts.items() if v != default]
        sizes = f"{self.input_shape} with weight {self.weight_shape}"
        return ", ".join([sizes, *shown, call.operand.name])


def _named(precision: object) -> str:
    several = precision if isinstance(precision, tuple) else (precision,)
    return " and ".join(str(getattr(p, "name", p)) for p in several)


Counts = dict[Layer, dict[Map, int]]
"""How often each map of each layer runs; 0 where it may be asked for later."""

Picks = Mapping[Layer, Mapping[Map, str]]
"""The entry of `Lowerings` for some maps of some layers."""


def find_layers(jaxpr: Any, *, derivatives: bool) -> Counts:
    """The maps in a program that may be tuned: those whose lowering is automatic.

    With `derivatives`, a program without gradients is taken to be differentiated later,
    and all three maps of its layers are found.
    """
    counts: Counts = {}
    free: dict[Layer, set[Map]] = {}
    for equation, times in equations(jaxpr):
        which = _map_of(equation)
        if which is None:
            continue
        layer = Layer.of(equation, which)
        if not layer.is_measurable:
            continue
        entries = entries_of(equation.params["call"].lowering)
        open_maps = {m for m, entry in entries.items() if entry == AUTO}
        free.setdefault(layer, set()).update(open_maps)
        if which in open_maps:
            found = counts.setdefault(layer, {})
            found[which] = found.get(which, 0) + times
    has_gradients = any(set(found) - {Map.OUTPUT} for found in counts.values())
    if derivatives and not has_gradients:
        for layer, maps in free.items():
            wanted = [m for m in Map if m in maps and layer.has_derivatives]
            more = dict.fromkeys(wanted, 0) | counts.get(layer, {})
            counts |= {layer: more} if more else {}
    return counts


def with_picks(jaxpr: Any, picks: Picks) -> Any:
    """The program with these entries where a lowering is automatic."""

    def change(equation: core.JaxprEqn) -> core.JaxprEqn:
        which = _map_of(equation)
        if which is None:
            return equation
        call: Call = equation.params["call"]
        picked = picks.get(Layer.of(equation, which), {})
        given = entries_of(call.lowering)
        entries = {m: picked.get(m, e) if e == AUTO else e for m, e in given.items()}
        if entries == given:
            return equation
        call = replace(call, lowering=as_lowerings(entries))
        return equation.replace(params=equation.params | {"call": call})

    return rewrite(jaxpr, change)


def as_lowerings(entries: Mapping[Map, str]) -> Lowerings:
    """The entries as `lowering=` takes them."""
    return Lowerings(**{field_of(which): entry for which, entry in entries.items()})


def _type_of(variable: Any) -> Any:
    return variable.aval


def _map_of(equation: core.JaxprEqn) -> Map | None:
    return _MAPS.get(equation.primitive)


_MAPS = {primitive: which for which, primitive in PRIMITIVES.items()}


def weight_of(layer: Layer, times: Mapping[Map, int]) -> float:
    """The useful multiply-adds of the maps: how much of the time a layer deserves."""
    return float(layer.problem.useful * sum(max(n, 1) for n in times.values()))
