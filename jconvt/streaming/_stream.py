"""The arithmetic of a stream: what a step emits, what it keeps, and the delay.

Letters as in `jconvt._call.geometry`, for the streamed axis. Positions count along the
full output of the whole signal, of which the result is ``low`` to ``full(n) - high``.
After t input elements all positions before ``t*s`` are complete, and no element has
added anything from ``t*s + max(e - s, 0)`` on. A step with m elements emits m*s
positions, whatever the crop::

    held     h = max(0, high - (e - s), -low)   complete positions that are kept back
    emitted  [t*s - h, (t + m)*s - h)           by a step
    kept     [t*s - h, t*s + max(e - s, 0))     in the state, as partial sums
    flushed  [n*s - h, full(n) - high)          tail = e - s - high + h positions

The first position that is ever emitted is -h, so the result begins after
``delay = h + low`` emitted outputs. h is the smallest number for which the result
neither begins before the first emitted position (``-low``) nor ends before the last
emitted by a step (``high - (e - s)``). It is 0 under padding 0 where e >= s, and under
``"SAME"``, ``"CAUSAL"`` and ``"VALID"``.

If the first `input_delay` elements come before the signal, the delay is larger by
``input_delay*s``. A signal that ends after n of t elements ends at position
``n*s + (e - s) - high``, which is ``tail - (t - n)*s`` positions after ``t*s - h``.
"""

from dataclasses import dataclass, replace
from typing import Unpack

from jconvt._call import arguments
from jconvt._call.arguments import Shape
from jconvt._call.fit import geometry_of
from jconvt._call.geometry import Axis
from jconvt._call.options import GeometryOptions, Options, normalize_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """All static facts of a stream, except sizes.

    Attributes:
      options: those of the convolution of one chunk, without the streamed axis's crop.
      number: which of the spatial axes is streamed.
      axis: its geometry, with the crop of the whole.
      input_delay: input elements before the signal begins.
    """

    options: Options
    number: int
    axis: Axis
    input_delay: int

    @property
    def held(self) -> int:
        """Complete positions that a step keeps back."""
        axis = self.axis
        return max(0, axis.high - axis.extent + axis.stride, -axis.low)

    @property
    def kept(self) -> int:
        """Positions of which the state has the partial sums."""
        return self.held + max(self.axis.extent - self.axis.stride, 0)

    @property
    def tail(self) -> int:
        """Positions that a flush emits."""
        axis = self.axis
        return axis.extent - axis.stride - axis.high + self.held

    @property
    def delay(self) -> int:
        """Emitted outputs before the result begins."""
        return self.input_delay * self.axis.stride + self.held + self.axis.low

    @property
    def most_heard(self) -> int:
        """Input elements after which the delay is over; counted up to here."""
        return -(-self.delay // self.axis.stride)

    @property
    def most_missing(self) -> int:
        """Elements after an end from which on nothing is flushed; at least 1."""
        return max(1, -(-self.tail // self.axis.stride))

    def input_axes(self, batched: bool) -> tuple[int, ...]:
        """The input's batch axis, if it has one, and its streamed axis."""
        return _axes(self.options.layout.input, self.number, batched)

    def output_axes(self, batched: bool) -> tuple[int, ...]:
        """The output's batch axis, if it has one, and its streamed axis."""
        return _axes(self.options.layout.output, self.number, batched)

    def output_channel(self, batched: bool) -> int:
        """The output's channel axis."""
        batch, channel = self.options.layout.output[:2]
        return channel - (not batched and channel > batch)


def _axes(axes: tuple[int, ...], number: int, batched: bool) -> tuple[int, ...]:
    batch, streamed = axes[0], axes[2 + number]
    return (batch, streamed) if batched else (streamed - (streamed > batch),)


def stream_of(
    function: str,
    weight_shape: Shape,
    *,
    axis: object,
    output_size: object,
    input_delay: object = 0,
    **geometry: Unpack[GeometryOptions],
) -> Stream:
    """The stream that options and a weight's shape describe, or the error."""
    if output_size is not None:
        raise ValueError(
            f"{function}: `output_size` must be None, since the length of a signal in "
            f"chunks is not known; got {output_size!r}. Write `output_padding`, the "
            f"number of output elements to append."
        )
    weight_shape = arguments.check_shape(function, "weight_shape", weight_shape)
    rank = arguments.spatial_rank(function, weight_shape)
    options = normalize_options(function, rank, **geometry)
    number = _check_axis(function, axis, rank)
    paddings, output_padding = list(options.paddings), list(options.output_padding)
    if options.periodic[number]:
        raise ValueError(
            f"{function}: `padding` must not be periodic along the streamed axis, "
            f"whose first outputs would need its last inputs; got "
            f"{paddings[number]!r} on spatial axis {number}. 'CAUSAL' and 'SAME' give "
            f"as many outputs."
        )
    arguments.check_channels(
        function, weight_shape[options.layout.weight[0]], options.groups
    )
    for i in options.layout.weight[2:]:
        arguments.check_int(function, f"weight_shape[{i}]", weight_shape[i], 1)
    geometry_axes = geometry_of(options, options.layout.kernel_size(weight_shape)).axes
    # Nothing is removed of a chunk, and each of its elements makes at least s outputs.
    paddings[number], output_padding[number] = "VALID", 0
    stream = Stream(
        options=replace(
            options, padding=tuple(paddings), output_padding=tuple(output_padding)
        ),
        number=number,
        axis=geometry_axes[number],
        input_delay=arguments.check_int(function, "input_delay", input_delay, 0),
    )
    arguments.check_magnitude(function, "input_delay", [stream.delay])
    return stream


def _check_axis(function: str, axis: object, rank: int) -> int:
    """`axis` as the number of a spatial axis, or the error."""
    if not rank:
        raise ValueError(
            f"{function}: `weight` must have a spatial axis that can be streamed; got "
            f"none."
        )
    number = arguments.check_int(function, "axis", axis, 0)
    if number >= rank:
        raise ValueError(
            f"{function}: `axis` must be smaller than {rank}, the number of spatial "
            f"axes; got {number}. It counts spatial axes alone: 0 is the first after "
            f"batch and channels."
        )
    return number
