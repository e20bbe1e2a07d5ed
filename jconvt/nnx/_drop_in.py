"""Flax NNX's own transposed convolution, computed by this library."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype as flax_promote_dtype
from flax.nnx.nn.linear import default_bias_init, default_kernel_init
from flax.typing import PaddingLike, PromoteDtypeFn
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from jconvt._call.arguments import IntOrInts
from jconvt._call.lowerings import Lowerings
from jconvt._call.numerics import Precision
from jconvt._call.tracebacks import ends_traceback
from jconvt._layers.flax import NAME, settle_fields
from jconvt.nnx._rngs import parameter_keys
from jconvt.nnx._signature import shows_constructor


@shows_constructor
class ConvTranspose(nnx.ConvTranspose):
    """`flax.nnx.ConvTranspose`, computed by this library, and with groups.

    Arguments, their order and defaults, attributes, the parameters ``kernel`` and
    ``bias``, their initial values and the output are those of Flax, whose class this
    extends: change the import, or write ``jconvt.nnx`` for ``flax.nnx``. States and
    checkpoints are the same. `jconvt.nnx.replace_conv_transpose` changes the layers of
    a model that exists.

    Letters: S the spatial size of the input, K the kernel's, O the output's, e =
    kernel_dilation*(K-1)+1. Input ``(*batch, *S, in_features)`` with any number of
    batch axes, output ``(*batch, *O, out_features)``.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      kernel_size: taps per spatial axis; an int is one spatial axis.
      strides: output elements between neighbouring input elements; an int, one for each
        spatial axis, or None for 1.
      padding: ``"SAME"`` and ``"CIRCULAR"`` give O = S*strides, ``"VALID"`` O =
        (S-1)*strides + max(e, strides). An int, or an int or (low, high) pair for each
        spatial axis: zeros on the *stride-dilated input*, so that O = (S-1)*strides + 1
        + low + high - (e-1). PyTorch's padding p is e-1-p here.
      kernel_dilation: output elements between neighbouring taps; as `strides`.
      use_bias: whether to add a bias.
      mask: what the kernel is multiplied by, of its shape. None: nothing.
      dtype: what input and parameters are cast to. None: they are promoted together,
        integers to a floating dtype.
      param_dtype: dtype in which the parameters are created.
      precision: as in `jax.lax.conv_general_dilated`.
      kernel_init: initializer of the kernel.
      bias_init: initializer of the bias.
      transpose_kernel: False: the kernel is ``(*K, in_features/groups, out_features)``
        and is correlated with the stride-dilated input. True: it is ``(*K,
        out_features/groups, in_features)``, that of the `flax.nnx.Conv` from outputs to
        inputs whose adjoint the layer then is.
      promote_dtype: function of ((inputs, kernel, bias),) and ``dtype=`` that casts
        them.
      preferred_element_type: dtype of the result, as in lax.
      groups: groups of channels that do not mix; divides both channel counts. More
        than Flax has, as are the next two.
      output_padding: output elements appended at the end, computed like any other;
        smaller than `strides` or `kernel_dilation` on each axis, 0 with ``"CIRCULAR"``.
      lowering: ``"auto"``, the name of a lowering, or `jconvt.Lowerings`.
      rngs: random streams; ``params`` is drawn from.
      kernel_metadata: metadata of the kernel's `nnx.Param`, such as its sharding.
      bias_metadata: metadata of the bias's.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: an argument out of range, or arguments that do not fit;
        ``padding="CAUSAL"``, which Flax documents and refuses.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jconvt.nnx
      >>> up = jconvt.nnx.ConvTranspose(3, 4, (3, 3), strides=2, rngs=nnx.Rngs(0))
      >>> up.kernel.shape, up.bias.shape
      ((3, 3, 3, 4), (4,))
      >>> x = jnp.ones((2, 8, 8, 3))
      >>> up(x).shape
      (2, 16, 16, 4)
      >>> up(x, output_size=(16, 17)).shape
      (2, 16, 17, 4)
    """

    @ends_traceback
    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        *,
        padding: PaddingLike = "SAME",
        kernel_dilation: int | Sequence[int] | None = None,
        use_bias: bool = True,
        mask: jax.Array | None = None,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        precision: Precision = None,
        kernel_init: Initializer = default_kernel_init,
        bias_init: Initializer = default_bias_init,
        transpose_kernel: bool = False,
        promote_dtype: PromoteDtypeFn = flax_promote_dtype,
        preferred_element_type: DTypeLike | None = None,
        groups: int = 1,
        output_padding: IntOrInts = 0,
        lowering: str | Lowerings = "auto",
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.kernel_size = kernel_size
        self.in_features = in_features
        self.out_features = out_features
        self.strides = strides
        self.padding = padding
        self.kernel_dilation = kernel_dilation
        self.use_bias = use_bias
        self.mask = mask
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision
        self.transpose_kernel = transpose_kernel
        self.promote_dtype = promote_dtype
        self.preferred_element_type = preferred_element_type
        self.groups = groups
        self.output_padding = output_padding
        self.lowering = lowering

        config = settle_fields(self)
        self.kernel_size = config.kernel_size
        self.kernel_shape = config.kernel_shape(
            in_features, out_features, "out_features"
        )
        key = parameter_keys(NAME, rngs)
        self.kernel = nnx.Param(
            kernel_init(key(), self.kernel_shape, param_dtype),
            **kernel_metadata,
        )
        self.bias: nnx.Param[Any] | None
        if use_bias:
            self.bias = nnx.Param(
                bias_init(key(), (out_features,), param_dtype), **bias_metadata
            )
        else:
            # Data all the same, so that a bias can be put there later.
            self.bias = nnx.data(None)

    @ends_traceback
    def __call__(
        self, inputs: jax.Array, *, output_size: IntOrInts | None = None
    ) -> jax.Array:
        """Apply the layer.

        Args:
          inputs: ``(*batch, *S, in_features)``.
          output_size: O itself, an int or one for each spatial axis, or the output's
            whole shape, whose batch and channel entries are ignored. It replaces the
            layer's `output_padding`, and may exceed the size without that by up to
            ``strides - 1``.

        Returns:
          ``(*batch, *O, out_features)``.

        Raises:
          TypeError: `inputs` is not an array of numbers, or an attribute of the wrong
            kind.
          ValueError: a shape that does not fit, or an output size out of reach.
        """
        bias = None if self.bias is None else self.bias[...]

        def promote(*arrays: jax.Array | None) -> Any:
            return self.promote_dtype(arrays, dtype=self.dtype)

        config = settle_fields(self)
        return config(inputs, self.kernel[...], bias, output_size, promote)
