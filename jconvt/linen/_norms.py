"""Spectral norm of the layers, as PyTorch's parametrization."""

from typing import Any

import jax
from flax import linen as nn
from flax.core import meta

from jconvt import _norms
from jconvt._drop_in import settle_fields
from jconvt.linen._drop_in import ConvTranspose
from jconvt.linen._torch import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d

Layer = ConvTranspose | ConvTranspose1d | ConvTranspose2d | ConvTranspose3d


class SpectralNorm(nn.Module):
    """Spectral norm (arXiv:1802.05957) of a layer: PyTorch's, for Linen.

    The layer's weight is divided by the first singular value of the matrix whose rows
    are axis `dim` and whose columns are all others, as power iteration estimates it
    from two vectors, ``u`` and ``v``, which are variables of this module. The layer's
    own parameter is trained.

    `flax.linen.SpectralNorm` takes the kernel's *last* axis as the rows. That is the
    right one for a `ConvTranspose` with a plain kernel and one group, not for one with
    a transposed kernel or the layers with PyTorch's weight; and it iterates in
    evaluation too. For the weight norm `flax.linen.WeightNorm` is all that is needed:
    PyTorch's axis, the input channels, is ``feature_axes=0`` with
    ``variable_filter={"weight"}`` for the layers with PyTorch's weight, and for a
    `ConvTranspose` of one group -2, or -1 with ``transpose_kernel=True``.

    Attributes:
      layer_instance: a layer of this package.
      n_steps: power iterations at each call that updates, PyTorch's
        ``n_power_iterations``.
      epsilon: lower bound of the norms that vectors are divided by.
      dim: the axis of the weight ``(C_in, C_out/groups, *K)``, in that order of axes
        whatever the layer's own: 1, PyTorch's default for these layers.
      collection_name: of the two vectors, PyTorch's buffers ``_u`` and ``_v``. New ones
        are random with 15 iterations, as in PyTorch.

    Raises:
      TypeError: at the call, not a layer of this package, or a field of the wrong kind.
      ValueError: at the call, `dim` is not an axis of the weight, or no `n_steps`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jconvt.linen
      >>> up = jconvt.linen.ConvTranspose2d(8, 4, 4, stride=2, padding=1)
      >>> normed = jconvt.linen.SpectralNorm(up)
      >>> x = jnp.ones((1, 8, 5, 5))
      >>> variables = normed.init(jax.random.key(0), x, update_stats=False)
      >>> jax.tree.map(jnp.shape, variables["batch_stats"])
      {'u': (4,), 'v': (128,)}
      >>> y, updates = normed.apply(
      ...     variables, x, update_stats=True, mutable=["batch_stats"])
      >>> y.shape
      (1, 4, 10, 10)
    """

    layer_instance: Layer
    n_steps: int = 1
    epsilon: float = 1e-12
    dim: int = 1
    collection_name: str = "batch_stats"

    @nn.compact
    def __call__(self, *args: Any, update_stats: bool, **kwargs: Any) -> jax.Array:
        """Call the layer with the normalized weight.

        Args:
          *args: the layer's arguments.
          update_stats: whether to iterate first and keep the vectors, for which their
            collection must be mutable.
          **kwargs: the layer's arguments.

        Returns:
          What the layer returns.
        """
        layer = self.layer_instance
        if not isinstance(
            layer, ConvTranspose | ConvTranspose1d | ConvTranspose2d | ConvTranspose3d
        ):
            raise TypeError(
                f"SpectralNorm: `layer_instance` must be a ConvTranspose or "
                f"ConvTranspose1d, 2d or 3d of jconvt.linen; got "
                f"{type(layer).__name__}."
            )
        _norms.check_steps("SpectralNorm", self.n_steps)

        def normalize(variables: Any) -> Any:
            parameters = variables["params"]
            name = "kernel" if isinstance(layer, ConvTranspose) else "weight"
            if name not in parameters:
                return variables  # the layer is about to create them
            boxed = parameters[name]
            value = self._normalized(meta.unbox(boxed), update_stats)
            new = meta.replace_boxed(boxed, value)
            return {**variables, "params": {**parameters, name: new}}

        return nn.map_variables(
            lambda layer: layer(*args, **kwargs),
            trans_in_fn=normalize,
            init=self.is_initializing(),
            mutable=True,
        )(layer)

    def _normalized(self, parameter: jax.Array, update_stats: bool) -> jax.Array:
        layer, weight = self.layer_instance, parameter
        kernel = None
        if isinstance(layer, ConvTranspose):
            kernel = settle_fields(layer).kernel
            weight = kernel.weight(parameter)
        dim = _norms.check_axis("SpectralNorm", self.dim, weight.ndim)
        matrix = _norms.matrix_of(weight, dim)
        is_new = not self.has_variable(self.collection_name, "u")
        started = (None, None)
        if is_new:
            keys = self.make_rng("params"), self.make_rng("params")
            started = _norms.starting_vectors(matrix, keys, self.epsilon)
        u, v = (
            self.variable(self.collection_name, name, lambda start=start: start)
            for name, start in zip("uv", started, strict=True)
        )
        if update_stats and not self.is_initializing():
            u.value, v.value = _norms.power_iteration(
                matrix, (u.value, v.value), self.n_steps, self.epsilon
            )
        weight = _norms.spectral_normalized(weight, (u.value, v.value), dim)
        return weight if kernel is None else kernel.kernel(weight)
