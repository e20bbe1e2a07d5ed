"""`Lowerings`: a lowering for each of the three maps of a layer. Imports no JAX."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, fields
from typing import Self

from jconvt._call.arguments import did_you_mean
from jconvt._call.problem import Map

AUTO = "auto"


@dataclass(frozen=True, slots=True, repr=False)
class Lowerings:
    """A lowering for each of the three maps of a layer, as ``lowering=`` takes it.

    An entry is ``"auto"`` or the name of a lowering, as `explain` lists them. Of a
    lowering that has variants the name may say which, after a slash and as `explain`
    writes it: ``"gather/features first"``. Without, it is the variant that is estimated
    to be the fastest on a CPU.

    ``"auto"`` runs what is chosen for that map where all three are chosen. Derivatives
    of any order are made of the same three maps, and run by the same entries. (Only the
    name ``lowering="lhs_dilation"`` asks for a convolution of lax in the trace; as an
    entry, also as all three, it is the lowering of that map, like any other.)

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


def split_entry(entry: str) -> tuple[str, str | None]:
    """The name in an entry, and the variant's, or None where it names none."""
    name, slash, variant = entry.partition("/")
    return name, variant if slash else None


def field_of(which: Map) -> str:
    """The name of a map's entry in `Lowerings`."""
    return which.replace(" ", "_")
