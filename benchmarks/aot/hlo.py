"""The instructions of a compiled program, parsed from the text that XLA prints."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

# `  ROOT %name = f32[2,3]{1,0} opcode(operands), attribute=..., ...`; the type may be a
# tuple, and a TPU's tilings have parentheses too, but no space before a word and "(".
_INSTRUCTION = re.compile(
    r"  (?:ROOT )?%?[\w.-]+ = (?P<type>\S.*?) (?P<opcode>[a-z][a-z0-9-]*)\((?P<rest>.*)"
)
_ARRAY = re.compile(
    r"(?P<dtype>[a-z]+(?P<bits>\d+)[a-z0-9]*)\[(?P<sizes>[\d,]*)\]"
    r"(?:\{(?P<order>[\d,]*)(?::T\((?P<tile>[\d,]+)\))?)?"
)


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One line of a computation.

    Attributes:
      opcode: what it does.
      type: of its result, with the layout.
      rest: operands, attributes, metadata and the backend's configuration.
      in_entry: whether it stands in the computation that runs first, and not in the
        body of a fusion or loop.
    """

    opcode: str
    type: str
    rest: str
    in_entry: bool

    @property
    def bytes(self) -> int:
        """Of its result, or the first one of a tuple."""
        array = _ARRAY.search(self.type)
        return 0 if array is None else _bytes(array, _sizes(array["sizes"]))

    @property
    def stored_bytes(self) -> int:
        """The same with the padding of a TPU's tiles.

        A layout such as ``{1,0:T(8,128)}`` names the axes from the innermost on; the
        last sizes of a tile are those of the innermost axes.
        """
        array = _ARRAY.search(self.type)
        if array is None:
            return 0
        sizes = _sizes(array["sizes"])
        inner = [sizes[axis] for axis in _sizes(array["order"])]
        for at, n in enumerate(reversed(_sizes(array["tile"]))):
            if at < len(inner):
                inner[at] = -(-inner[at] // n) * n
        return _bytes(array, inner or sizes)


def _sizes(text: str | None) -> list[int]:
    return [int(n) for n in (text or "").split(",") if n]


def _bytes(array: re.Match[str], sizes: list[int]) -> int:
    return int(array["bits"]) // 8 * math.prod(sizes)


def instructions(text: str) -> Iterator[Instruction]:
    """All instructions of all computations, in the order of the text."""
    in_entry = False
    for line in text.splitlines():
        if not line.startswith(" "):
            in_entry = line.startswith("ENTRY ")
        elif found := _INSTRUCTION.fullmatch(line):
            yield Instruction(
                opcode=found["opcode"],
                type=found["type"],
                rest=found["rest"],
                in_entry=in_entry,
            )
