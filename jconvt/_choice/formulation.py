"""`Formulation`: how one map is computed, as the choice decides it. No jax import."""

from typing import NamedTuple

from jconvt._choice.pieces import WHOLE, Pieces
from jconvt._lowerings.work import PLAIN, Variant


class Formulation(NamedTuple):
    """A complete decision: `jconvt._maps.make` carries it out as it stands.

    Attributes:
      lowering: its name in `jconvt._lowerings.table`.
      variant: what the lowering does where it has a freedom.
      pieces: into which pieces the arrays are cut, to be computed one after the other.
      turned: whether an input gradient is computed as the output of the turned kernel
        (`jconvt._choice.turned`); the other attributes are then about that output.
      by_group: whether each group is computed as a layer of its own
        (`jconvt._choice.by_group`); `lowering`, `variant` and `pieces` are then about
        that layer.
    """

    lowering: str
    variant: Variant = PLAIN
    pieces: Pieces = WHOLE
    turned: bool = False
    by_group: bool = False
