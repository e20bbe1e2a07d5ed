"""What the ways out share: PyTorch's padding, and refusals that name options."""

from jconvt._call.fit import geometry_of
from jconvt._call.options import Pairs
from jconvt._call.padding import PERIODIC
from jconvt.interop._ported import PortedLayer


def check_layer(function: str, layer: object) -> PortedLayer:
    """`layer` if it is a `PortedLayer`, or a TypeError."""
    if not isinstance(layer, PortedLayer):
        raise TypeError(
            f"{function}: `layer` must be a PortedLayer; got {type(layer).__name__}. "
            f"Read it first, for example with jconvt.interop.from_flax."
        )
    return layer


def refuse(function: str, option: str, value: object, reason: str) -> ValueError:
    """The error for an option that the target does not have."""
    return ValueError(f"{function}: {reason}; the layer's `{option}` is {value!r}.")


def fixed_crop(function: str, layer: PortedLayer) -> Pairs:
    """The crop, `output_padding` included, if one serves inputs of every size."""
    static = layer.static
    if static.options.padding in PERIODIC:
        raise refuse(
            function,
            "padding",
            static.options.padding,
            "the target has no such padding",
        )
    if static.fixed is not None:
        raise refuse(
            function,
            "output_size",
            static.fixed.size,
            "the crop depends on the input's size, see PortedLayer.for_input",
        )
    return geometry_of(static.options, layer.weight.shape[2:]).crop


def check_one_dtype(function: str, layer: PortedLayer) -> None:
    """A ValueError unless all is of the weight's dtype, as in the target."""
    static, bias = layer.static, layer.bias
    for option, value in (
        ("bias.dtype", None if bias is None else bias.dtype),
        ("dtype", static.dtype),
        ("preferred_element_type", static.preferred_element_type),
    ):
        if value is not None and value != layer.weight.dtype:
            reason = "the target computes in its weight's dtype"
            raise refuse(function, option, value.name, reason)


def symmetric(
    crop: Pairs, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """A crop as PyTorch's `padding` and `output_padding`, where it can say it."""
    padding = tuple(low for low, _ in crop)
    more = tuple(low - high for low, high in crop)
    fits = all(
        p >= 0 and 0 <= a < max(s, d)
        for p, a, s, d in zip(padding, more, stride, dilation, strict=True)
    )
    return (padding, more) if fits else None
