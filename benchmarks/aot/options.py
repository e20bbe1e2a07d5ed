"""The options of the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.aot.forms import FORMS
from benchmarks.aot.maps import MAPS
from benchmarks.layers import zoo


@dataclass(frozen=True, kw_only=True)
class Options:
    """The choices, all by name.

    Attributes:
      target: the device to compile for.
      rows: layers.
      maps: what is computed of each.
      forms: how it is written.
      dtypes: of all arrays.
      layouts: of the images.
      kept: the file of all readings made so far.
      only_kept: whether nothing is compiled.
    """

    target: str
    rows: Sequence[str]
    maps: Sequence[str] = tuple(MAPS)
    forms: Sequence[str] = FORMS
    dtypes: Sequence[str] = ("float32", "bfloat16")
    layouts: Sequence[str] = ("first",)
    kept: Path = Path("build/aot.jsonl")
    only_kept: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing is left out, so that the result may replace the last one."""
        every = (len(zoo()), len(MAPS), len(FORMS))
        return (len(self.rows), len(self.maps), len(self.forms)) == every
