"""The tables, in the format of the other races."""

import re
from collections.abc import Mapping
from dataclasses import replace

from benchmarks.gpu.contenders import PRECISIONS, calls
from benchmarks.gpu.race import Settings, Table
from benchmarks.options import Options
from benchmarks.racing import as_result as race_result
from benchmarks.report import Result, columns


def as_result(table: Table, settings: Settings, device: str) -> Result:
    """A table, marked as partial while layers are missing."""
    base = "torch" if "torch" in columns(table.seconds) else "native"
    options = Options(dtype=table.dtype, base=base)
    made = race_result(table.seconds, train=table.train, options=options)
    missing = [name for name in settings.layers if name not in table.seconds]
    partial = f" (partial: {len(table.seconds)} of {len(settings.layers)} layers)"
    batches = {name: layer.batch for name, layer in settings.layers.items()}
    return replace(
        made,
        name=f"gpu-{slug(device)}-{made.name}",
        title=f"{made.title}, {device}{partial * bool(missing)}",
        note=f"{made.note} {_conditions(table, settings)}",
        table="\n\n".join([made.table, *_losses(table.lost)]),
        data={
            **made.data,
            "precision": settings.precision,
            "batches": batches,
            "missing": missing,
            "lost": table.lost,
        },
        chart=None,
    )


def slug(device: str) -> str:
    """A device's name as a part of a file's."""
    return re.sub("[^a-z0-9]+", "-", device.lower()).strip("-")


def _conditions(table: Table, settings: Settings) -> str:
    """How it was measured."""
    in_jax, in_torch = PRECISIONS[settings.precision]
    told = [
        "`native` is JAX's own form; `padded` pads the input between its elements and "
        "convolves, as Equinox does after 0.13.8."
    ]
    if table.dtype == "float32":
        told.append(
            f"Products are in JAX's precision {in_jax}, which is {in_torch} in PyTorch."
        )
    if calls() > 1:
        told.append(
            f"{calls()} calls are queued, then awaited, and a time is that of one of "
            "them; where a call takes less than its launch, it is that of the launch."
        )
    return " ".join(told)


def _losses(lost: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A list of the contenders that failed; nothing where none did."""
    lines = [
        f"- {layer}, {name}: {' '.join(why.split())}"
        for layer, reasons in lost.items()
        for name, why in reasons.items()
    ]
    return ["Without a time:", "\n".join(lines)] if lines else []
