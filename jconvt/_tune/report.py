"""`TuneReport`: what `tune` measured and picked, as data, as text and as a file."""

import json
import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from jconvt._call.lowerings import AUTO, Lowerings, field_of
from jconvt._call.problem import Map
from jconvt._shell.tables import Table, plain, rich_table


@dataclass(frozen=True, slots=True)
class TunedMap:
    """One map of one layer: what was measured, and what the tuned function runs.

    Attributes:
      layer: shapes, options and dtype of the layer; two layers never read alike.
      map: "forward", "input gradient" or "weight gradient".
      count: how often it runs in the function; 0 if only derivatives of it run it.
      automatic: what the automatic choice runs, as an entry of `Lowerings`.
      fastest: the entry that was measured to be the fastest.
      automatic_seconds: median seconds of the automatic choice; None: it was not timed.
      fastest_seconds: median seconds of the fastest.
      runs: what the tuned function runs: "auto" or an entry. It is "auto" unless the
        fastest is at least 3 % faster, also where more of a program is measured.
      tried: how many candidates were timed beside the automatic choice.
      candidates: how many there are; time lasted for those that were tried.
    """

    _: KW_ONLY
    layer: str
    map: str
    count: int
    automatic: str
    fastest: str
    automatic_seconds: float | None
    fastest_seconds: float | None
    runs: str
    tried: int
    candidates: int


@dataclass(frozen=True, slots=True)
class TuneReport:
    """What `tune` measured and picked: `print` it, or keep it in a file.

    Attributes:
      device_kind: on which kind of device it was measured, as JAX calls it.
      jax_version: with which version of JAX.
      maps: a `TunedMap` for each map of each layer.
      automatic_seconds: of the whole function untuned; None: it was not timed.
      tuned_seconds: of the whole function tuned.
      spent_seconds: how long measuring lasted.
      notes: what was left out, and why.
    """

    _: KW_ONLY
    device_kind: str
    jax_version: str
    maps: tuple[TunedMap, ...] = ()
    automatic_seconds: float | None = None
    tuned_seconds: float | None = None
    spent_seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def lowerings(self) -> dict[str, Lowerings]:
        """The picks of each layer, as `lowering=` takes them.

        Returns:
          A dict from `TunedMap.layer` to a `Lowerings`.
        """
        entries: dict[str, dict[str, str]] = {}
        for row in self.maps:
            entries.setdefault(row.layer, {})[field_of(Map(row.map))] = row.runs
        return {layer: Lowerings(**found) for layer, found in entries.items()}

    def to_json(self) -> dict[str, Any]:
        """All of it, for `json.dumps`.

        Returns:
          A dict of strings, numbers, lists and dicts.
        """
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, report: Mapping[str, Any]) -> Self:
        """The report that `to_json` wrote.

        Args:
          report: what `to_json` returned.

        Returns:
          A `TuneReport` that equals the one that was written.

        Raises:
          TypeError: `report` is no mapping.
          ValueError: it is not what `to_json` writes.
        """
        function = "TuneReport.from_json"
        found = _checked(function, cls, report)
        maps = tuple(
            TunedMap(**_checked(function, TunedMap, row)) for row in found["maps"]
        )
        return cls(**found | {"maps": maps, "notes": tuple(found["notes"])})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report into a file of JSON.

        Args:
          path: of the file, which is replaced if it exists.
        """
        Path(path).write_text(json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The report in a file that `save` wrote.

        Args:
          path: of the file.

        Returns:
          A `TuneReport` that equals the one that was saved.

        Raises:
          OSError: the file cannot be read.
          ValueError: it is no report.
        """
        try:
            report = json.loads(Path(path).read_text())
        except ValueError as error:
            raise ValueError(
                f"TuneReport.load: `path` must be a file that TuneReport.save wrote; "
                f"got {str(path)!r}, which is no JSON ({error})."
            ) from None
        return cls.from_json(report)

    def __str__(self) -> str:
        return "\n\n".join(
            b if isinstance(b, str) else plain(b) for b in blocks_of(self)
        )

    def __rich__(self) -> Any:
        """What Rich prints."""
        from rich.console import Group
        from rich.text import Text

        return Group(
            *(
                Text(f"{block}\n") if isinstance(block, str) else rich_table(block)
                for block in blocks_of(self)
            )
        )


def blocks_of(report: TuneReport) -> list[str | Table]:
    """A report as paragraphs and tables."""
    head = f"measured on {report.device_kind} with jax {report.jax_version}"
    if not report.maps:
        return [head, "no layer with an automatic lowering was found", *report.notes]
    layers = list(dict.fromkeys(row.layer for row in report.maps))
    names = [f"layer {n}: {layer}" for n, layer in enumerate(layers, 1)]
    table = Table(
        headings=_HEADINGS,
        rows=tuple(_row(layers.index(row.layer) + 1, row) for row in report.maps),
        words=frozenset({"map", "automatic", "fastest", "runs"}),
        wraps=frozenset({"automatic", "fastest"}),
        picked=frozenset(i for i, m in enumerate(report.maps) if m.runs != AUTO),
    )
    return [head, "\n".join(names), table, _whole(report), *report.notes]


def _whole(report: TuneReport) -> str:
    before, after = report.automatic_seconds, report.tuned_seconds
    if before is None or after is None:
        if all(row.runs == AUTO for row in report.maps):
            return "every layer keeps its automatic lowering"
        return "the whole function was not timed"
    return (
        f"the whole function: {_ms(before)} ms automatic, {_ms(after)} ms tuned "
        f"({_gain(before, after)} less)"
    )


_HEADINGS = (
    *("layer", "map", "automatic", "ms", "fastest", "ms ", "less"),
    *("tried", "runs"),
)


def _row(number: int, found: TunedMap) -> tuple[str, ...]:
    before, after = found.automatic_seconds, found.fastest_seconds
    return (
        str(number),
        found.map,
        found.automatic,
        _ms(before),
        "the same" if found.fastest == found.automatic else found.fastest,
        _ms(after),
        _gain(before, after),
        f"{found.tried}/{found.candidates}",
        "the fastest" if found.runs == found.fastest else found.runs,
    )


def _gain(before: float | None, after: float | None) -> str:
    return "" if not before or after is None else f"{1 - after / before:.0%}"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e3 * seconds:.3f}"


def _checked(function: str, cls: Any, given: object) -> dict[str, Any]:
    """The attributes of a record, or the error."""
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{function}: `report` must be a dict, such as to_json gives; got "
            f"{given!r} of type {type(given).__name__}."
        )
    known = {f.name for f in fields(cls)}
    if set(given) != known:
        wrong = sorted(map(str, known.symmetric_difference(given)))
        raise ValueError(
            f"{function}: `report` must have the keys that to_json writes; missing or "
            f"unknown: {', '.join(wrong)}. Measure again with jconvt.tune."
        )
    return dict(given)
