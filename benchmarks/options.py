"""The options of a table."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """The choices for a table.

    Attributes:
      rows: names of rows; none for all.
      contenders: names of contenders; none for all.
      lowerings: whether jconvt's lowerings race too.
      modes: False for the forward pass, True for forward and all gradients.
      dtype: of all arrays.
      base: the contender whose time is 1.
      seconds: to spend on each row, at least; None for what suits the table.
      rounds: turns of each contender in a race, at least.
    """

    rows: Sequence[str] = ()
    contenders: Sequence[str] = ()
    lowerings: bool = False
    modes: Sequence[bool] = (False, True)
    dtype: str = "float32"
    base: str = "torch"
    seconds: float | None = None
    rounds: int = 5

    def wants(self, row: str) -> bool:
        """Whether `row` was chosen."""
        return not self.rows or row in self.rows

    @property
    def whole(self) -> bool:
        """Whether nothing is left out, so that the result may replace the last one."""
        return not self.rows and not self.contenders


MODES = {False: "forward", True: "train"}
"""The name of a mode in file names and on the command line."""

TITLES = {False: "Forward", True: "Forward and all gradients"}
