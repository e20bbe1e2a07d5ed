"""Checks that a `lowering` named by the caller exists and serves the geometry."""

from dataclasses import replace

from jconvt._call.arguments import did_you_mean
from jconvt._call.geometry import Geometry
from jconvt._call.lowerings import (
    AUTO,
    Lowerings,
    divides,
    entries_of,
    field_of,
    read_entry,
)
from jconvt._call.problem import Map
from jconvt._choice.turned import turned_geometry


def check_lowering(
    function: str, lowering: object, geometry: Geometry, static: bool
) -> str | Lowerings:
    """`lowering` if what it names for each map serves the geometry, or the error."""
    lowering = check_names(function, lowering)
    trimmed, _ = geometry.trim(divide=divides(lowering))
    for argument, entry in _entries(lowering).items():
        if entry != AUTO:
            _check_serves(function, argument, entry, geometry, trimmed, static)
    return lowering


def check_names(function: str, lowering: object) -> str | Lowerings:
    """`lowering` if what it names for each map exists, or the error."""
    if not isinstance(lowering, str | Lowerings):
        raise TypeError(
            f"{function}: `lowering` must be a string or a jconvt.Lowerings; got "
            f"{lowering!r}."
        )
    for argument, entry in _entries(lowering).items():
        if entry != AUTO:
            _check_name(function, argument, entry)
    return lowering


def _entries(lowering: str | Lowerings) -> dict[str, str]:
    """What messages call an entry -> the entry."""
    if isinstance(lowering, str):
        return {"lowering": lowering}
    entries = entries_of(lowering).items()
    return {f"lowering.{field_of(which)}": entry for which, entry in entries}


def _check_name(function: str, argument: str, entry: str) -> None:
    from jconvt._lowerings.table import LOWERINGS  # loaded when a program needs them

    name = read_entry(entry).lowering
    if name not in LOWERINGS:
        raise ValueError(
            f"{function}: `{argument}` must be one of auto, {', '.join(LOWERINGS)}; "
            f"got {entry!r}.{did_you_mean(name, (AUTO, *LOWERINGS))}"
        )


def _check_serves(
    function: str,
    argument: str,
    entry: str,
    given: Geometry,
    geometry: Geometry,
    static: bool,
) -> None:
    """A ValueError if the entry cannot serve `geometry`, the trimmed one of `given`."""
    from jconvt._lowerings.table import LOWERINGS  # loaded when a program needs them

    said = read_entry(entry)
    name, variant = said.lowering, said.variant
    if said.turned:
        _check_turned(function, argument, entry, geometry)
        geometry = turned_geometry(geometry)
    if said.by_group:
        if geometry.groups == 1:
            raise ValueError(
                f"{function}: `{argument}` can be computed by group only for a layer "
                f"with `groups` above 1; got {entry!r} for groups=1. Leave out '/by "
                f"group'."
            )
        geometry = replace(geometry, groups=1)
    if said.blocks and said.axis >= geometry.rank:
        raise ValueError(
            f"{function}: `{argument}` must cut one of the {geometry.rank} spatial "
            f"axes, counted from 0; got {entry!r}."
        )
    reason = LOWERINGS[name].refuses(geometry, static)
    if reason is not None:
        able = (n for n, row in LOWERINGS.items() if not row.refuses(geometry, static))
        raise ValueError(
            f"{function}: `{argument}`={entry!r} cannot serve this geometry: {reason};"
            f" got {given}. Use one of auto, {', '.join(able)}."
        )
    if variant is None:
        return
    variants = LOWERINGS[name].variants_for(geometry)
    known = [f"{name}/{v}" for v in variants if len(variants) > 1]
    named = f"{name}/{variant}"
    if named not in known:
        raise ValueError(
            f"{function}: `{argument}` must be one of {', '.join((name, *known))} for "
            f"this geometry; got {entry!r}.{did_you_mean(named, known)}"
        )


def _check_turned(function: str, argument: str, entry: str, geometry: Geometry) -> None:
    of_input = argument == f"lowering.{field_of(Map.INPUT)}"
    if not of_input or any(s > 1 for s in geometry.stride):
        raise ValueError(
            f"{function}: `{argument}` can be turned only for the input gradient of a "
            f"layer of stride 1; got {entry!r} at stride {geometry.stride}. Leave out "
            f"'/turned'."
        )
