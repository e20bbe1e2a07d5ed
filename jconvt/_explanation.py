"""What `explain` says, as data and as text."""

from dataclasses import dataclass

from jconvt._call.geometry import Size


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of one lowering for one of the three maps.

    Attributes:
      slot: "forward", "input gradient" or "weight gradient". A gradient is computed by
        transposing the lowering.
      variant: the layout or block size that the lowering would use. Empty where it has
        only one way.
      pieces: the pieces that are computed one after the other; a block is `stride`
        outputs of the spatial axis that is cut. "by group": each group is computed as
        a layer without groups. Empty: all at once.
      multiply_adds: all that are executed, including those with zeros.
      bytes: read and written, counted each time an array is read or written.
      milliseconds: the estimate of `jconvt._choice.cost` for a CPU of two cores, good
        for comparing only. None on other platforms.
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
      summary: one line on what it does.
      refusal: why it cannot serve here; None where it can.
      picked_for: the maps it was chosen for, of "forward", "input gradient" and
        "weight gradient".
      estimates: one for each map, in the variant that is best for it; none where the
        lowering cannot serve or a size is zero.
    """

    lowering: str
    summary: str
    refusal: str | None
    picked_for: tuple[str, ...]
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The lowerings that a call runs on a platform. ``str()`` makes a table of it.

    Attributes:
      input_shape: shape of the input.
      weight_shape: shape of the weight.
      output_shape: shape of the output.
      dtype: to which the operands promote.
      platform: "cpu", "cuda", "rocm" or "tpu".
      forward: the lowering that computes the output.
      input_gradient: the lowering whose transpose computes the input gradient.
      weight_gradient: the lowering whose transpose computes the weight gradient.
      reason: why these are chosen.
      useful_multiply_adds: products of an input element and a tap that are not cropped,
        the same number for each of the three maps; None with symbolic sizes.
      candidates: every lowering, also those that cannot serve.
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
