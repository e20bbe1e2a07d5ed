"""Weight and spectral norm of the layers, as PyTorch's parametrizations."""

from copy import copy
from typing import Any, Generic, TypeVar

import jax
from flax import nnx

from jconvt._call.tracebacks import ends_traceback
from jconvt._layers import norms
from jconvt._layers.flax import settle_fields
from jconvt.nnx._drop_in import ConvTranspose
from jconvt.nnx._rngs import parameter_keys
from jconvt.nnx._signature import shows_constructor
from jconvt.nnx._torch import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d

Layer = ConvTranspose | ConvTranspose1d | ConvTranspose2d | ConvTranspose3d
L = TypeVar("L", bound=Layer)


def _weight(name: str, layer: Any) -> jax.Array:
    """A layer's weight as (C_in, C_out/groups, *K)."""
    if isinstance(layer, ConvTranspose):
        return settle_fields(layer).kernel.weight(layer.kernel[...])
    if isinstance(layer, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d):
        return layer.weight[...]
    raise TypeError(
        f"{name}: `layer_instance` must be a ConvTranspose or ConvTranspose1d, 2d or 3d"
        f" of jconvt.nnx; got {type(layer).__name__}. Layers of Flax become ones by "
        f"jconvt.nnx.replace_conv_transpose."
    )


def _with_weight(layer: L, weight: jax.Array) -> L:
    """The same layer (and the same bias) with another weight."""
    other = copy(layer)
    if isinstance(other, ConvTranspose):
        other.kernel = nnx.Param(settle_fields(other).kernel.kernel(weight))
    else:
        other.weight = nnx.Param(weight)
    return other


@shows_constructor
class WeightNorm(nnx.Module, Generic[L]):
    """Weight norm (arXiv:1602.07868) of a layer: PyTorch's, for NNX.

    The layer's weight becomes ``scale * weight / norm(weight)``, with a norm for each
    place of axis `dim`, and is trained by its direction, which is the layer's own
    parameter, and its `scale`. A new `scale` is the norm of the weight, so that nothing
    changes at first.

    `flax.nnx.WeightNorm` is something else: it overwrites the layer's parameter with
    the normalized one at each call, and its scales are arrays, not parameters.

    Args:
      layer_instance: a layer of this package. It is kept, not copied.
      dim: the axis of the weight ``(C_in, C_out/groups, *K)`` that keeps its norms, in
        that order of axes whatever the layer's own: 0, PyTorch's default, is the
        *input* channels. None: one norm for all.

    Attributes:
      layer_instance: the layer, with the direction as its weight. PyTorch's
        ``parametrizations.weight.original1``.
      scale: `nnx.Param` of the weight's shape with all axes but `dim` of size 1, a
        scalar without `dim`. PyTorch's ``parametrizations.weight.original0``.

    Raises:
      TypeError: not a layer of this package, or `dim` not an int or None.
      ValueError: `dim` is not an axis of the weight.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jconvt.nnx
      >>> up = jconvt.nnx.ConvTranspose1d(8, 4, 16, 8, padding=4, rngs=nnx.Rngs(0))
      >>> normed = jconvt.nnx.WeightNorm(up)
      >>> normed.scale.shape
      (8, 1, 1)
      >>> normed(jnp.ones((1, 8, 10))).shape
      (1, 4, 80)
      >>> normed.normalized()
      ConvTranspose1d(8, 4, kernel_size=(16,), stride=(8,), padding=(4,))
    """

    @ends_traceback
    def __init__(self, layer_instance: L, *, dim: int | None = 0) -> None:
        weight = _weight("WeightNorm", layer_instance)
        self.layer_instance = layer_instance
        self.dim = (
            None if dim is None else norms.check_axis("WeightNorm", dim, weight.ndim)
        )
        self.scale = nnx.Param(norms.magnitude(weight, self.dim))

    @ends_traceback
    def __call__(self, *args: Any, **kwargs: Any) -> jax.Array:
        """Call the layer with the normalized weight.

        Args:
          *args: the layer's arguments.
          **kwargs: the layer's arguments.

        Returns:
          What the layer returns.
        """
        return self.normalized()(*args, **kwargs)

    def normalized(self) -> L:
        """The plain layer with the weight that is applied now, for deployment.

        Returns:
          A layer of the class of `layer_instance`, with the same bias.
        """
        direction = _weight("WeightNorm", self.layer_instance)
        weight = norms.weight_normalized(direction, self.scale[...], self.dim)
        return _with_weight(self.layer_instance, weight)


@shows_constructor
class SpectralNorm(nnx.Module, Generic[L]):
    """Spectral norm (arXiv:1802.05957) of a layer: PyTorch's, for NNX.

    The layer's weight is divided by the first singular value of the matrix whose rows
    are axis `dim` and whose columns are all others, as power iteration estimates it
    from two vectors that the layer keeps. The layer's own parameter is trained.

    `flax.nnx.SpectralNorm` is something else: it overwrites the layer's parameter with
    the normalized one at each call, iterates in evaluation too, and takes the kernel's
    *last* axis as the rows. That is the right one for a `ConvTranspose` with a plain
    kernel and one group, not for one with a transposed kernel or the layers with
    PyTorch's weight.

    Args:
      layer_instance: a layer of this package. It is kept, not copied.
      n_steps: power iterations at each call that updates, PyTorch's
        ``n_power_iterations``.
      epsilon: lower bound of the norms that vectors are divided by.
      dim: the axis of the weight ``(C_in, C_out/groups, *K)``, in that order of axes
        whatever the layer's own: 1, PyTorch's default for these layers.
      update_stats: whether calls iterate and keep the vectors; ``train()`` and
        ``eval()`` of a model switch it.
      rngs: random streams; ``params`` is drawn from for the vectors, which then take
        15 iterations, as in PyTorch.

    Attributes:
      layer_instance: the layer, with the weight before normalization. PyTorch's
        ``parametrizations.weight.original``.
      u, v: `nnx.BatchStat`, the singular vectors. PyTorch's buffers ``_u`` and ``_v``.

    Raises:
      TypeError: not a layer of this package, or an argument of the wrong kind.
      ValueError: `dim` is not an axis of the weight, or no `n_steps`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jconvt.nnx
      >>> rngs = nnx.Rngs(0)
      >>> up = jconvt.nnx.ConvTranspose2d(8, 4, 4, 2, padding=1, rngs=rngs)
      >>> normed = jconvt.nnx.SpectralNorm(up, rngs=rngs)
      >>> normed.u.shape, normed.v.shape
      ((4,), (128,))
      >>> normed(jnp.ones((1, 8, 5, 5))).shape
      (1, 4, 10, 10)
    """

    @ends_traceback
    def __init__(
        self,
        layer_instance: L,
        *,
        n_steps: int = 1,
        epsilon: float = 1e-12,
        dim: int = 1,
        update_stats: bool = True,
        rngs: nnx.Rngs,
    ) -> None:
        weight = _weight("SpectralNorm", layer_instance)
        self.layer_instance = layer_instance
        self.n_steps = norms.check_steps("SpectralNorm", n_steps)
        self.epsilon = epsilon
        self.dim = norms.check_axis("SpectralNorm", dim, weight.ndim)
        # The attribute that `train` and `eval` of a module set.
        self.use_running_average = not update_stats
        key = parameter_keys("SpectralNorm", rngs)
        u, v = norms.starting_vectors(weight, self.dim, (key(), key()), epsilon)
        self.u, self.v = nnx.BatchStat(u), nnx.BatchStat(v)

    @ends_traceback
    def __call__(
        self, *args: Any, update_stats: bool | None = None, **kwargs: Any
    ) -> jax.Array:
        """Call the layer with the normalized weight.

        Args:
          *args: the layer's arguments.
          update_stats: whether to iterate first and keep the vectors. None: as the
            constructor, ``train()`` and ``eval()`` said last.
          **kwargs: the layer's arguments.

        Returns:
          What the layer returns.
        """
        if update_stats is None:
            update_stats = not self.use_running_average
        if update_stats:
            weight = _weight("SpectralNorm", self.layer_instance)
            self.u[...], self.v[...] = norms.power_iteration(
                weight,
                self.dim,
                (self.u[...], self.v[...]),
                self.n_steps,
                self.epsilon,
            )
        return self.normalized()(*args, **kwargs)

    def normalized(self) -> L:
        """The plain layer with the weight that is applied now, for deployment.

        Returns:
          A layer of the class of `layer_instance`, with the same bias.
        """
        weight = _weight("SpectralNorm", self.layer_instance)
        vectors = self.u[...], self.v[...]
        weight = norms.spectral_normalized(weight, self.dim, vectors)
        return _with_weight(self.layer_instance, weight)
