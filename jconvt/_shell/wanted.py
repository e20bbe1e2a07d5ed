"""Which paddings give an output of a wanted size: the geometry, solved for the crop.

Per axis ``out = full - low - high``, so the whole crop is ``full - wanted``. A pair of
crops can express any. PyTorch's options express ``2*padding - output_padding`` with an
output_padding smaller than stride or dilation. A named padding has one crop, so each
name is tried.
"""

from dataclasses import dataclass
from typing import Any

import jconvt
from jconvt._call.arguments import check_ints
from jconvt._call.padding import DIALECTS
from jconvt._shapes import call_of_shapes

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """Options that give the wanted size.

    Attributes:
      options: keyword arguments.
      is_symmetric: whether PyTorch has these options.
    """

    options: dict[str, Any]
    is_symmetric: bool

    @property
    def where(self) -> str:
        """The functions and layers that take them."""
        if self.is_symmetric:
            return "PyTorch's functions and layers, and all others"
        return "jconvt.conv_transpose and the drop-in layers"


def ways_to(
    wanted: int | Shape,
    input_shape: Shape,
    weight_shape: Shape,
    keywords: dict[str, Any],
) -> tuple[Shape, list[Way]]:
    """The wanted size, an int for each axis, and options for it, the simplest first."""
    for name in ("padding", "output_padding", "output_size"):
        if keywords[name] not in (0, None):
            raise ValueError(
                f"shape: --want asks for the padding, so `{name}` must not be given; "
                f"got {keywords[name]!r}."
            )
    function = "output_shape"
    call, shape, weight = call_of_shapes(
        function, input_shape, weight_shape, **keywords
    )
    axes = call.geometry.axes
    sizes = check_ints("shape", "want", wanted, len(axes), 0)
    spatial = call.layout.spatial(shape, call.batched)
    totals = [
        a.output_size(n) - m for a, n, m in zip(axes, spatial, sizes, strict=True)
    ]

    def gives(way: Way) -> bool:
        options = keywords | way.options
        found = jconvt.output_shape(input_shape, weight_shape, **options)
        return found == call.layout.output_shape(
            shape[call.layout.input[0]] if call.batched else None,
            weight[call.layout.weight[1]] * call.geometry.groups,
            sizes,
        )

    most = [max(a.stride, a.dilation) - 1 for a in axes]
    symmetric = [_symmetric(t, a) for t, a in zip(totals, most, strict=True)]
    ways = []
    if symmetric and all(symmetric):
        paddings, appended = zip(*filter(None, symmetric), strict=True)
        options = {"padding": _short(paddings)}
        if any(appended):
            options["output_padding"] = _short(appended)
        ways.append(Way(options, is_symmetric=True))
    named = (Way({"padding": name}, is_symmetric=False) for name in DIALECTS)
    ways += filter(gives, named)
    pairs = tuple((max(t, 0) // 2, t - max(t, 0) // 2) for t in totals)
    ways.append(Way({"padding": pairs}, is_symmetric=False))
    return sizes, ways


def _symmetric(total: int, most: int) -> tuple[int, int] | None:
    """The smallest (padding, output_padding) whose crop is `total`, or None."""
    appended = total % 2 if total >= 0 else -total
    return ((total + appended) // 2, appended) if appended <= most else None


def _short(values: tuple[int, ...]) -> int | tuple[int, ...]:
    return values[0] if len(set(values)) == 1 else values
