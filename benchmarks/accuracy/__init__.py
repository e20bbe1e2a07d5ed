"""Rounding errors: each lowering, map and dtype beside the native form and PyTorch.

The unit of an element of the result is u*S: S is the sum of the absolute values of the
products that make it, u half the distance from 1 to the next number of the result's
dtype. It is the error that rounding a sum of that size once may make, so that an exact
sum that is rounded once has at most 1, and n products summed in the result's dtype in
any order have at most about n. It does not grow where products cancel. Below the
smallest normal number the unit is that of the smallest normal number: a machine may
take what is smaller for zero.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy.exact import MAPS
from benchmarks.accuracy.inputs import KINDS
from benchmarks.accuracy.measuring import (
    TYPES,
    Errors,
    contenders,
    errors_of_layer,
    layers,
)
from benchmarks.options import Options
from benchmarks.progress import track
from benchmarks.report import Result, markdown

Found = Mapping[tuple[str, str, str], Mapping[str, Errors]]
"""(layer, map, data) -> contender -> errors."""


def results(options: Options) -> Iterator[Result]:
    """Two tables for each dtype."""
    for name, types in TYPES.items():
        if options.wants(name):
            wanted = options.contenders or contenders()
            found = {
                (layer.name, *case): errors
                for _, layer in track(name, layers())
                for case, errors in errors_of_layer(layer, types, wanted).items()
            }
            yield _result(name, found)


@dataclass(frozen=True)
class Row:
    """A line of a table: one map of one kind of data, over all layers."""

    map: str
    kind: str

    def worst(self, found: Found, name: str) -> Errors | None:
        """The largest errors of any layer, and the mean square over all."""
        parts = [
            errors[name]
            for (_, map_, kind), errors in found.items()
            if (map_, kind) == (self.map, self.kind) and name in errors
        ]
        return Errors.of_all(parts) if parts else None

    def ratio(self, found: Found, name: str) -> float | None:
        """The largest ratio, in any layer, of the maximum over the native form's."""
        parts = [
            errors[name].absolute / errors["native"].absolute
            for (_, map_, kind), errors in found.items()
            if (map_, kind) == (self.map, self.kind)
            and name in errors
            and errors.get("native", Errors.NONE).absolute > 0
        ]
        return max(parts) if parts else None


def _result(name: str, found: Found) -> Result:
    names = list(dict.fromkeys(n for errors in found.values() for n in errors))
    rows = [
        row
        for row in (Row(map_, kind) for map_ in MAPS for kind in KINDS)
        if any(row.worst(found, n) for n in names)
    ]
    errors = [
        [f"{row.map}, {row.kind}", *(_cell(row.worst(found, n)) for n in names)]
        for row in rows
    ]
    others = [n for n in names if n != "native"]
    over = [
        [f"{row.map}, {row.kind}", *(_number(row.ratio(found, n)) for n in others)]
        for row in rows
    ]
    kinds = "\n".join(
        f"- *{kind}*: {' '.join(str(made.__doc__).split())}"
        for kind, made in KINDS.items()
    )
    note = (
        f"{__doc__.partition(chr(10))[2].strip()}\n\nCells: maximum (root mean square) "
        f"over {len(layers())} small layers of all kinds, whose data are\n\n{kinds}"
    )
    tables = [
        markdown(["", *names], errors),
        "The maximum error of an array, over the native form's of the same array; the "
        "highest of all layers:",
        markdown(["", *others], over),
    ]
    return Result(
        name=f"accuracy-{name.replace(' ', '-')}",
        title=f"Rounding errors, {name}",
        note=note,
        table="\n\n".join(tables),
        data={
            "maximum, root mean square and absolute maximum": {
                ", ".join(case): {
                    n: f"{e.maximum:.3g} {e.rms:.3g} {e.absolute:.3g}"
                    for n, e in errors.items()
                }
                for case, errors in found.items()
            }
        },
    )


def _cell(errors: Errors | None) -> str:
    if errors is None:
        return ""
    return f"{_number(errors.maximum)} ({_number(errors.rms)})"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value == 0 or not np.isfinite(value):
        return f"{value:.0f}"
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"
