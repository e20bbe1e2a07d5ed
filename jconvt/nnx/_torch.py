"""Layers for Flax NNX, with PyTorch's constructors and parameters.

Thin: a layer checks its options, owns ``weight`` and ``bias``, and calls the same core
as the functions.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import canonicalize_dtype
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import AxisPadding, IntOrInts, Padding
from jconvt._call.lowerings import Lowerings
from jconvt._call.numerics import Precision
from jconvt._call.tracebacks import ends_traceback
from jconvt._layers.torch import ARGUMENTS, make_config
from jconvt.nnx._rngs import parameter_keys
from jconvt.nnx._signature import shows_constructor

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _ConvTranspose(nnx.Module):
    """The layer of any rank; public is one class for each."""

    rank: ClassVar[int]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        shows_constructor(cls)

    @ends_traceback
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        output_padding: IntOrInts = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntOrInts = 1,
        padding_mode: str = "zeros",
        *,
        data_format: str | None = None,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        precision: Precision = None,
        preferred_element_type: DTypeLike | None = None,
        lowering: str | Lowerings = "auto",
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        weight_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        rngs: nnx.Rngs,
    ) -> None:
        arguments = locals()
        config = make_config(
            type(self).__name__, self.rank, **{n: arguments[n] for n in ARGUMENTS}
        )
        self.config = config  # static: hashable, and no array in it
        key = parameter_keys(type(self).__name__, rngs)
        weight_init = weight_init or config.weight_init
        self.weight = nnx.Param(
            weight_init(key(), config.weight_shape, config.param_dtype),
            **weight_metadata,
        )
        self.bias: nnx.Param[Any] | None
        if config.has_bias:
            bias_init = bias_init or config.bias_init
            self.bias = nnx.Param(
                bias_init(key(), config.bias_shape, config.param_dtype),
                **bias_metadata,
            )
        else:
            # Data all the same, so that a bias can be put there later.
            self.bias = nnx.data(None)

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
        bias = None if self.bias is None else self.bias[...]
        return self.config(x, self.weight[...], bias, output_size, canonicalize_dtype)

    def __repr__(self) -> str:
        return repr(self.config)

    __str__ = __repr__

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.config.in_channels

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.config.out_channels

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Taps per spatial axis."""
        return self.config.kernel_size

    @property
    def stride(self) -> tuple[int, ...]:
        """Output elements between neighbouring input elements, per axis."""
        return self.config.options.stride

    @property
    def padding(self) -> str | tuple[int | AxisPadding, ...]:
        """A name, or for each axis an int, a (low, high) pair or a name."""
        return self.config.padding

    @property
    def output_padding(self) -> tuple[int, ...]:
        """Output elements appended at the end, per axis."""
        return self.config.options.output_padding

    @property
    def groups(self) -> int:
        """Groups of channels that do not mix."""
        return self.config.options.groups

    @property
    def dilation(self) -> tuple[int, ...]:
        """Output elements between neighbouring taps, per axis."""
        return self.config.options.dilation


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over one spatial axis: PyTorch's layer for NNX.

    As `ConvTranspose2d`, with one int where that takes two. Input ``(N, C_in, L)`` or
    ``(C_in, L)``, output ``(N, C_out, O)`` or ``(C_out, O)``; channels last with
    ``data_format="NWC"``.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jconvt.nnx
      >>> up = jconvt.nnx.ConvTranspose1d(512, 256, 16, 8, padding=4, rngs=nnx.Rngs(0))
      >>> up
      ConvTranspose1d(512, 256, kernel_size=(16,), stride=(8,), padding=(4,))
      >>> up(jnp.ones((1, 512, 10))).shape
      (1, 256, 80)
    """

    rank = 1


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution over two spatial axes: PyTorch's layer for NNX.

    Names, order and meaning of the arguments, shape and initial distribution of the
    parameters are those of `torch.nn.ConvTranspose2d`. Input ``(N, C_in, H, W)`` or
    ``(C_in, H, W)``, output ``(N, C_out, OH, OW)`` or ``(C_out, OH, OW)`` with
    ``O = (S-1)*stride - 2*padding + dilation*(K-1) + output_padding + 1`` per axis, for
    an int `padding`.

    Args:
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
      weight_metadata: metadata of the weight's `nnx.Param`, such as its sharding.
      bias_metadata: metadata of the bias's.
      rngs: random streams; ``params`` is drawn from.

    Attributes:
      weight: `nnx.Param` of shape ``(in_channels, out_channels/groups, KH, KW)``.
      bias: `nnx.Param` of shape ``(out_channels,)``, or None.
      config: all the rest, static.

    Raises:
      TypeError: an argument of the wrong kind. Bools and floats are not ints.
      ValueError: an argument out of range, or two that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jconvt.nnx
      >>> up = jconvt.nnx.ConvTranspose2d(16, 33, 3, stride=2, rngs=nnx.Rngs(0))
      >>> up
      ConvTranspose2d(16, 33, kernel_size=(3, 3), stride=(2, 2))
      >>> up.weight.shape, up.bias.shape
      ((16, 33, 3, 3), (33,))
      >>> x = jnp.ones((20, 16, 50, 100))
      >>> up(x).shape
      (20, 33, 101, 201)
      >>> up(x, output_size=(102, 202)).shape
      (20, 33, 102, 202)
    """

    rank = 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over three spatial axes: PyTorch's layer for NNX.

    As `ConvTranspose2d`, with three ints where that takes two. Input
    ``(N, C_in, D, H, W)`` or ``(C_in, D, H, W)``, output ``(N, C_out, OD, OH, OW)`` or
    ``(C_out, OD, OH, OW)``; channels last with ``data_format="NDHWC"``.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jconvt.nnx
      >>> up = jconvt.nnx.ConvTranspose3d(8, 4, 2, 2, bias=False, rngs=nnx.Rngs(0))
      >>> up
      ConvTranspose3d(8, 4, kernel_size=(2, 2, 2), stride=(2, 2, 2), bias=False)
      >>> up(jnp.ones((1, 8, 3, 4, 5))).shape
      (1, 4, 6, 8, 10)
    """

    rank = 3
