"""Counts from a compiled program: library calls, zeros, estimates, memory."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.aot.hlo import Instruction, instructions

GEMM, CONVOLUTION = "gemm", "convolution"
MEBIBYTE = 2**20

_CUDNN = re.compile(r'custom_call_target="__cudnn\$(\w+)"')
_CUBLAS = re.compile(r'custom_call_target="__cublas\$')
_PADDING = re.compile(r", padding=([\dx_-]+)")
_LHS_DILATE = re.compile(r"\blhs_dilate=([\dx]+)")
_FREE = {
    "after-all", "bitcast", "constant", "copy-done", "copy-start", "custom-call",
    "get-tuple-element", "parameter", "slice-done", "slice-start", "tuple", "while",
}  # fmt: skip
"""Opcodes without an estimate because they keep no core busy: names (custom calls too:
`AllocateBuffer`, `ConcatBitcast`) and copies beside other work; and loops, which are
counted by themselves."""

_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A program in numbers; a call inside a loop counts once.

    Attributes:
      calls: kind -> number: cuDNN's convolutions as XLA names them, `GEMM` (of cuBLAS,
        or a dot that XLA compiles itself), `CONVOLUTION` (XLA's own; on a TPU, which
        has no other, dots too).
      inflated_bytes: what pads with zeros *between* elements write.
      dilated: convolutions with zeros between the elements of their input, which the
        hardware may or may not skip.
      loops: of whatever kind.
      cycles: a TPU compiler's estimate for the instructions of the entry computation,
        summed; zero where the compiler makes none. Loops are not in it.
      copy_cycles: those of them for changes of layout alone.
      unestimated_bytes: what is written by instructions that such a compiler gives no
        estimate, like reshapes that move data; with the padding of its tiles.
      temporary_bytes: beside arguments and results; without cuDNN's workspaces.
    """

    calls: Mapping[str, int]
    inflated_bytes: int
    dilated: int
    loops: int
    cycles: int
    copy_cycles: int
    unestimated_bytes: int
    temporary_bytes: int


def read(text: str, temporary_bytes: int) -> Reading:
    """The reading of a program that XLA prints as `text`."""
    found = list(instructions(text))
    entry = [i for i in found if i.in_entry]
    cycles = _cycles(entry)
    return Reading(
        calls=_calls(found),
        inflated_bytes=sum(i.bytes for i in found if _inflates(i)),
        dilated=sum(map(_is_dilated, found)),
        loops=sum(i.opcode == "while" for i in found),
        cycles=cycles,
        copy_cycles=_cycles(i for i in entry if i.opcode == "copy"),
        unestimated_bytes=_unestimated(entry) if cycles else 0,
        temporary_bytes=temporary_bytes,
    )


def _calls(found: Iterable[Instruction]) -> dict[str, int]:
    kinds = (_kind(i) for i in found)
    return dict(sorted(Counter(kind for kind in kinds if kind).items()))


def _kind(instruction: Instruction) -> str | None:
    if instruction.opcode == "dot" or _CUBLAS.search(instruction.rest):
        return GEMM
    if instruction.opcode == "convolution":
        return CONVOLUTION
    cudnn = _CUDNN.search(instruction.rest)
    return cudnn[1] if cudnn else None


def _inflates(instruction: Instruction) -> bool:
    """Whether it is a pad, ``low_high`` or ``low_high_interior`` by axis, with one."""
    padding = _PADDING.search(instruction.rest)
    if instruction.opcode != "pad" or padding is None:
        return False
    axes = (axis.split("_") for axis in padding[1].split("x"))
    return any(int(interior) > 0 for axis in axes for interior in axis[2:])


def _is_dilated(instruction: Instruction) -> bool:
    dilate = _LHS_DILATE.search(instruction.rest)
    return dilate is not None and set(dilate[1].split("x")) != {"1"}


def _cycles(found: Iterable[Instruction]) -> int:
    numbers = (_CYCLES.search(i.rest) for i in found)
    return sum(int(number[1]) for number in numbers if number)


def _unestimated(found: Iterable[Instruction]) -> int:
    working = (i for i in found if i.opcode not in _FREE)
    return sum(i.stored_bytes for i in working if not _CYCLES.search(i.rest))


BYTES_A_CYCLE = 819e9 / 1.5e9
"""Of a TPU v5e's memory, at 1.5 GHz: 197e12 operations a second are what four units of
128 x 128 multiply-adds do at that rate. Both figures are Google's."""


def cycles_of(cycles: int, unestimated_bytes: int) -> float:
    """A TPU's program in cycles: the estimate, and what moves without an estimate.

    Such bytes are read and written once in the device's memory.
    """
    return cycles + 2 * unestimated_bytes / BYTES_A_CYCLE
