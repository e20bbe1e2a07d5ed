"""A network in some framework: the functions that are timed and compared."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jconvt._shell.timing import Run

RATE = 1e-3
"""Of SGD: small enough for hundreds of steps."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """A network with its weights and inputs.

    Attributes:
      forward: runs the network.
      step: a training step: the loss, all gradients, and an update of the parameters.
      output: of the network, channels first.
      gradients: of the loss, by all parameters in their order, in PyTorch's layouts.
    """

    forward: Run
    step: Run
    output: Callable[[], np.ndarray]
    gradients: Callable[[], list[np.ndarray]]
