"""Flax Linen's own transposed convolution, computed by this library."""

from dataclasses import KW_ONLY
from functools import partial

import jax
from flax import linen as nn

from jconvt._call.arguments import IntOrInts
from jconvt._call.lowerings import Lowerings
from jconvt._call.tracebacks import ends_traceback
from jconvt._layers.flax import settle_fields


class ConvTranspose(nn.ConvTranspose):
    """`flax.linen.ConvTranspose`, computed by this library, and with groups.

    Fields, their order and defaults, the parameters ``kernel`` and ``bias``, their
    initial values and the output are those of Flax, whose class this extends: change
    the import, or write ``jconvt.linen`` for ``flax.linen``. The class has the same
    name, so that automatic names, and with them checkpoints, stay as they are.

    Letters: S the spatial size of the input, K the kernel's, O the output's, e =
    kernel_dilation*(K-1)+1. Input ``(*batch, *S, in_features)`` with any number of
    batch axes, output ``(*batch, *O, features)``.

    Attributes:
      features: channels of the output.
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
      transpose_kernel: False: the kernel is ``(*K, in_features/groups, features)`` and
        is correlated with the stride-dilated input. True: it is ``(*K,
        features/groups, in_features)``, that of the `flax.linen.Conv` from outputs to
        inputs whose adjoint the layer then is.
      promote_dtype: function of (inputs, kernel, bias) and ``dtype=`` that casts them.
      preferred_element_type: dtype of the result, as in lax.
      groups: groups of channels that do not mix; divides both channel counts. More
        than Flax has, as are the next two.
      output_padding: output elements appended at the end, computed like any other;
        smaller than `strides` or `kernel_dilation` on each axis, 0 with ``"CIRCULAR"``.
      lowering: ``"auto"``, the name of a lowering, or `jconvt.Lowerings`.

    Raises:
      TypeError: at the call, a field of the wrong kind.
      ValueError: at the call, a field out of range, fields or shapes that do not fit;
        ``padding="CAUSAL"``, which Flax documents and refuses.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jconvt.linen
      >>> up = jconvt.linen.ConvTranspose(4, (3, 3), strides=2)
      >>> x = jnp.ones((2, 8, 8, 3))
      >>> variables = up.init(jax.random.key(0), x)
      >>> jax.tree.map(jnp.shape, variables)
      {'params': {'bias': (4,), 'kernel': (3, 3, 3, 4)}}
      >>> up.apply(variables, x).shape
      (2, 16, 16, 4)
      >>> up.apply(variables, x, output_size=(16, 17)).shape
      (2, 16, 17, 4)
    """

    _: KW_ONLY
    groups: int = 1
    output_padding: IntOrInts = 0
    lowering: str | Lowerings = "auto"

    @nn.compact
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
          ``(*batch, *O, features)``.

        Raises:
          TypeError: `inputs` is not an array of numbers, or a field of the wrong kind.
          ValueError: a shape that does not fit, or an output size out of reach.
        """
        config = settle_fields(self)
        shape = config.kernel_shape(config.in_features(inputs), self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param(
                "bias", self.bias_init, (self.features,), self.param_dtype
            )
        promote = partial(self.promote_dtype, dtype=self.dtype)
        return config(inputs, kernel, bias, output_size, promote)
