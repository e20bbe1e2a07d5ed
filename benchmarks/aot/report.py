"""A batch of readings as a table to print and to commit."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.aot import gpu_tables, tpu_tables
from benchmarks.aot.bench import Batch
from benchmarks.aot.options import Options
from benchmarks.aot.reading import Reading
from benchmarks.aot.targets import TARGETS
from benchmarks.environment import environment
from benchmarks.layers import zoo

_TABLES = {"gpu": gpu_tables, "tpu": tpu_tables}

_HERE = ("device", "processor", "cores")
"""What a result says of the machine it was measured on; here nothing runs."""


@dataclass(frozen=True, kw_only=True)
class Result(report.Result):
    """A result that was compiled, not measured.

    Attributes:
      facts: name -> value, of the versions it was compiled with.
    """

    facts: dict[str, str]

    def text(self) -> str:
        """The Markdown file, which ends with what was compiled with what."""
        listed = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        foot = f"Compiled, not run, with: {listed}."
        return f"# {self.title}\n\n{self.note}\n\n{self.table}\n\n{foot}\n"


def as_result(batch: Batch, options: Options) -> Result:
    """The tables of a batch."""
    target, kind = batch.target, _TABLES[options.target]
    suffix = "" if batch.layout == "first" else f"-{batch.layout}"
    here = {k: v for k, v in environment().items() if k not in _HERE}
    facts = {"target": target.title, **here, **target.versions()}
    parts = list(kind.tables(batch))
    if batch.failures:
        listed = (f"- {name}: {why}" for name, why in batch.failures.items())
        parts += ["## Not compiled", "\n".join(listed)]
    return Result(
        name=f"aot-{options.target}-{batch.dtype}{suffix}",
        title=f"Compiled for {target.title}: {batch.dtype}, channels {batch.layout}",
        note=kind.NOTE,
        table="\n\n".join(parts),
        facts=facts,
        data={
            "environment": facts,
            "target": options.target,
            "dtype": batch.dtype,
            "layout": batch.layout,
            "choices": batch.choices,
            "failures": batch.failures,
            "readings": {
                map_name: {
                    row: {form: _data(asdict(r)) for form, r in readings.items()}
                    for row, readings in rows.items()
                }
                for map_name, rows in batch.readings.items()
            },
        },
    )


def read_result(file: Path) -> Batch:
    """The batch that a result's JSON holds."""
    data = json.loads(file.read_text())
    return Batch(
        target=TARGETS[data["target"]],
        dtype=data["dtype"],
        layout=data["layout"],
        layers={layer.name: layer for layer in zoo() if layer.name in data["choices"]},
        readings={
            map_name: {
                row: {form: _reading(values) for form, values in readings.items()}
                for row, readings in rows.items()
            }
            for map_name, rows in data["readings"].items()
        },
        choices=data["choices"],
        failures=data["failures"],
    )


def _data(reading: dict[str, object]) -> dict[str, object]:
    """Without what is zero, which is most."""
    return {name: value for name, value in reading.items() if value}


def _reading(values: dict[str, Any]) -> Reading:
    """With what is zero."""
    zeros: dict[str, Any] = {field.name: 0 for field in fields(Reading)}
    return Reading(**zeros | {"calls": {}} | values)
