"""What `tune` refuses, and when an earlier report is stale."""

import warnings
from typing import Any

import jax
import jax.core

from jconvt._tune.report import TuneReport


def usable(report: TuneReport | None, device_kind: str) -> TuneReport | None:
    """The report, or None with a warning where it is stale."""
    if report is None:
        return None
    here = (device_kind, jax.__version__)
    there = (report.device_kind, report.jax_version)
    if here == there:
        return report
    warnings.warn(
        f"tune: `report` is stale: it was measured on {there[0]} with jax {there[1]}, "
        f"and this is {here[0]} with jax {here[1]}. All is measured anew; save the new "
        "report in its place.",
        UserWarning,
        stacklevel=4,
    )
    return None


def check(
    function: object, seconds: object, derivatives: object, report: object
) -> None:
    """Raises the error of a wrong argument of `tune`."""
    if not callable(function):
        raise TypeError(
            f"tune: `function` must be callable; got {function!r} of type "
            f"{type(function).__name__}. Its arguments follow it: "
            "jconvt.tune(step, x, w)."
        )
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(
            f"tune: `seconds` must be a number; got {seconds!r} of type "
            f"{type(seconds).__name__}."
        )
    if not seconds > 0:
        raise ValueError(f"tune: `seconds` must be more than 0; got {seconds!r}.")
    if not isinstance(derivatives, bool):
        raise TypeError(f"tune: `derivatives` must be a bool; got {derivatives!r}.")
    if not isinstance(report, TuneReport | None):
        raise TypeError(
            f"tune: `report` must be a jconvt.TuneReport or None; got {report!r} of "
            f"type {type(report).__name__}. TuneReport.load reads a file."
        )


def check_arrays(arrays: tuple[Any, ...]) -> None:
    """Raises the error of traced arrays, which cannot be measured."""
    if any(isinstance(a, jax.core.Tracer) for a in arrays):
        raise ValueError(
            "tune: `arguments` must be arrays, since they are measured; got traced "
            "ones. Call tune outside of jax.jit, jax.grad and jax.vmap."
        )
