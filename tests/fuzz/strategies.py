"""Hypothesis strategies: any call, small enough to compile in a moment."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

import jconvt
from cases import RULES
from fuzz.config import CIRCULAR, LETTERS, Config
from fuzz.doors import DROP_IN, TORCH_LIKE, channels_last, is_symmetric
from fuzz.ways import WAYS
from jconvt._call.geometry import Geometry
from jconvt._lowerings.table import LOWERINGS

# Weights by repetition, the simplest first: Hypothesis shrinks to the left.
RANKS = [1] * 8 + [2] * 8 + [3] * 3 + [0, 4]
MOST = {  # rank -> elements, taps, stride, dilation
    0: (1, 1, 1, 1), 1: (9, 7, 6, 6), 2: (5, 5, 4, 4), 3: (3, 3, 3, 3), 4: (2, 2, 2, 2)
}  # fmt: skip
FLOATS = ["float32"] * 8 + ["float64"] * 4 + ["bfloat16"] * 2 + ["float16"] * 2
COMPLEX = ["complex64", "complex128"]
INTEGERS = [
    "int32", "int8", "int64", "uint8", "int16", "uint16", "uint32", "uint64"
]  # fmt: skip
WIDER = {
    "bfloat16": "float32",
    "float16": "float32",
    "float32": "float64",
    "complex64": "complex128",
    "int8": "int32",
    "uint8": "uint32",
    "int32": "int64",
}
OTHER = {
    "float32": "bfloat16",
    "float64": "float32",
    "float16": "bfloat16",
    "bfloat16": "float32",
    "complex64": "float32",
    "int32": "int8",
    "int8": "float32",
}

MAPS = ("forward", "input_gradient", "weight_gradient")


@st.composite
def configs(draw: st.DrawFn, **fixed: Any) -> Config:
    """Any config; `fixed` fields are not drawn."""
    given: dict[str, Any] = draw(_layers())
    given |= draw(_dtypes())
    given["door"] = fixed.get("door") or draw(_door(given))
    given["numbers"] = draw(_numbers(given))
    way = fixed.get("way") or draw(st.sampled_from(_ways(given)))
    given |= {
        "way": way,
        "mapped": draw(st.sampled_from(["x", "w", "xw", "xwbg", "wb", "xg", "wg"])),
        "axes": tuple(draw(st.integers(0, 5)) for _ in range(4)),
        "whole": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**16)),
    }
    config = Config(**given | fixed)
    return Config(**given | {"lowering": draw(lowerings(serving(config)))} | fixed)


@st.composite
def lowerings(draw: st.DrawFn, names: list[str]) -> str | jconvt.Lowerings:
    """One of these for all three maps, or one for each."""
    names = ["auto"] * len(LOWERINGS) + names
    if draw(st.integers(0, 5)) < 5:
        return draw(st.sampled_from(names))
    which = st.sampled_from(names[len(LOWERINGS) - 1 :])
    return jconvt.Lowerings(**{name: draw(which) for name in MAPS})


@st.composite
def _layers(draw: st.DrawFn) -> dict[str, Any]:
    rank = draw(st.sampled_from(RANKS))
    most_space, most_taps, most_stride, most_dilation = MOST[rank]

    def each(strategy: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(strategy) for _ in range(rank))

    space = each(st.integers(1, most_space))
    kernel = each(st.integers(1, most_taps))
    stride = each(st.integers(1, most_stride))
    dilation = each(st.sampled_from([1, 1, 1, *range(2, most_dilation + 1)]))
    if rank and draw(st.integers(0, 24)) == 24:
        space = (0, *space[1:])
    padding, output_padding = draw(_paddings(space, kernel, stride, dilation))
    more = None
    if draw(st.integers(0, 5)) == 5:
        added = (draw(st.integers(0, s - 1)) for s in stride)
        more = _but_periodic(padding, added)
        output_padding = (0,) * rank
    layer = {
        "space": space,
        "kernel": kernel,
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
        "output_padding": output_padding,
        "more": more,
        "groups": draw(st.sampled_from([1, 1, 1, 1, 2, 3, 16])),
        "channels": draw(st.sampled_from(_CHANNELS)),
        "batch": draw(st.sampled_from([1, 2, 2, 2, 3, None, 8, 0])),
        "bias": draw(st.booleans()),
    }
    # A crop may leave less than nothing: then as much is cropped as there is.
    out = Config(**layer).out
    if not isinstance(padding, str) and any(m < 0 for m in out):
        layer["padding"] = tuple(
            p if isinstance(p, str) else (p[0], p[1] + min(m, 0))
            for p, m in zip(padding, out, strict=True)
        )
    return layer


def _but_periodic(padding: Any, added: Iterable[int]) -> tuple[int, ...]:
    """Nothing is added along an axis that goes on."""
    added = tuple(added)
    paddings = (padding,) * len(added) if isinstance(padding, str) else padding
    return tuple(
        0 if p in CIRCULAR else a for p, a in zip(paddings, added, strict=True)
    )


_CHANNELS = [
    (1, 1), (2, 3), (3, 2), (1, 2), (2, 1), (3, 4), (1, 5), (5, 1), (16, 3), (3, 17),
    (16, 16), (0, 2), (2, 0),
]  # fmt: skip


@st.composite
def _paddings(
    draw: st.DrawFn,
    space: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[Any, tuple[int, ...]]:
    """A padding, and an output padding that it allows."""
    kind = draw(st.sampled_from(["same ends", "pairs", "pairs", "name", "each"]))
    added = tuple(
        draw(st.integers(0, max(s, d) - 1))
        for s, d in zip(stride, dilation, strict=True)
    )
    nothing = (0,) * len(space)
    added = draw(st.sampled_from([nothing, added]))
    names = st.sampled_from([*RULES, *CIRCULAR])
    if kind == "name":
        name = draw(names)
        return name, nothing if name in CIRCULAR else added
    crops: list[Any] = []
    for n, k, s, d in zip(space, kernel, stride, dilation, strict=True):
        full = max((n - 1) * s + d * (k - 1) + 1, 0)
        if kind == "each" and draw(st.booleans()):
            crops.append(draw(names))
        elif kind == "same ends":
            p = draw(st.integers(0, full // 2))
            crops.append((p, p))
        else:
            low = draw(st.integers(-4, full + 1))
            crops.append((low, draw(st.integers(-4, max(full - low, -4)))))
    return tuple(crops), _but_periodic(tuple(crops), added)


@st.composite
def _dtypes(draw: st.DrawFn) -> dict[str, str | None]:
    dtype = draw(st.sampled_from(FLOATS + COMPLEX + INTEGERS))
    other = preferred = None
    kind = draw(st.integers(0, 11))
    if kind == 11:
        other = OTHER.get(dtype)
    elif kind == 10:
        preferred = WIDER.get(dtype)
    return {"dtype": dtype, "weight_dtype": other, "preferred": preferred}


def _is_exact(dtype: str) -> bool:
    return dtype in INTEGERS


@st.composite
def _door(draw: st.DrawFn, given: dict[str, Any]) -> str:
    """A door that can say the layer."""
    doors = ["conv_transpose", "conv_transpose"]
    rank, padding = len(given["space"]), given["padding"]
    pairs = not any(isinstance(p, str) for p in (padding, *padding))
    symmetric = is_symmetric(padding)
    layers = not _is_exact(given["dtype"]) and given["preferred"] is None
    if symmetric and rank in (1, 2, 3):
        doors += ["conv_transposeNd"] * 3 + ["linen", "nnx"] * layers
    named = padding in ("SAME", "VALID", *CIRCULAR)
    adds = any(given["output_padding"]) or given["more"] is not None
    fits = given["groups"] == 1 and rank and given["batch"] is not None and not adds
    if layers and fits and (named or pairs):
        doors += DROP_IN
    return draw(st.sampled_from(doors))


@st.composite
def _numbers(draw: st.DrawFn, given: dict[str, Any]) -> tuple[str, str, str] | None:
    rank, door = len(given["space"]), given["door"]
    if door in DROP_IN:
        return channels_last(rank)
    kind = draw(st.sampled_from(["first", "first", "last", "any"]))
    if kind == "first":
        return None
    if kind == "last" or door in TORCH_LIKE:
        return channels_last(rank)
    space = LETTERS[:rank]
    orders = (draw(st.permutations(c + space)) for c in ("NC", "IO", "NC"))
    x, w, y = map("".join, orders)
    return x, w, y


def _ways(given: dict[str, Any]) -> list[str]:
    """Integers have no derivative."""
    exact = _is_exact(given["dtype"]) or _is_exact(given["weight_dtype"] or "float32")
    ways = [name for name, way in WAYS.items() if not (exact and way.differentiates)]
    return ["output", "output", *(["vjp"] * (not exact)), *ways]


def serving(config: Config) -> list[str]:
    """The lowerings that can serve a config, or a chunk of it."""
    geometry = geometry_of(config)
    if config.cut is not None:
        crop = list(geometry.crop)
        crop[config.cut.axis] = (0, 0)
        geometry = replace(geometry, crop=tuple(crop))
    geometry = geometry.trim()[0]
    return [n for n, row in LOWERINGS.items() if row.refuses(geometry, True) is None]


def geometry_of(config: Config) -> Geometry:
    """The library's own geometry of a config, as far as a lowering asks for it."""
    full = [
        (n - 1) * s + d * (k - 1) + 1
        for n, k, s, d in zip(
            config.space, config.kernel, config.stride, config.dilation, strict=True
        )
    ]
    ends = zip(config.low, full, config.out, strict=True)
    return Geometry(
        kernel_size=config.kernel,
        stride=config.stride,
        dilation=config.dilation,
        crop=tuple((low, f - low - m) for low, f, m in ends),
        groups=config.groups,
    )
