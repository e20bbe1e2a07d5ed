"""The geometry of a transposed convolution: integers per axis, and all sizes from them.

Scatter view, per axis, with ``n`` input elements, ``k`` taps, stride ``s`` and
dilation ``d``::

    input element i adds w[t] * x[i] at position i*s + t*d of the full output
    extent   e       = d*(k - 1) + 1
    full     full(n) = (n - 1)*s + e
    output   out(n)  = full(n) - low - high        (low, high) = crop

The adjoint of zero-padding is cropping, so the crop is the padding of the forward
convolution whose adjoint this is (Dumoulin and Visin, arXiv:1603.07285, section 4). A
negative crop appends positions that no input element reaches. The geometry holds no
input size, so it serves symbolic sizes too.

Phases. Let output element ``o = s*q + r`` with ``0 <= r < s``. It stands at full
position ``o + low = s*(q + shift) + rho`` with ``shift, rho = divmod(r + low, s)``, and
is reached by the pairs (i, t) with ``s*i + d*t = s*(q + shift) + rho``. With
``g = gcd(s, d)`` there are such taps only if g divides rho. Then::

    t = t0 + m*(s/g)                                 m = 0, 1, ...
    i = q + shift - (d*t0 - rho)/s - m*(d/g)

a stride-1 convolution of the *undilated* input whose taps lie d/g apart. The number
of blocks q is ``ceil(out(n)/s)``, that is n plus a constant.

Common divisors. All pairs (i, t) reach full positions that g divides. So the output is
that of stride s/g and dilation d/g, with g - 1 zeros between its neighbouring elements.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

Size = Any
"""An int, or a symbolic dimension of `jax.export` (this file imports no JAX)."""


class Phase(NamedTuple):
    """The stride-1 convolution that makes the outputs ``s*q + residue`` of one axis."""

    first_tap: int
    tap_step: int
    taps: int
    """Taps ``first_tap + m*tap_step``, ``0 <= m < taps``; none: only bias."""
    dilation: int
    """Input elements between neighbouring taps."""
    pad: tuple[int, int]
    """Zeros around the input, in input elements, that give one output per block."""


_NO_TAPS = Phase(0, 1, 0, 1, (0, 0))


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis: kernel_size, stride, dilation and crop in output elements."""

    kernel_size: int
    stride: int
    dilation: int
    low: int
    high: int

    @property
    def extent(self) -> int:
        """Output positions from the first tap to the last, both counted."""
        return self.dilation * (self.kernel_size - 1) + 1

    def output_size(self, n: Size) -> Size:
        """Output elements for `n` input elements (may be negative: then an error)."""
        return (n - 1) * self.stride + self.extent - self.low - self.high

    @property
    def extra_blocks(self) -> int:
        """``ceil(out(n)/stride) - n``, the same for every n."""
        surplus = self.extent - self.stride - self.low - self.high
        return -(-surplus // self.stride)

    def trim(self, *, divide: bool = True) -> "Trim":
        """The same outputs with both crops between 0 and extent - 1.

        An element is wholly cropped where its last position i*stride + extent - 1 is
        below `low`, and so from the other end. Such elements are dropped. A negative
        crop becomes zeros appended to the output. With `divide`, stride and dilation
        are divided by their greatest common divisor.
        """
        apart = math.gcd(self.stride, self.dilation) if divide else 1
        (drop_low, low, pad_low), (drop_high, high, pad_high) = (
            self._trim_end(crop, apart) for crop in (self.low, self.high)
        )
        stride, dilation = self.stride // apart, self.dilation // apart
        axis = Axis(self.kernel_size, stride, dilation, low, high)
        return Trim((drop_low, drop_high), axis, apart, (pad_low, pad_high))

    def _trim_end(self, crop: int, apart: int) -> tuple[int, int, int]:
        drop = max(0, -(-(crop - self.extent + 1) // self.stride))
        rest = crop - drop * self.stride
        divided = -(-max(rest, 0) // apart)
        return drop, divided, divided * apart - rest

    def phases(self) -> tuple[Phase, ...]:
        """One `Phase` for each residue 0, ..., stride - 1, in that order."""
        return tuple(self._phase(residue) for residue in range(self.stride))

    def _phase(self, residue: int) -> Phase:
        s, d = self.stride, self.dilation
        g = math.gcd(s, d)
        shift, rho = divmod(residue + self.low, s)
        if rho % g:
            return _NO_TAPS
        tap_step, spacing = s // g, d // g
        first_tap = rho // g * pow(spacing, -1, tap_step) % tap_step
        taps = max(0, -(-(self.kernel_size - first_tap) // tap_step))
        if not taps:
            return _NO_TAPS
        # A correlation with the flipped taps reads i = q - low_pad + j*spacing.
        reach = shift - (d * first_tap - rho) // s
        low_pad = (taps - 1) * spacing - reach
        high_pad = self.extra_blocks + reach
        return Phase(first_tap, tap_step, taps, spacing, (low_pad, high_pad))


class Trim(NamedTuple):
    """One axis in steps: drop inputs, apply `axis`, put zeros between its outputs.

    Attributes:
      drop: (low, high) input elements that are removed first.
      axis: what is then computed.
      apart: the distance at which its outputs are placed, with zeros between them.
      pad: (low, high) zeros that are appended at the end.
    """

    drop: tuple[int, int]
    axis: Axis
    apart: int
    pad: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A transposed convolution without sizes and layouts.

    Attributes:
      kernel_size: taps per spatial axis.
      stride: output elements between neighbouring input elements, per axis.
      dilation: output elements between neighbouring taps, per axis.
      crop: (low, high) output elements removed from the full output, per axis;
        negative: appended, holding zeros.
      groups: number of groups of channels.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    crop: tuple[tuple[int, int], ...]
    groups: int = 1

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.kernel_size)

    @property
    def is_plain(self) -> bool:
        """Whether there is one group and no dilation, the case libraries optimise."""
        return self.groups == 1 and all(d == 1 for d in self.dilation)

    @property
    def overlaps(self) -> bool:
        """Whether neighbouring input elements may reach the same output."""
        return any(axis.extent > axis.stride for axis in self.axes)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The geometry axis by axis."""
        return tuple(
            Axis(k, s, d, low, high)
            for k, s, d, (low, high) in zip(
                self.kernel_size, self.stride, self.dilation, self.crop, strict=True
            )
        )

    @property
    def extent(self) -> tuple[int, ...]:
        """`Axis.extent` of every axis."""
        return tuple(axis.extent for axis in self.axes)

    def trim(self, *, divide: bool = True) -> tuple["Geometry", tuple[Trim, ...]]:
        """`Axis.trim` of every axis, and the geometry of what remains."""
        trims = tuple(axis.trim(divide=divide) for axis in self.axes)
        geometry = replace(
            self,
            stride=tuple(trim.axis.stride for trim in trims),
            dilation=tuple(trim.axis.dilation for trim in trims),
            crop=tuple((trim.axis.low, trim.axis.high) for trim in trims),
        )
        return geometry, trims

    def output_size(self, size: tuple[Size, ...]) -> tuple[Size, ...]:
        """Output elements per axis for `size` input elements per axis."""
        return tuple(
            axis.output_size(n) for axis, n in zip(self.axes, size, strict=True)
        )

    @property
    def dilated_pads(self) -> tuple[tuple[int, int], ...]:
        """The crop as zeros around the stride-dilated input, which is lax's padding."""
        return tuple((a.extent - 1 - a.low, a.extent - 1 - a.high) for a in self.axes)
