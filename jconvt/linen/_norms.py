"""Weight and spectral norm of the layers, as PyTorch's parametrizations."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from flax import errors
from flax import linen as nn
from flax.core import meta

from jconvt._call.tracebacks import ends_traceback
from jconvt._layers import norms
from jconvt._layers.flax import settle_fields
from jconvt.linen._drop_in import ConvTranspose
from jconvt.linen._torch import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d

Layer = ConvTranspose | ConvTranspose1d | ConvTranspose2d | ConvTranspose3d


class WeightNorm(nn.Module):
    """Weight norm (arXiv:1602.07868) of a layer: PyTorch's, for Linen.

    The layer's weight becomes ``scale * weight / norm(weight)``, with a norm for each
    place of axis `dim`, and is trained by its direction, which is the layer's own
    parameter, and its ``scale``. A new scale is the norm of the weight, so that nothing
    changes at first.

    `flax.linen.WeightNorm` does the same, with scales of 1 at first, where one axis of
    the kernel is the weight's: ``feature_axes=0`` with ``variable_filter={"weight"}``
    for the layers with PyTorch's weight, and for a `ConvTranspose` -1 with
    ``transpose_kernel=True`` and else, for one group, -2.

    Attributes:
      layer_instance: a layer of this package.
      dim: the axis of the weight ``(C_in, C_out/groups, *K)`` that keeps its norms, in
        that order of axes whatever the layer's own: 0, PyTorch's default, is the
        *input* channels. None: one norm for all.

    Raises:
      TypeError: at the call, not a layer of this package, or `dim` not an int or None.
      ValueError: at the call, `dim` is not an axis of the weight.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jconvt.linen
      >>> up = jconvt.linen.ConvTranspose1d(8, 4, 16, 8, padding=4)
      >>> normed = jconvt.linen.WeightNorm(up)
      >>> x = jnp.ones((1, 8, 10))
      >>> variables = normed.init(jax.random.key(0), x)
      >>> variables["params"]["scale"].shape
      (8, 1, 1)
      >>> normed.apply(variables, x).shape
      (1, 4, 80)
    """

    layer_instance: Layer
    dim: int | None = 0

    @nn.compact
    @ends_traceback
    def __call__(self, *args: Any, **kwargs: Any) -> jax.Array:
        """Call the layer with the normalized weight.

        Args:
          *args: the layer's arguments.
          **kwargs: the layer's arguments.

        Returns:
          What the layer returns.
        """
        return _call_with(self, self.layer_instance, self._normalized, args, kwargs)

    def _normalized(self, weight: jax.Array) -> jax.Array:
        dim = self.dim
        if dim is not None:
            dim = norms.check_axis("WeightNorm", dim, weight.ndim)
        scale = self.param("scale", lambda _: norms.magnitude(weight, dim))
        return norms.weight_normalized(weight, scale, dim)

    def _normalized_parameter(self) -> jax.Array:
        """The layer's parameter as it is applied now; binds the layer."""
        scale = read_variable(self, "params", "scale")
        return _normalized_of(
            self.layer_instance,
            lambda weight: norms.weight_normalized(weight, scale, self.dim),
        )


class SpectralNorm(nn.Module):
    """Spectral norm (arXiv:1802.05957) of a layer: PyTorch's, for Linen.

    The layer's weight is divided by the first singular value of the matrix whose rows
    are axis `dim` and whose columns are all others, as power iteration estimates it
    from two vectors, ``u`` and ``v``, which are variables of this module. The layer's
    own parameter is trained.

    `flax.linen.SpectralNorm` takes the kernel's *last* axis as the rows. That is the
    right one for a `ConvTranspose` with a plain kernel and one group, not for one with
    a transposed kernel or the layers with PyTorch's weight; and it iterates in
    evaluation too.

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
    @ends_traceback
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
        norms.check_steps("SpectralNorm", self.n_steps)
        normalize = partial(self._normalized, update_stats)
        return _call_with(self, self.layer_instance, normalize, args, kwargs)

    def _normalized(self, update_stats: bool, weight: jax.Array) -> jax.Array:
        dim = norms.check_axis("SpectralNorm", self.dim, weight.ndim)
        is_new = not self.has_variable(self.collection_name, "u")
        started = (None, None)
        if is_new:
            keys = self.make_rng("params"), self.make_rng("params")
            started = norms.starting_vectors(weight, dim, keys, self.epsilon)
        u, v = (
            self.variable(self.collection_name, name, lambda start=start: start)
            for name, start in zip("uv", started, strict=True)
        )
        if update_stats and not self.is_initializing():
            u.value, v.value = norms.power_iteration(
                weight, dim, (u.value, v.value), self.n_steps, self.epsilon
            )
        return norms.spectral_normalized(weight, dim, (u.value, v.value))

    def _normalized_parameter(self) -> jax.Array:
        """The layer's parameter as it is applied now; binds the layer."""
        u, v = (read_variable(self, self.collection_name, name) for name in "uv")
        return _normalized_of(
            self.layer_instance,
            lambda weight: norms.spectral_normalized(weight, self.dim, (u, v)),
        )


def _call_with(
    norm: nn.Module,
    layer: Any,
    normalize: Callable[[jax.Array], jax.Array],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> jax.Array:
    """Call a layer with ``normalize`` of its weight ``(C_in, C_out/groups, *K)``."""
    if not isinstance(
        layer, ConvTranspose | ConvTranspose1d | ConvTranspose2d | ConvTranspose3d
    ):
        raise TypeError(
            f"{type(norm).__name__}: `layer_instance` must be a ConvTranspose or "
            f"ConvTranspose1d, 2d or 3d of jconvt.linen; got {type(layer).__name__}."
        )
    name = parameter_name(layer)
    stored: dict[str, Any] = {}

    def transform(variables: Any) -> Any:
        parameters = variables["params"]
        if name not in parameters:
            return variables  # the layer is about to create them
        boxed = stored[name] = parameters[name]
        normalized = _of_parameter(layer, normalize, meta.unbox(boxed))
        new = meta.replace_boxed(boxed, normalized)
        return {**variables, "params": {**parameters, name: new}}

    def restore(variables: Any) -> Any:
        """Where parameters are mutable, as in `init`, the layer's own is kept."""
        if "params" not in variables:
            return variables
        return {**variables, "params": {**variables["params"], **stored}}

    return nn.map_variables(
        lambda layer: layer(*args, **kwargs),
        trans_in_fn=transform,
        trans_out_fn=restore,
        init=norm.is_initializing(),
        mutable=True,
    )(layer)


def parameter_name(layer: Layer) -> str:
    """The name of the parameter that holds the weight."""
    return "kernel" if isinstance(layer, ConvTranspose) else "weight"


def read_variable(module: nn.Module, collection: str, name: str) -> jax.Array:
    """A variable of a bound module outside of its call, or Flax's error."""
    if not module.has_variable(collection, name):
        path = "/" + "/".join(module.path)
        raise errors.ScopeVariableNotFoundError(name, collection, path)
    return meta.unbox(module.get_variable(collection, name))


def _normalized_of(
    layer: Layer, normalize: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """The parameter of a bound layer, normalized."""
    parameter = read_variable(layer, "params", parameter_name(layer))
    return _of_parameter(layer, normalize, parameter)


def _of_parameter(
    layer: Layer, normalize: Callable[[jax.Array], jax.Array], parameter: jax.Array
) -> jax.Array:
    """``normalize`` of a weight ``(C_in, C_out/groups, *K)``, as a layer holds it."""
    if not isinstance(layer, ConvTranspose):
        return normalize(parameter)
    kernel = settle_fields(layer).kernel
    return kernel.kernel(normalize(kernel.weight(parameter)))
