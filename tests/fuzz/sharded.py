"""Calls whose arrays lie on several devices, in each of JAX's three regimes."""

import dataclasses
from typing import Any

import jax
import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import jconvt.sharding
from fuzz import check as checks
from fuzz.check import Wrong
from fuzz.config import Config
from fuzz.doors import DOORS
from fuzz.strategies import configs
from fuzz.ways import stack

DEVICES = 2


@dataclasses.dataclass(frozen=True)
class Placed:
    """A config, the regime, and which axis of what is shared out.

    Attributes:
      regime: "auto", "explicit", "shard_map", or "halo" for `jconvt.sharding`.
      along: "batch", "in", "out", "space" (the first spatial axis), or "mapped" (the
        axis of a vmap).
    """

    config: Config
    regime: str
    along: str

    def line(self) -> str:
        """The placed config as Python."""
        config = self.config.line().rstrip(",")
        return f"Placed({config}, {self.regime!r}, {self.along!r}),"


REGIMES = {
    "auto": ("batch", "in", "out", "space", "mapped"),
    "explicit": ("batch", "in", "out", "space", "mapped"),
    "shard_map": ("batch", "out"),
    "halo": ("space",),
}


@st.composite
def placed(draw: st.DrawFn) -> Placed:
    """Any layer whose sizes are shared out evenly."""
    regime = draw(st.sampled_from(list(REGIMES)))
    along = draw(st.sampled_from(REGIMES[regime]))
    way = "vmap of vjp" if along == "mapped" else "vjp"
    config = draw(configs(door="conv_transpose", way=way))
    if np.dtype(config.dtype).kind in "iu" or "int" in (config.weight_dtype or ""):
        config = dataclasses.replace(config, dtype="float32", weight_dtype=None)
    changes: dict[str, Any] = {"preferred": None}
    if along == "batch":
        changes["batch"] = DEVICES * draw(st.integers(1, 2))
    if along == "space":
        assume(config.rank > 0)
        n = DEVICES * draw(st.integers(1, 3))
        changes["space"] = (n, *config.space[1:])
        first, *others = config.paddings
        if not isinstance(first, str):
            changes["padding"] = ((0, 0), *others)
        changes["more"] = None
    if along in ("in", "out"):
        one, other = config.channels
        even = tuple(c if c % DEVICES == 0 else DEVICES for c in (one, other))
        changes |= {"channels": even, "groups": 1}
    config = dataclasses.replace(config, **changes)
    assume(all(m >= 0 for m in config.out))
    if regime == "halo":
        assume(config.space[0] > 0 and config.out[0] % DEVICES == 0)
        assume(config.out[0] > 0 and 0 not in config.space)
    return Placed(config, regime, along)


def check(some: list[Placed]) -> None:
    """A `Wrong` for the first that does not give what it must."""
    for one in some:
        try:
            found = _run_mapped(one) if one.along == "mapped" else _run(one)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise Wrong(one, reason) from error
        try:
            # Each device rounds its share of a gradient, and JAX adds these up.
            checks.compare_results(checks.prepare(one.config), found, roundings=2)
        except Wrong as error:
            raise Wrong(one, str(error)) from None


def _mesh(one: Placed) -> Mesh:
    kind = AxisType.Explicit if one.regime == "explicit" else AxisType.Auto
    return Mesh(np.array(jax.devices()[:DEVICES]), ("d",), axis_types=(kind,))


def _run_mapped(one: Placed) -> list[tuple[str, Any]]:
    """Gradients of each example, one on each device."""
    config, mesh = one.config, _mesh(one)
    call = DOORS["conv_transpose"](config)
    given = checks.prepare(config).given
    arrays, axes = stack(given, "xwbg", config.mapped, config.axes)

    def pulled(x: Any, w: Any, b: Any, g: Any) -> Any:
        return jax.vjp(call, x, w, b)[1](g)

    def placed_along(a: Any, axis: int | None) -> Any:
        spec = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, "d")
        return None if a is None else jax.device_put(a, NamedSharding(mesh, spec))

    run = jax.jit(jax.vmap(pulled, axes), compiler_options=checks.volume())
    with jax.set_mesh(mesh):
        gradients = run(*map(placed_along, arrays, axes))
    named = [(name, a) for name, a in zip("xwb", gradients, strict=True)]
    rows = [(name, np.asarray(a)) for name, a in named if a is not None]
    return [(name, a[i]) for i in (0, 1) for name, a in rows]


def _run(one: Placed) -> list[tuple[str, Any]]:
    config, mesh = one.config, _mesh(one)
    given = checks.prepare(config).given
    specs = {name: _spec(one, name) for name in "xwbg"}
    call = DOORS["conv_transpose"](config)
    if one.regime in ("shard_map", "halo"):
        call = _shared(one, mesh, specs, call)

    def program(arrays: Any) -> list[Any]:
        y, pull = jax.vjp(call, arrays["x"], arrays["w"], arrays["b"])
        g = arrays["g"]
        if one.regime == "explicit":  # a cotangent is sharded as its output
            g = jax.sharding.reshard(g, jax.typeof(y).sharding)
        return [y, *pull(g)]

    run = jax.jit(program, compiler_options=checks.volume())
    arrays = {name: given[name] for name in "xwbg"}
    if one.regime in ("auto", "explicit"):
        arrays = {
            name: None if a is None else jax.device_put(a, NamedSharding(mesh, spec))
            for (name, a), spec in zip(arrays.items(), specs.values(), strict=True)
        }
    with jax.set_mesh(mesh):
        results = run(arrays)
    names = [n for n in ("g", "x", "w", "b") if n != "b" or given["b"] is not None]
    return list(zip(names, [a for a in results if a is not None], strict=True))


def _spec(one: Placed, name: str) -> PartitionSpec:
    """Which axis of an array lies along the devices."""
    config = one.config
    if name == "b":
        return PartitionSpec("d") if one.along == "out" else PartitionSpec()
    letters = config.specs[{"x": 0, "w": 1, "g": 2}[name]]
    first = config.plain_specs[0][2:3]
    letter = {
        "batch": {"x": "N", "g": "N"},
        "in": {"x": "C", "w": "I"},
        "out": {"w": "O", "g": "C"},
        "space": {"x": first, "g": first},
    }[one.along].get(name)
    if name == "g" and one.regime in ("auto", "explicit"):
        letter = None  # the output's size need not be even
    if config.batch is None and name != "w":
        letters = letters.replace("N", "")
    return PartitionSpec(*("d" if c == letter else None for c in letters))


def _shared(one: Placed, mesh: Mesh, specs: dict[str, PartitionSpec], call: Any) -> Any:
    config = one.config
    if one.regime == "halo":

        def call(x: Any, w: Any, b: Any) -> Any:
            return jconvt.sharding.conv_transpose(
                x,
                w,
                b,
                mesh_axes=("d", *[None] * (config.rank - 1)),
                stride=config.stride,
                padding=config.padding,
                output_padding=config.output_padding,
                groups=config.groups,
                dilation=config.dilation,
                dimension_numbers=config.numbers,
                lowering=config.lowering,
            )

    names = "xw" if not config.bias else "xwb"
    inner = jax.shard_map(
        lambda *arrays: call(*arrays, *[None] * (3 - len(arrays))),
        mesh=mesh,
        in_specs=tuple(specs[name] for name in names),
        out_specs=specs["g"],
    )
    return lambda x, w, b: inner(*(a for a in (x, w, b) if a is not None))
