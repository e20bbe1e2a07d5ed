"""`PortedLayer`: parameters in our layout, and all else of the source as options."""

import typing
from dataclasses import dataclass
from typing import Any, Self

import jax
from jax.tree_util import GetAttrKey, register_pytree_with_keys_class
from jax.typing import ArrayLike

from jconvt._call.arguments import IntOrInts, check_ints
from jconvt._call.layout import dimension_numbers
from jconvt._call.tracebacks import ends_traceback
from jconvt.interop._config import PortedConfig

if typing.TYPE_CHECKING:
    from flax import linen, nnx


@register_pytree_with_keys_class
# jax.jit(layer) keeps what it has compiled by a weak reference.
@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False, repr=False)
class PortedLayer:
    """A transposed convolution read from another framework.

    It takes and gives data in the source's layout: channels last from Keras, Flax and
    Haiku (unless they say otherwise), channels first from PyTorch, MindSpore, Equinox
    and ONNX. It is a pytree: `weight` and `bias` are its leaves, all else is static, so
    that it goes through `jax.jit` and `jax.grad`, and an optimizer updates it. Make one
    with the functions ``from_*`` of `jconvt.interop`.

    Attributes:
      weight: ``(C_in, C_out/groups, *K)``, whatever the source's layout was.
      bias: ``(C_out,)``, or None.
      config: the rest, hashable; `options` shows it as keyword arguments.

    Example:
      >>> import jax, numpy as np
      >>> from jconvt.interop import from_mindspore
      >>> up = from_mindspore({"weight": np.ones((8, 4, 4, 4)), "bias": np.zeros(4)},
      ...                     stride=2, padding=1)
      >>> up
      PortedLayer(8, 4, kernel_size=(4, 4), stride=(2, 2), padding=((1, 1), (1, 1)))
      >>> up.apply(np.ones((1, 8, 5, 5))).shape
      (1, 4, 10, 10)
      >>> gradient = jax.grad(lambda up: up.apply(np.ones((1, 8, 5, 5))).sum())(up)
      >>> gradient.weight.shape, gradient.bias.shape
      ((8, 4, 4, 4), (4,))
    """

    weight: jax.Array
    bias: jax.Array | None
    config: PortedConfig

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments with which `jconvt.conv_transpose` computes the same.

        One thing they leave out is a `dtype` that the source casts to. Where the crop
        depends on the input's size (ONNX's `output_shape`), they state the size alone,
        and `conv_transpose` refuses an input of which it would have to crop: see
        `for_input`.
        """
        config, options = self.config, self.config.options
        numbers = dimension_numbers(options.rank, config.channels_last)
        size = config.output_size if config.fixed is None else config.fixed.size
        more = {
            "output_size": size,
            "precision": config.precision,
            "preferred_element_type": config.preferred_element_type,
        }
        said = {name: value for name, value in more.items() if value is not None}
        return {**options.keywords, "dimension_numbers": numbers, **said}

    @ends_traceback
    def for_input(self, input_size: IntOrInts) -> Self:
        """The layer for inputs of one spatial size, where its crop depends on that.

        Of a layer whose crop does not, which is any but one of ONNX with an
        `output_shape`: the layer itself.

        Args:
          input_size: input elements per spatial axis, an int or one for each.

        Returns:
          A layer with a fixed `padding`, which refuses inputs of any other size.

        Raises:
          TypeError: `input_size` is not ints.
          ValueError: it is not one for each axis, or negative.
        """
        config = self.config
        if config.fixed is None:
            return self
        size = check_ints(
            "PortedLayer.for_input", "input_size", input_size, config.options.rank, 0
        )
        config = config.for_input(self.weight.shape[2:], size)
        return type(self)(self.weight, self.bias, config)

    @ends_traceback
    def apply(self, x: ArrayLike, output_size: IntOrInts | None = None) -> jax.Array:
        """The layer's output.

        Args:
          x: ``(N, C_in, *S)`` or ``(N, *S, C_in)``, as the source has it; unbatched
            without N, or with several batch axes in its place.
          output_size: the output's spatial size, an int or one for each axis, or a
            whole output shape such as ``skip.shape``, whose spatial entries count. It
            replaces the layer's `output_padding`, as at the call of PyTorch's layers.

        Returns:
          The output, in the layout of `x`.

        Raises:
          TypeError: `x` is not an array of numbers, or `output_size` not ints.
          ValueError: a shape that does not fit, or an output size out of reach.
        """
        return self.config(x, self.weight, self.bias, output_size)

    @ends_traceback
    def __call__(self, x: ArrayLike, output_size: IntOrInts | None = None) -> jax.Array:
        """The layer's output, as `apply` gives it.

        Args:
          x: as in `apply`.
          output_size: as in `apply`.

        Returns:
          The output, in the layout of `x`.

        Raises:
          TypeError: as `apply`.
          ValueError: as `apply`.
        """
        return self.apply(x, output_size)

    @ends_traceback
    def to_nnx(self) -> "nnx.Module":
        """A Flax NNX layer with these parameters, for data in the same layout.

        Where one takes the options, `jconvt.nnx.ConvTranspose1d`, ``2d`` or ``3d``.
        For another rank, for integers or for an output size that the source fixes: a
        module that computes the same, with `nnx.Param` ``weight`` and ``bias`` of the
        same names and layouts.

        Returns:
          The layer.

        Raises:
          ImportError: Flax is not installed.
        """
        from jconvt.interop._nnx import layer_of

        return layer_of(self.config, self.weight, self.bias)

    @ends_traceback
    def to_linen(self) -> "tuple[linen.Module, dict[str, Any]]":
        """A Flax Linen layer, and its variables; as `to_nnx`.

        Returns:
          The module, and ``{"params": {"weight": ..., "bias": ...}}``.

        Raises:
          ImportError: Flax is not installed.
        """
        from jconvt.interop._linen import layer_of

        return layer_of(self.config, self.weight, self.bias)

    def tree_flatten_with_keys(self) -> tuple[Any, PortedConfig]:
        """For JAX: the parameters by name, and the rest."""
        children = ((GetAttrKey(n), getattr(self, n)) for n in ("weight", "bias"))
        return tuple(children), self.config

    @classmethod
    def tree_unflatten(cls, config: PortedConfig, children: tuple[Any, Any]) -> Self:
        """For JAX, which puts any objects in the place of the parameters."""
        return cls(*children, config)

    def __repr__(self) -> str:
        config, options = self.config, self.config.options
        rank = options.rank
        shape = getattr(self.weight, "shape", None)
        channels: list[object] = []
        kernel_size: object = None
        if shape is not None:
            channels = [shape[0], shape[1] * options.groups]
            kernel_size = tuple(shape[2:])
        # name, value, the value that goes without saying
        rows: list[tuple[str, object, object]] = [
            ("kernel_size", kernel_size, None),
            ("stride", options.stride, (1,) * rank),
            ("padding", options.padding, ((0, 0),) * rank),
            ("output_padding", options.output_padding, (0,) * rank),
            ("output_size", config.fixed.size if config.fixed else None, None),
            ("output_size", config.output_size, None),
            ("groups", options.groups, 1),
            ("bias", self.bias is not None, True),
            ("dilation", options.dilation, (1,) * rank),
            ("channels_last", config.channels_last, False),
            ("dtype", config.dtype and config.dtype.name, None),
        ]
        said = [f"{name}={value!r}" for name, value, unsaid in rows if value != unsaid]
        return f"PortedLayer({', '.join([*map(str, channels), *said])})"
