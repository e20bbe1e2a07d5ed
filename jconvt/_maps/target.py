"""What a program is lowered for."""

from typing import NamedTuple


class Target(NamedTuple):
    """A kind of device, and how many of them.

    Attributes:
      platform: ``"cpu"``, ``"cuda"``, ``"tpu"``, or another name for any.
      devices: among how many devices JAX may divide the program.
    """

    platform: str
    devices: int = 1
