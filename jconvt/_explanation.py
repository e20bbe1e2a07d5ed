"""What `explain` says, as data and as text."""

from dataclasses import dataclass

from jconvt._call.geometry import Size


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one lowering does for one of the three maps.

    Attributes:
      slot: "forward", "input gradient" or "weight gradient". A gradient is made by
        transposing the lowering.
      variant: what it does with its freedom: the order of the features, the grid of
        its blocks, the order of the weight. Empty where it has none.
      pieces: in what pieces it is computed, one after the other; a block is `stride`
        outputs of the first spatial axis. Empty: as a whole.
      multiply_adds: executed, useful or not.
      bytes: read and written, each time that an array passes.
      milliseconds: what the model of `jconvt._choice.cost` says for a CPU of two cores;
        a relative measure, not a promise. None on other platforms.
      picked: whether it is chosen.
    """

    slot: str
    variant: str
    pieces: str
    multiply_adds: int
    bytes: int
    milliseconds: float | None
    picked: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """One lowering before the choice.

    Attributes:
      lowering: its name, as ``lowering=`` takes it.
      summary: what it does, in a line.
      refusal: why it cannot serve here; None where it can.
      picked_for: the maps it was chosen for, of "forward", "input gradient" and
        "weight gradient".
      estimates: one for each map, with the variant that is best there; none where the
        lowering cannot serve or a size is zero.
    """

    lowering: str
    summary: str
    refusal: str | None
    picked_for: tuple[str, ...]
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a call runs on a platform. ``str()`` of it is a table to read.

    Attributes:
      input_shape: of the call.
      weight_shape: of the call.
      output_shape: of the result.
      dtype: to which the operands promote.
      platform: "cpu", "cuda", "rocm" or "tpu".
      forward: the lowering that computes the output.
      input_gradient: the lowering whose transpose computes the input gradient.
      weight_gradient: the lowering whose transpose computes the weight gradient.
      reason: why these.
      useful_multiply_adds: products of an input element and a tap that reach an
        output element, for each of the three maps; None with symbolic sizes.
      candidates: every lowering of the table.
    """

    input_shape: tuple[Size, ...]
    weight_shape: tuple[Size, ...]
    output_shape: tuple[Size, ...]
    dtype: str
    platform: str
    forward: str
    input_gradient: str
    weight_gradient: str
    reason: str
    useful_multiply_adds: int | None
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        work = self.useful_multiply_adds
        lines = [
            f"{self.input_shape} with weight {self.weight_shape} -> "
            f"{self.output_shape}, {self.dtype} on {self.platform}",
            f"useful multiply-adds: {'symbolic' if work is None else f'{work:,}'}",
            f"chosen: {self.reason}",
        ]
        width = max(len(c.lowering) for c in self.candidates)
        for c in self.candidates:
            lines += ["", f"{c.lowering:{width}}  {c.summary}"]
            if c.refusal is not None:
                lines.append(f"{'':{width}}  cannot serve: {c.refusal}")
            lines += [f"{_mark(e):>{width}}  {_line(e)}" for e in c.estimates]
        return "\n".join(lines)


def _mark(estimate: Estimate) -> str:
    return "->" if estimate.picked else ""


def _line(e: Estimate) -> str:
    time = "" if e.milliseconds is None else f"  {e.milliseconds:9.3f} ms"
    freedom = "; ".join(filter(None, (e.variant, e.pieces)))
    amounts = f"{e.multiply_adds:>15,} multiply-adds  {e.bytes / 2**20:9.2f} MiB moved"
    return f"{e.slot:15}{amounts}{time}  {freedom}".rstrip()
