"""A Flax layer and ours of either API, as functions of their parameters."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx

import jconvt.linen
import jconvt.nnx

# Without optimization of the machine code: compiling is nearly all of the time.
quick_jit = jax.jit(
    lambda f, *args: f(*args),
    static_argnums=0,
    compiler_options={"xla_backend_optimization_level": 0},
)


class Nnx:
    """The two packages, and layers of them as functions of a dict of parameters."""

    flax, ours = nnx, jconvt.nnx

    @staticmethod
    def make(package, in_features, features, kernel_size, **fields):
        # Zeros where a test does not say otherwise: random bits take long to compile.
        fields = {"kernel_init": blank_init, "bias_init": blank_init} | fields
        return package.ConvTranspose(
            in_features, features, kernel_size, **fields, rngs=nnx.Rngs(0)
        )

    @staticmethod
    def parameters(layer, x):
        del x
        return {k: leaf[...] for k, leaf in nnx.state(layer, nnx.Param).items()}

    @staticmethod
    def apply(layer, parameters, *args, **kwargs):
        state = nnx.state(layer)
        for name, value in parameters.items():
            state[name] = nnx.Param(value)
        return nnx.merge(nnx.graphdef(layer), state)(*args, **kwargs)

    @staticmethod
    def promote_operands(arrays, *, dtype):
        """A `promote_dtype` that leaves the bias as it is."""
        x, kernel, bias = arrays
        return x.astype(dtype), kernel.astype(dtype), bias


class Linen:
    """The same of Linen."""

    flax, ours = nn, jconvt.linen

    @staticmethod
    def make(package, in_features, features, kernel_size, **fields):
        del in_features
        fields = {"kernel_init": blank_init, "bias_init": blank_init} | fields
        return package.ConvTranspose(features, kernel_size, **fields)

    @staticmethod
    def parameters(layer, x):
        return layer.init(jax.random.key(0), x)["params"]

    @staticmethod
    def apply(layer, parameters, *args, **kwargs):
        return layer.apply({"params": parameters}, *args, **kwargs)

    @staticmethod
    def promote_operands(x, kernel, bias, *, dtype):
        """A `promote_dtype` that leaves the bias as it is."""
        return x.astype(dtype), kernel.astype(dtype), bias


FLAVOURS = {"nnx": Nnx, "linen": Linen}


def whole(seed, shape, dtype=np.float32):
    """Small integers in floating point, so that sums are exact in any order."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype)


def blank_init(key, shape, dtype=jnp.float32):
    """An initializer of zeros."""
    del key
    return jnp.asarray(np.zeros(shape, dtype))


def results(functions, parameters, x):
    """Of each function its output and gradients, by parameters and a floating input.

    In one program: what the functions have in common is compiled once.
    """

    def one(f, parameters, x):
        operands = (parameters, x)
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            operands, f = (parameters,), lambda p, f=f: f(p, x)
        y, pull = jax.vjp(f, *operands)
        return y, pull(jnp.asarray(whole(5, y.shape)).astype(y.dtype))

    def run(parameters, x):
        return [one(f, parameters, x) for f in functions]

    return quick_jit(run, parameters, x)


def assert_same(tree, other):
    """Equal structures, dtypes, shapes and values."""
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.astype("complex128"), b.astype("complex128"))
