"""The geometry of a call, from checked options and the shapes of its arrays.

Named paddings become numbers here, `output_size` is checked against the sizes that can
be reached, and shapes that do not fit each other are refused.
"""

from dataclasses import replace
from typing import NamedTuple

from jconvt._call import arguments
from jconvt._call.arguments import Shape
from jconvt._call.geometry import Geometry, Size
from jconvt._call.layout import spell
from jconvt._call.options import Options, Pairs
from jconvt._call.padding import DIALECTS, Crop, within_period


class Fitted(NamedTuple):
    """The facts that depend on both shapes and options.

    Attributes:
      geometry: kernel sizes, strides, dilations, crops and groups.
      wrap: input elements by which a periodic input is extended (before, after), per
        axis.
      batched: whether the input has a batch axis.
      cut: as in `Call`.
    """

    geometry: Geometry
    wrap: Pairs
    batched: bool
    cut: tuple[Size | None, ...]


def fit(
    options: Options,
    input_shape: Shape,
    weight_shape: Shape,
    bias_shape: Shape | None,
    output_size: object = None,
) -> Fitted:
    """Check shapes against options and each other, and derive the geometry."""
    input_shape, weight_shape = tuple(input_shape), tuple(weight_shape)
    batched = _check_shapes(options, input_shape, weight_shape, bias_shape)
    size = options.layout.spatial(input_shape, batched)
    kernel_size = options.layout.kernel_size(weight_shape)
    crops = _crops(options, kernel_size)
    if any(options.periodic):
        options, crops = _within_period(options, kernel_size, crops, size)
    out = _output_size(options, kernel_size, crops, size)
    wanted = arguments.check_output_size(options.function, output_size, options.rank)
    cut: tuple[Size | None, ...] = ()
    if wanted is not None:
        extra = _extra(options, wanted, out, size)
        # A symbolic number of elements to append: append the most, and cut the result.
        ints = [a if arguments.is_int(a) else r for a, r in extra]
        crops = [c._replace(high=c.high - a) for c, a in zip(crops, ints, strict=True)]
        if any(arguments.is_symbolic(a) for a, _ in extra):
            pairs = zip(wanted, extra, strict=True)
            cut = tuple(w if arguments.is_symbolic(a) else None for w, (a, _) in pairs)
        out = wanted
    if any(arguments.is_int(n) and n < 0 for n in out):
        raise ValueError(
            f"{options.function}: the output size must not be negative; got {out} for "
            f"an input of spatial size {size}. Use a smaller `padding`."
        )
    wrap = tuple(crop.wrap for crop in crops)
    return Fitted(_geometry(options, kernel_size, crops), wrap, batched, cut)


def _check_shapes(
    options: Options, input_shape: Shape, weight_shape: Shape, bias_shape: Shape | None
) -> bool:
    """Whether the input has a batch axis; or the error."""
    function, layout, rank = options.function, options.layout, options.rank
    if len(weight_shape) != rank + 2:
        raise ValueError(
            f"{function}: `weight` must have {rank + 2} axes, (C_in, C_out/groups) and "
            f"{rank} spatial; got shape {tuple(weight_shape)}."
        )
    if len(input_shape) not in (rank + 1, rank + 2):
        hint = (
            "More leading axes are for jax.vmap."
            if len(input_shape) > rank + 2
            else "Channels have an axis even if there is one: x[None] adds it."
        )
        raise ValueError(
            f"{function}: `input` must have {rank + 2} axes (batched) or {rank + 1} "
            f"(unbatched); got shape {tuple(input_shape)}. {hint}"
        )
    batched = len(input_shape) == rank + 2
    batch, channel = layout.input[:2]
    if not batched:
        channel -= channel > batch
    in_channels = weight_shape[layout.weight[0]]
    if input_shape[channel] != in_channels:
        hint = _if_channels_last(input_shape, channel, in_channels)
        hint = hint or _if_other_weight(options, input_shape, channel, weight_shape)
        raise ValueError(
            f"{function}: `input` must have as many channels as `weight` has input "
            f"channels; got {input_shape[channel]} on axis {channel} of input "
            f"{tuple(input_shape)} and {in_channels} on axis {layout.weight[0]} of "
            f"weight {tuple(weight_shape)}. A weight is (C_in, C_out/groups, *kernel) "
            f"unless `dimension_numbers` says otherwise."
            f"{hint}"
        )
    arguments.check_channels(function, in_channels, options.groups)
    kernel_size = layout.kernel_size(tuple(weight_shape))
    if any(not arguments.is_int(k) or k < 1 for k in kernel_size):
        raise ValueError(
            f"{function}: `weight` must have at least one tap on every spatial axis; "
            f"got shape {tuple(weight_shape)}."
        )
    out_channels = weight_shape[layout.weight[1]] * options.groups
    if bias_shape is not None and tuple(bias_shape) != (out_channels,):
        raise ValueError(
            f"{function}: `bias` must have shape ({out_channels},), the output "
            f"channels of weight {tuple(weight_shape)} times groups={options.groups}; "
            f"got {tuple(bias_shape)}."
        )
    return batched


def _if_channels_last(input_shape: Shape, channel: int, in_channels: Size) -> str:
    """The hint that the input seems to have its channels last."""
    last = len(input_shape) - 1
    if channel == last or input_shape[last] != in_channels:
        return ""
    return (
        f" Axis {last} has {in_channels}: for channels last jconvt.conv_transpose has "
        "`dimension_numbers`, conv_transpose1d, 2d, 3d and layers have `data_format`."
    )


def _if_other_weight(
    options: Options, input_shape: Shape, channel: int, weight_shape: Shape
) -> str:
    """The hint that the axes of the weight, or of both, seem to be in another order."""
    layout, rank = options.layout, options.rank
    specs = spell(layout)
    is_default = layout.weight == tuple(range(rank + 2))
    plain = options.groups == 1 and all(map(arguments.is_int, weight_shape))
    if specs is None or not is_default or not plain:
        return ""
    space = specs[1].strip("IO")
    order = _order_of(weight_shape, space, input_shape[channel])
    if order == f"OI{space}":
        return (
            " Axis 1 has them, as in the weight of a forward convolution, (C_out, "
            "C_in, *kernel): give jnp.swapaxes(weight, 0, 1), and reverse its taps "
            "with jnp.flip if they were written for a convolution."
        )
    if order:
        return (
            f" The weight looks like {order}: jconvt.conv_transpose takes it with "
            f"dimension_numbers={(specs[0], order, specs[2])}."
        )
    order, data = _order_of(weight_shape, space, input_shape[-1]), f"N{space}C"
    if order not in (f"{space}IO", f"{space}OI"):
        return ""
    return (
        f" The arrays look like {data} and {order}: jconvt.conv_transpose takes them "
        f"with dimension_numbers={(data, order, data)}."
    )


def _order_of(weight_shape: Shape, space: str, channels: Size) -> str:
    """The order of axes, other than the default, that fits the channels, or nothing."""
    for order in (f"{space}IO", f"{space}OI", f"OI{space}"):
        sizes = dict(zip(order, weight_shape, strict=True))
        taps = max(sizes[letter] for letter in space)
        if sizes["I"] == channels and taps <= max(sizes["I"], sizes["O"]):
            return order
    return ""


def _crops(options: Options, kernel_size: tuple[int, ...]) -> list[Crop]:
    crops: list[Crop] = []
    for i, k in enumerate(kernel_size):
        padding = options.paddings[i]
        if isinstance(padding, str):
            extent = options.dilation[i] * (k - 1) + 1
            crop = DIALECTS[padding](extent, options.stride[i])
        else:
            crop = Crop(*padding)
        crops.append(crop._replace(high=crop.high - options.output_padding[i]))
    return crops


def _within_period(
    options: Options,
    kernel_size: tuple[int, ...],
    crops: list[Crop],
    size: tuple[Size, ...],
) -> tuple[Options, list[Crop]]:
    """Reduce dilations that exceed the period; the outputs stay the same."""
    axes = zip(crops, kernel_size, options.stride, options.dilation, size, strict=True)
    found = [
        within_period(*axis)
        if periodic and arguments.is_int(axis[-1])
        else (axis[0], axis[3])
        for periodic, axis in zip(options.periodic, axes, strict=True)
    ]
    dilation = tuple(d for _, d in found)
    return replace(options, dilation=dilation), [crop for crop, _ in found]


def geometry_of(options: Options, kernel_size: tuple[int, ...]) -> Geometry:
    """The geometry of a call that names no `output_size`."""
    return _geometry(options, kernel_size, _crops(options, kernel_size))


def _geometry(
    options: Options, kernel_size: tuple[int, ...], crops: list[Crop]
) -> Geometry:
    return Geometry(
        kernel_size=kernel_size,
        stride=options.stride,
        dilation=options.dilation,
        crop=tuple((crop.low, crop.high) for crop in crops),
        groups=options.groups,
    )


def _output_size(
    options: Options,
    kernel_size: tuple[int, ...],
    crops: list[Crop],
    size: tuple[Size, ...],
) -> tuple[Size, ...]:
    wrapped = tuple(n + sum(crop.wrap) for n, crop in zip(size, crops, strict=True))
    return _geometry(options, kernel_size, crops).output_size(wrapped)


def _extra(
    options: Options,
    wanted: tuple[Size, ...],
    smallest: tuple[Size, ...],
    size: tuple[Size, ...],
) -> list[tuple[Size, int]]:
    """For each axis the elements to append for `output_size`, and the most possible.

    The first is symbolic where the scope's constraints only bound it.
    """
    function = options.function
    if any(options.output_padding):
        raise ValueError(
            f"{function}: `output_padding` must be 0 where `output_size` is given, "
            f"which determines it; got output_padding {options.output_padding} and "
            f"output_size {wanted}."
        )
    reach = [
        0 if periodic else s - 1
        for periodic, s in zip(options.periodic, options.stride, strict=True)
    ]
    largest = tuple(m + r for m, r in zip(smallest, reach, strict=True))
    hint = ""
    for w, m, most in zip(wanted, smallest, largest, strict=True):
        fits = is_between(m, w, most)
        if fits:
            continue
        if fits is None:
            hint = (
                f" The constraints of the symbolic scope do not tell: add '{w} >= {m}' "
                f"and '{w} <= {most}' to it, or give `output_padding`."
            )
        raise ValueError(
            f"{function}: `output_size` must lie between {smallest} and {largest} for "
            f"an input of spatial size {size}; got {wanted}.{hint}"
        )
    return [(w - m, r) for w, m, r in zip(wanted, smallest, reach, strict=True)]


def is_between(least: Size, n: Size, most: Size) -> bool | None:
    """Whether ``least <= n <= most``; None where a scope's constraints do not tell."""
    try:
        return bool(least <= n <= most)
    except Exception as error:
        # No public name of this class is the same in all versions of JAX.
        if type(error).__name__ != "InconclusiveDimensionOperation":
            raise
        return None
