"""One call in full, as a line that can be pasted."""

import dataclasses
import zlib
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np

import oracles
from cases import RULES

LETTERS = "XYZW"
CIRCULAR = ("CIRCULAR", "CIRCULAR_LOWER")
Ints = tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cut:
    """A signal in chunks.

    Attributes:
      axis: which spatial axis is streamed.
      lengths: of the chunks.
      before: elements that come before the signal.
      after: elements after it, which a mask leaves out; None: there is no mask.
    """

    axis: int
    lengths: Ints
    before: int = 0
    after: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A layer, its arrays, and what is done with them.

    Attributes:
      channels: input and output channels of one group.
      batch: images; None: no batch axis.
      padding: a name for all axes, or (low, high) or a name for each.
      more: output elements above the smallest size, asked for by `output_size`; None:
        `output_size` is not given.
      dtype, weight_dtype, preferred: of input and bias; of the weight (None: the same);
        of the result (None: not asked for).
      whole: whether the values are small whole numbers, so that sums are exact.
      numbers: the specs of input, weight and output; None: channels first.
      lowering: a name, or a `jconvt.Lowerings`.
      door: a row of `doors.DOORS`, or of `streamed.STREAMS`.
      cut: into which chunks; only for the latter.
      way: a row of `ways.WAYS`.
      mapped: which of "x", "w", "b" and "g" a vmap or scan runs over.
      axes: where their mapped axis stands.
      seed: of the values.
    """

    space: Ints
    kernel: Ints
    stride: Ints
    dilation: Ints
    padding: str | tuple[str | tuple[int, int], ...]
    output_padding: Ints
    more: Ints | None = None
    groups: int = 1
    channels: tuple[int, int] = (2, 3)
    batch: int | None = 2
    bias: bool = True
    dtype: str = "float32"
    weight_dtype: str | None = None
    preferred: str | None = None
    whole: bool = False
    numbers: tuple[str, str, str] | None = None
    lowering: Any = "auto"
    door: str = "conv_transpose"
    cut: Cut | None = None
    way: str = "output"
    mapped: str = "x"
    axes: Ints = (0, 0, 0, 0)
    seed: int = 0

    def line(self) -> str:
        """The config as Python, without what is the default."""
        fields = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Config({', '.join(fields)}),"

    @property
    def rank(self) -> int:
        return len(self.space)

    @cached_property
    def specs(self) -> tuple[str, str, str]:
        """The layout, spelled out in any case."""
        space = LETTERS[: self.rank]
        return self.numbers or (f"NC{space}", f"IO{space}", f"NC{space}")

    @property
    def plain_specs(self) -> tuple[str, str, str]:
        """Channels first with the same letters, in the order of the options."""
        space = "".join(letter for letter in self.specs[1] if letter not in "IO")
        return f"NC{space}", f"IO{space}", f"NC{space}"

    @cached_property
    def low(self) -> Ints:
        """Positions of the full output below the first output."""
        return tuple(low for low, _ in self._crop)

    @property
    def paddings(self) -> tuple[str | tuple[int, int], ...]:
        """One for each axis."""
        each = isinstance(self.padding, tuple)
        return self.padding if each else (self.padding,) * self.rank

    @property
    def _crop(self) -> list[tuple[int, int]]:
        axes = zip(self.space, self.kernel, self.stride, self.dilation, strict=True)
        return [_crop(p, *axis) for p, axis in zip(self.paddings, axes, strict=True)]

    @cached_property
    def out(self) -> Ints:
        """The output's spatial size."""
        added = self.output_padding if self.more is None else self.more
        sizes = oracles.cropped_size(
            self.space, self.kernel, self.stride, self._crop, self.dilation
        )
        return tuple(m + a for m, a in zip(sizes, added, strict=True))

    @property
    def period(self) -> tuple[int | None, ...]:
        """Of each axis, or None where it does not go on."""
        axes = zip(self.paddings, self.space, self.stride, strict=True)
        return tuple(n * s if p in CIRCULAR else None for p, n, s in axes)

    def lowering_of(self, which: str) -> str:
        """The entry for "forward", "input_gradient" or "weight_gradient"."""
        of_all = isinstance(self.lowering, str)
        return self.lowering if of_all else getattr(self.lowering, which)

    @property
    def shapes(self) -> dict[str, Ints]:
        """Of x, w, b and g, channels first and batched."""
        (inputs, outputs), batch = (
            self.channels,
            1 if self.batch is None else self.batch,
        )
        return {
            "x": (batch, inputs * self.groups, *self.space),
            "w": (inputs * self.groups, outputs, *self.kernel),
            "b": (outputs * self.groups,),
            "g": (batch, outputs * self.groups, *self.out),
        }

    @cached_property
    def promoted(self) -> np.dtype:
        return np.dtype(jnp.promote_types(self.dtype, self.weight_dtype or self.dtype))

    @cached_property
    def result(self) -> np.dtype:
        return np.dtype(self.preferred or self.promoted)

    def dtype_of(self, name: str) -> np.dtype:
        """The dtype of an array, and of its gradient."""
        if name[0] == "g":
            return self.result
        chosen = self.weight_dtype if name[0] == "w" else None
        return np.dtype(chosen or self.dtype)

    def arrays(self) -> dict[str, np.ndarray | None]:
        """Two of each array, channels first and batched: x, w, b, g, x2, w2, b2, g2."""
        made = {}
        for name, shape in self.shapes.items():
            for suffix in ("", "2"):
                key = zlib.crc32(f"{name}{suffix}".encode())
                rng = np.random.default_rng([self.seed, key])
                made[name + suffix] = self._values(rng, shape, self.dtype_of(name))
        if not self.bias:
            made["b"] = made["b2"] = None
        return made

    def _values(self, rng: np.random.Generator, shape: Ints, dtype: np.dtype):
        if jnp.issubdtype(dtype, jnp.integer):
            info = jnp.iinfo(dtype)
            if self.whole:
                return rng.integers(max(info.min, -4), 5, shape).astype(dtype)
            return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        draw = (
            (lambda: rng.integers(-4, 5, shape))
            if self.whole
            else (lambda: rng.normal(size=shape))
        )
        if jnp.issubdtype(dtype, jnp.complexfloating):
            return (draw() + 1j * draw()).astype(dtype)
        return draw().astype(dtype)


def _crop(
    padding: str | tuple[int, int], n: int, k: int, s: int, d: int
) -> tuple[int, int]:
    """The crop of one axis."""
    if not isinstance(padding, str):
        return padding
    if padding not in CIRCULAR:
        return RULES[padding](n, k, s, d)
    # Of the full output wrapped on a period of n*s.
    overlap = max(d * (k - 1) + 1 - s, 0)
    low = overlap // 2 if padding == "CIRCULAR" else -(-overlap // 2)
    return low, (n - 1) * s + d * (k - 1) + 1 - n * s - low
