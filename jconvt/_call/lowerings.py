"""`Lowerings`: a lowering for each of the three maps of a layer. Imports no JAX."""

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, fields
from typing import NamedTuple, Self

from jconvt._call.arguments import did_you_mean
from jconvt._call.problem import Map

AUTO = "auto"

PLAIN_LAX = "lhs_dilation"
"""The lowering that, named by the caller, is one convolution of lax in a trace too."""


@dataclass(frozen=True, slots=True, repr=False)
class Lowerings:
    """A lowering for each of the three maps of a layer, as ``lowering=`` takes it.

    An entry is ``"auto"`` or the name of a lowering, as `explain` lists them. Of a
    lowering that has variants the name may say which, after a slash and as `explain`
    writes it: ``"gather/features first"``. Without, it is the variant that is estimated
    to be the fastest on a CPU.

    Three more parts may follow, each after a slash. ``"4 images a piece, 8 blocks a
    piece along axis 1"`` (or one half of it) computes the layer in pieces, which limits
    temporary memory: a piece has at most so many images, and of one spatial axis so
    many blocks of `stride` outputs. ``"by group"`` computes each group as a layer
    without groups. ``"turned"`` is for an input gradient at stride 1: it is then
    computed as the output of the turned kernel. `tune` writes such entries.

    ``"auto"`` is the automatic choice for that map, the same as if all three entries
    were automatic. Derivatives of any order are made of the same three maps, and run by
    the same entries. The entry ``"lhs_dilation"`` runs that lowering inside jconvt's
    primitive; only the plain ``lowering="lhs_dilation"`` traces to lax's own
    convolution.

    A value is static and hashable, like a string.

    Attributes:
      forward: computes the output.
      input_gradient: the lowering whose transpose computes the input gradient.
      weight_gradient: the lowering whose transpose computes the weight gradient.

    Raises:
      TypeError: an entry is no string. (Names are checked by what takes `lowering`.)

    Example:
      >>> import jax.numpy as jnp, jconvt
      >>> mine = jconvt.Lowerings(forward="gather", weight_gradient="role_swapped")
      >>> x, w = jnp.ones((1, 2, 4, 4)), jnp.ones((2, 3, 2, 2))
      >>> jconvt.conv_transpose2d(x, w, stride=2, lowering=mine).shape
      (1, 3, 8, 8)
      >>> mine.to_json()
      {'forward': 'gather', 'input_gradient': 'auto', 'weight_gradient': 'role_swapped'}
      >>> jconvt.Lowerings.from_json(mine.to_json()) == mine
      True
    """

    _: KW_ONLY
    forward: str = "auto"
    input_gradient: str = "auto"
    weight_gradient: str = "auto"

    def __post_init__(self) -> None:
        for name, entry in asdict(self).items():
            if not isinstance(entry, str):
                raise TypeError(
                    f"Lowerings: `{name}` must be a string; got {entry!r} of type "
                    f"{type(entry).__name__}."
                )

    def __repr__(self) -> str:
        said = (f"{n}={entry!r}" for n, entry in asdict(self).items() if entry != AUTO)
        return f"jconvt.Lowerings({', '.join(said)})"

    def to_json(self) -> dict[str, str]:
        """The entries by name, for `json.dumps`.

        Returns:
          A dict of three strings.
        """
        return asdict(self)

    @classmethod
    def from_json(cls, entries: Mapping[str, str]) -> Self:
        """The value that `to_json` wrote.

        Args:
          entries: names of lowerings by map; a missing one is ``"auto"``.

        Returns:
          A `Lowerings` that equals the one that was written.

        Raises:
          TypeError: `entries` is no mapping, or an entry of it is no string.
          ValueError: a key is not the name of a map.
        """
        function, known = "Lowerings.from_json", [field.name for field in fields(cls)]
        if not isinstance(entries, Mapping):
            raise TypeError(
                f"{function}: `entries` must be a dict, such as json.loads gives; got "
                f"{entries!r} of type {type(entries).__name__}."
            )
        for name in entries:
            if name not in known:
                raise ValueError(
                    f"{function}: `entries` must have keys of {', '.join(known)}; got "
                    f"{name!r}.{did_you_mean(name, known)}"
                )
        return cls(**entries)


def entries_of(lowering: str | Lowerings) -> dict[Map, str]:
    """The entry for each map; a name is that of all three."""
    return {which: entry_of(lowering, which) for which in Map}


def entry_of(lowering: str | Lowerings, which: Map) -> str:
    """The entry for a map."""
    if isinstance(lowering, Lowerings):
        return getattr(lowering, field_of(which))
    return lowering


class Entry(NamedTuple):
    """The parts of an entry; ``str`` joins them again.

    Attributes:
      lowering: its name.
      variant: what `explain` calls the variant, or None where none is named.
      images: at most so many in a piece; 0: all of them.
      blocks: of `stride` outputs of one spatial axis in a piece; 0: all of them.
      axis: which spatial axis is cut.
      turned: whether the map is computed as the output of the turned kernel.
      by_group: whether each group is computed as a layer of its own.
    """

    lowering: str
    variant: str | None = None
    images: int = 0
    blocks: int = 0
    axis: int = 0
    turned: bool = False
    by_group: bool = False

    def __str__(self) -> str:
        cuts = [
            *([f"{self.images} images a piece"] if self.images else []),
            *([f"{self.blocks} blocks a piece"] if self.blocks else []),
        ]
        along = f" along axis {self.axis}" if self.axis else ""
        return "/".join(
            [
                self.lowering,
                *([self.variant] if self.variant is not None else []),
                *([", ".join(cuts) + along] if cuts else []),
                *([_BY_GROUP] if self.by_group else []),
                *([_TURNED] if self.turned else []),
            ]
        )


def divides(lowering: str | Lowerings) -> bool:
    """Whether stride and dilation are divided by their common divisor.

    Not for plain lax: its one convolution has the stride and dilation of the call.
    """
    return lowering != PLAIN_LAX


def read_entry(entry: str) -> Entry:
    """The parts of an entry. What is no other part is taken for a variant."""
    name, *parts = entry.split("/")
    turned = parts[-1:] == [_TURNED]
    parts = parts[:-1] if turned else parts
    by_group = parts[-1:] == [_BY_GROUP]
    parts = parts[:-1] if by_group else parts
    cuts = _CUTS.fullmatch(parts[-1]) if parts else None
    parts = parts[:-1] if cuts else parts
    images, blocks, axis = (int(n or 0) for n in cuts.groups()) if cuts else (0, 0, 0)
    variant = "/".join(parts) if parts else None
    return Entry(name, variant, images, blocks, axis, turned, by_group)


_TURNED = "turned"
_BY_GROUP = "by group"
_CUTS = re.compile(
    r"(?=\d)(?:([1-9]\d*) images a piece)?(?:(?:^|, )([1-9]\d*) blocks a piece"
    r"(?: along axis (\d+))?)?"
)


def field_of(which: Map) -> str:
    """The name of a map's entry in `Lowerings`."""
    return which.replace(" ", "_")
