"""Checks that a `lowering` named by the caller exists and serves the geometry."""

from jconvt._call.arguments import did_you_mean
from jconvt._call.geometry import Geometry

AUTO = "auto"


def check_lowering(
    function: str, lowering: object, geometry: Geometry, static: bool
) -> str:
    """`lowering` if it is ``"auto"`` or serves the geometry, or the error."""
    lowering = check_name(function, lowering)
    if lowering == AUTO:
        return lowering
    from jconvt._lowerings.table import LOWERINGS  # loaded when a program needs them

    reason = LOWERINGS[lowering].refuses(geometry, static)
    if reason is not None:
        raise ValueError(
            f"{function}: `lowering`={lowering!r} cannot serve this geometry: {reason};"
            f" got {geometry}."
        )
    return lowering


def check_name(function: str, lowering: object) -> str:
    """`lowering` if it is ``"auto"`` or the name of one, or the error."""
    if not isinstance(lowering, str):
        raise TypeError(f"{function}: `lowering` must be a string; got {lowering!r}.")
    if lowering == AUTO:
        return lowering
    from jconvt._lowerings.table import LOWERINGS  # loaded when a program needs them

    if lowering not in LOWERINGS:
        raise ValueError(
            f"{function}: `lowering` must be one of auto, {', '.join(LOWERINGS)}; got "
            f"{lowering!r}.{did_you_mean(lowering, (AUTO, *LOWERINGS))}"
        )
    return lowering
