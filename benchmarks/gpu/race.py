"""The race: every layer in every mode and dtype, until its time is over."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.layers import Layer
from benchmarks.options import MODES
from benchmarks.progress import track

Task = dict[str, Any]
Outcome = Mapping[str, Mapping[str, Any]]
"""The seconds of each contender, and why others were lost."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is raced.

    Attributes:
      layers: in their order.
      modes: False for the forward pass, True for forward and all gradients.
      dtypes: of all arrays.
      precision: of products in float32, a key of `contenders.PRECISIONS`.
      seconds: for all of it.
    """

    layers: Mapping[str, Layer]
    modes: Sequence[bool] = tuple(MODES)
    dtypes: Sequence[str] = ("float32", "bfloat16")
    precision: str = "highest"
    seconds: float = 540.0


@dataclass(kw_only=True)
class Table:
    """The times of one mode and dtype, as far as they are known.

    Attributes:
      train: the mode.
      dtype: of all arrays.
      seconds: layer -> contender -> time of a call.
      lost: layer -> contender -> why it has no time.
    """

    train: bool
    dtype: str
    seconds: dict[str, Mapping[str, float]] = field(default_factory=dict)
    lost: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def add(self, layer: str, outcome: Outcome) -> None:
        """Keep what came of a layer."""
        self.seconds[layer] = outcome["seconds"]
        if outcome["lost"]:
            self.lost[layer] = outcome["lost"]


def tables(
    settings: Settings, race: Callable[[Task], Outcome]
) -> Iterator[Sequence[Table]]:
    """All tables after each layer; the last ones when the time is over.

    `race` gets a layer as a task, and the seconds that are left.
    """
    end = time.monotonic() + settings.seconds
    found = [
        Table(train=train, dtype=dtype)
        for dtype in settings.dtypes
        for train in settings.modes
    ]
    for name, layer in track("layer", settings.layers):
        for table in found:
            outcome = race(_task(layer, table, settings, end - time.monotonic()))
            over = time.monotonic() > end
            if not over or not outcome["lost"]:  # else the time may have lost them
                table.add(name, outcome)
            if over:
                yield found
                return
        yield found


def _task(layer: Layer, table: Table, settings: Settings, left: float) -> Task:
    return {
        "layer": asdict(layer),
        "train": table.train,
        "dtype": table.dtype,
        "precision": settings.precision,
        "budget": left,
    }
