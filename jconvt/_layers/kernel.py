"""The kernel of Flax's transposed convolution, and the weight that it stands for.

A weight is ``(C_in, C_out/groups, *K)``, the adjoint's, as everywhere else here. Flax
has two kernels, channels last:

- plain: ``(*K, C_in/groups, C_out)``, of a *correlation* of the stride-dilated input,
  so that its taps run backwards. Groups lie in the output channels, as in Flax's own
  ``Conv``.
- transposed (``transpose_kernel=True``): ``(*K, C_out/groups, C_in)``, the kernel of
  the ``Conv`` from outputs to inputs whose adjoint the layer is, as is.

Flax has one group alone; with several each kernel is what
`jax.lax.conv_general_dilated` takes as ``feature_group_count`` kernel of that form.
"""

from dataclasses import dataclass

import jax
from jax import lax

from jconvt._call.layout import Layout
from jconvt._lowerings.axes import merge_axes, move_axis, permute, split_axis


@dataclass(frozen=True, slots=True)
class FlaxKernel:
    """How a kernel is laid out; `rank` is the number of its spatial axes."""

    rank: int
    groups: int
    transposed: bool

    def shape(
        self, kernel_size: tuple[int, ...], in_features: int, features: int
    ) -> tuple[int, ...]:
        """The shape of a kernel."""
        if self.transposed:
            return (*kernel_size, features // self.groups, in_features)
        return (*kernel_size, in_features // self.groups, features)

    @property
    def layout(self) -> Layout:
        """Of channels-last data and what `oriented` gives."""
        r = self.rank
        data, space = (0, r + 1, *range(1, r + 1)), range(r)
        in_axis, out_axis = (r + 1, r) if self.transposed else (r, r + 1)
        return Layout(data, (in_axis, out_axis, *space), data)

    def oriented(self, kernel: jax.Array, *, fenced: bool = True) -> jax.Array:
        """The weight but for the order of axes: see `layout`."""
        if self.transposed:
            return kernel
        if self.groups > 1:
            # (*K, I/G, G*O/G) -> (*K, G*I/G, O/G)
            r, out = self.rank, kernel.shape[-1]
            kernel = split_axis(kernel, r + 1, (self.groups, out // self.groups))
            kernel = merge_axes(move_axis(kernel, r + 1, r), r)
        kernel = lax.rev(kernel, range(self.rank))
        # XLA would cancel this reversal against the one in front of a convolution, and
        # a GPU then finds no cuDNN call for it, but inflates the input with zeros.
        return lax.optimization_barrier(kernel) if fenced else kernel

    def oriented_shape(self, kernel_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what `oriented` gives."""
        if self.transposed:
            return kernel_shape
        *space, in_channels, out_channels = kernel_shape
        return (*space, in_channels * self.groups, out_channels // self.groups)

    def in_features(self, kernel_shape: tuple[int, ...]) -> int:
        """The input channels of a kernel of this shape."""
        return self.oriented_shape(kernel_shape)[self.layout.weight[0]]

    def divides(self, kernel_shape: tuple[int, ...]) -> bool:
        """Whether the axis in which the groups lie splits into them."""
        return kernel_shape[-1] % self.groups == 0

    def weight(self, kernel: jax.Array) -> jax.Array:
        """The weight ``(C_in, C_out/groups, *K)`` of a kernel."""
        return permute(self.oriented(kernel), self.layout.weight_channels_first)

    def kernel(self, weight: jax.Array) -> jax.Array:
        """The kernel of a weight: the inverse of `weight`."""
        r = self.rank
        axes = range(2, r + 2)
        if self.transposed:
            return lax.transpose(weight, (*axes, 1, 0))
        kernel = lax.rev(lax.transpose(weight, (*axes, 0, 1)), range(r))
        if self.groups > 1:
            # (*K, G*I/G, O/G) -> (*K, I/G, G*O/G)
            each = kernel.shape[r] // self.groups
            kernel = split_axis(kernel, r, (self.groups, each))
            kernel = merge_axes(move_axis(kernel, r, r + 1), r + 1)
        return kernel
