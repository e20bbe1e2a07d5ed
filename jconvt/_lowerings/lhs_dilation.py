"""One convolution of the input with zeros between its elements: JAX's native form.

Per axis, with stride s, extent e and crop (low, high)::

    y = convolve(x with s - 1 zeros between elements, w reversed),
        padded by (e - 1 - low, e - 1 - high)

It computes every geometry. On a GPU it is the form that XLA maps to cuDNN's
backward-data convolution: the kernel must be reversed by `lax.rev` directly before the
convolution and be read as ``IO`` + space. Its transpose in the input is the ordinary
strided convolution. Elsewhere most multiplications are with the inserted zeros.
"""

import math

import jax
from jax import lax

from jconvt._call.call import Call
from jconvt._call.problem import Map, Problem
from jconvt._lowerings.axes import grouped_weight, permute
from jconvt._lowerings.dilated import convolve_dilated
from jconvt._lowerings.row import Lowering, serves_all
from jconvt._lowerings.spare import computed_positions
from jconvt._lowerings.work import Variant, Work, filled


def lower(
    x: jax.Array, w: jax.Array, call: Call, variant: Variant, which: Map
) -> jax.Array:
    """One convolution with ``lhs_dilation=stride``.

    Its output has the layout of the input and is permuted afterwards: with two layouts,
    and arrays sharded along space, XLA's partitioner gives wrong values for a dilated
    kernel (seen in jax 0.10.2).
    """
    del variant, which
    geometry, layout = call.geometry, call.layout
    in_channels, out_channels, *space = layout.weight
    if geometry.groups > 1:
        w = grouped_weight(permute(w, layout.weight_channels_first), geometry.groups)
        w = permute(w, tuple(layout.weight.index(axis) for axis in range(w.ndim)))
    size = tuple(x.shape[axis] for axis in layout.input[2:])
    y = convolve_dilated(
        x,
        w,
        geometry.output_size(size),
        lax.ConvDimensionNumbers(
            layout.input, (out_channels, in_channels, *space), layout.input
        ),
        call.numerics,
        padding=geometry.dilated_pads,
        dilation=geometry.stride,
        kernel_dilation=geometry.dilation,
        groups=geometry.groups,
    )
    return permute(y, layout.output_from_input)


def work(problem: Problem, variant: Variant, which: Map) -> Work:
    """The counts of one convolution, zeros between the input elements included.

    An input gradient runs over input positions and has no such zeros. For the output
    XLA:CPU has a fast path (its EigenTransposedConv2D) in up to two dimensions, without
    groups and dilation: a GEMM whose products are added to the output.
    """
    del variant
    geometry = problem.geometry
    positions = problem.outputs // problem.out_channels
    if which == Map.OUTPUT and problem.static:
        positions = computed_positions(problem)
    channels = problem.out_channels // geometry.groups
    if which == Map.INPUT:
        positions = problem.inputs // problem.in_channels
        channels = problem.in_channels // geometry.groups
    made = positions * problem.out_channels if which == Map.OUTPUT else 0
    uncut = made if made > problem.outputs else 0  # with the spare ones, an array more
    macs = positions * problem.weights
    inflated = which != Map.INPUT and any(s > 1 for s in geometry.stride)
    scattered = 0
    if which == Map.OUTPUT and inflated and geometry.is_plain and geometry.rank <= 2:
        taps = math.prod(geometry.kernel_size)
        elements = problem.inputs // problem.in_channels
        scattered = elements * problem.out_channels * taps
    moved = problem.features_first * (problem.inputs + problem.outputs)
    copied = moved
    if which == Map.WEIGHT:
        # The contraction is over the batch: both are moved, in any layout, but for an
        # input of one image whose features are first.
        stays = problem.batch == 1 and problem.features_first
        copied = problem.outputs + (0 if stays else problem.inputs)
    return Work(
        convolved=macs,
        inflated=inflated * macs,
        packed=macs // channels,
        scattered=scattered,
        lanes=macs * filled(channels) // channels,
        transposed=moved,
        prepared=problem.weights,
        calls=1,
        temporary=copied + problem.weights + scattered + uncut,
    )


def not_on_cpu(which: Map, problem: Problem) -> str | None:
    """With groups XLA:CPU is quick where no input is dilated.

    Without overlap its fast path for a dilated input is a GEMM of the products, which
    are then added to the output element by element. With one or two output channels
    that took twice as long as `gather`.
    """
    inflated = which != Map.INPUT and any(s > 1 for s in problem.geometry.stride)
    if which == Map.OUTPUT and inflated and not problem.geometry.overlaps:
        return "gather is the same matrix product, with fewer moves"
    if problem.geometry.groups > 1 and (inflated or which == Map.WEIGHT):
        return "XLA:CPU has such grouped convolutions as simple loops"
    return None


LOWERING = Lowering(
    name="lhs_dilation",
    summary="one convolution of the stride-dilated input (canonical)",
    lower=lower,
    unsupported=serves_all,
    work=work,
    not_on_cpu=not_on_cpu,
)
