"""Layers for Flax Linen, with PyTorch's constructors and parameters.

Thin: a layer checks its options, owns ``weight`` and ``bias``, and calls the same core
as the functions.
"""

from dataclasses import KW_ONLY
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import canonicalize_dtype
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import IntOrInts, Padding
from jconvt._call.lowerings import Lowerings
from jconvt._call.numerics import Precision
from jconvt._call.tracebacks import ends_traceback
from jconvt._layers.torch import ARGUMENTS, make_config

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _ConvTranspose(nn.Module):
    """The layer of any rank; public is one class for each."""

    rank: ClassVar[int]

    in_channels: int
    out_channels: int
    kernel_size: IntOrInts
    stride: IntOrInts = 1
    padding: Padding = 0
    output_padding: IntOrInts = 0
    groups: int = 1
    bias: bool = True
    dilation: IntOrInts = 1
    padding_mode: str = "zeros"
    _: KW_ONLY
    data_format: str | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32
    precision: Precision = None
    preferred_element_type: DTypeLike | None = None
    lowering: str | Lowerings = "auto"
    weight_init: Initializer | None = None
    bias_init: Initializer | None = None

    @ends_traceback
    def __post_init__(self) -> None:
        arguments = {name: getattr(self, name) for name in ARGUMENTS}
        config = make_config(type(self).__name__, self.rank, **arguments)
        self._config = config
        # As in PyTorch they read as tuples; a list would leave the module unhashable.
        self.kernel_size = config.kernel_size
        self.stride = config.options.stride
        self.padding = config.padding
        self.output_padding = config.options.output_padding
        self.dilation = config.options.dilation
        super().__post_init__()

    @nn.compact
    @ends_traceback
    def __call__(self, x: ArrayLike, output_size: IntOrInts | None = None) -> jax.Array:
        """Apply the layer.

        Args:
          x: batched or unbatched input, in the layer's data format.
          output_size: the output's spatial size, an int or one for each spatial axis,
            or its whole shape, whose batch and channel entries are ignored. It replaces
            the layer's `output_padding`, and may exceed the smallest size, which is
            that without `output_padding`, by up to ``stride - 1``.

        Returns:
          The output, batched or unbatched as `x`.

        Raises:
          TypeError: `x` is not an array of numbers, or `output_size` not ints.
          ValueError: a shape that does not fit, or an output size out of reach.
        """
        config = self._config
        weight = self.param(
            "weight",
            self.weight_init or config.weight_init,
            config.weight_shape,
            config.param_dtype,
        )
        bias = None
        if config.has_bias:
            bias = self.param(
                "bias",
                self.bias_init or config.bias_init,
                config.bias_shape,
                config.param_dtype,
            )
        return config(x, weight, bias, output_size, canonicalize_dtype)

    def __repr__(self) -> str:
        return repr(self._config)


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over one spatial axis: PyTorch's layer for Linen.

    As `ConvTranspose2d`, with one int where that takes two. Input ``(N, C_in, L)`` or
    ``(C_in, L)``, output ``(N, C_out, O)`` or ``(C_out, O)``; channels last with
    ``data_format="NWC"``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jconvt.linen
      >>> up = jconvt.linen.ConvTranspose1d(512, 256, 16, stride=8, padding=4)
      >>> up
      ConvTranspose1d(512, 256, kernel_size=(16,), stride=(8,), padding=(4,))
      >>> y, variables = up.init_with_output(jax.random.key(0), jnp.ones((1, 512, 10)))
      >>> y.shape
      (1, 256, 80)
    """

    rank = 1


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution over two spatial axes: PyTorch's layer for Linen.

    Names, order and meaning of the arguments, shape and initial distribution of the
    parameters are those of `torch.nn.ConvTranspose2d`. Input ``(N, C_in, H, W)`` or
    ``(C_in, H, W)``, output ``(N, C_out, OH, OW)`` or ``(C_out, OH, OW)`` with
    ``O = (S-1)*stride - 2*padding + dilation*(K-1) + output_padding + 1`` per axis, for
    an int `padding`.

    The parameters are ``weight``, ``(in_channels, out_channels/groups, KH, KW)``, and
    ``bias``, ``(out_channels,)``.

    Attributes:
      in_channels: channels of the input.
      out_channels: channels of the output.
      kernel_size: taps; an int, or a tuple or list of two. So are `stride`,
        `output_padding` and `dilation`.
      stride: output elements between neighbouring input elements.
      padding: *output* elements cropped: an int for both ends of every axis, or for
        each axis an int, a (low, high) pair (negative: elements appended) or a name; or
        one name for all, such as ``"SAME"`` or ``"CAUSAL"``. The names are those of
        `jconvt.conv_transpose`.
      output_padding: output elements appended at the end, less than `stride` or
        `dilation` on each axis. They are computed like any other, not zeros.
      groups: groups of channels that do not mix; divides both channel counts.
      bias: whether to add a bias.
      dilation: output elements between neighbouring taps.
      padding_mode: ``"zeros"``, as in PyTorch.
      data_format: ``"NCHW"`` (None: the same) or ``"NHWC"``, of input and output; the
        weight is in PyTorch's layout in either.
      dtype: what input and parameters are cast to. None: they are promoted together,
        integers to a floating dtype.
      param_dtype: dtype in which the parameters are created.
      precision: as in `jax.lax.conv_general_dilated`.
      preferred_element_type: dtype of the result, as in lax. None: that of the
        computation. 16-bit floats accumulate in float32 in any case.
      lowering: ``"auto"``, the name of a lowering, or `jconvt.Lowerings`.
      weight_init: initializer of the weight. None: PyTorch's, which is
        `jconvt.initializers.torch_uniform`.
      bias_init: initializer of the bias. None: PyTorch's.

    Raises:
      TypeError: an argument of the wrong kind. Bools and floats are not ints.
      ValueError: an argument out of range, or two that do not fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jconvt.linen
      >>> up = jconvt.linen.ConvTranspose2d(16, 33, 3, stride=2)
      >>> up
      ConvTranspose2d(16, 33, kernel_size=(3, 3), stride=(2, 2))
      >>> x = jnp.ones((20, 16, 50, 100))
      >>> variables = up.init(jax.random.key(0), x)
      >>> jax.tree.map(jnp.shape, variables)
      {'params': {'bias': (33,), 'weight': (16, 33, 3, 3)}}
      >>> up.apply(variables, x).shape
      (20, 33, 101, 201)
      >>> up.apply(variables, x, output_size=(102, 202)).shape
      (20, 33, 102, 202)
    """

    rank = 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over three spatial axes: PyTorch's layer for Linen.

    As `ConvTranspose2d`, with three ints where that takes two. Input
    ``(N, C_in, D, H, W)`` or ``(C_in, D, H, W)``, output ``(N, C_out, OD, OH, OW)`` or
    ``(C_out, OD, OH, OW)``; channels last with ``data_format="NDHWC"``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jconvt.linen
      >>> up = jconvt.linen.ConvTranspose3d(8, 4, 2, stride=2, bias=False)
      >>> up
      ConvTranspose3d(8, 4, kernel_size=(2, 2, 2), stride=(2, 2, 2), bias=False)
      >>> x = jnp.ones((1, 8, 3, 4, 5))
      >>> up.init_with_output(jax.random.key(0), x)[0].shape
      (1, 4, 6, 8, 10)
    """

    rank = 3
