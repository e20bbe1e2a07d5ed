"""What the tests of `jconvt.interop` share.

All arrays hold small whole numbers, so that every sum is exact in float32 and equal
means equal, for gradients too.
"""

import zlib

import jax
import numpy as np
import pytest


def whole(*shape, name=""):
    """Whole numbers, the same for the same shape and name."""
    rng = np.random.default_rng(zlib.crc32(repr((shape, name)).encode()))
    return rng.integers(-4, 5, shape).astype(np.float32)


def same(actual, desired):
    """Equal shape, dtype and elements."""
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.dtype == desired.dtype
    np.testing.assert_array_equal(actual, desired)


def same_trees(actual, desired):
    """`same` for each leaf."""
    leaves = jax.tree.leaves(desired)
    assert jax.tree.structure(actual) == jax.tree.structure(desired)
    for one, other in zip(jax.tree.leaves(actual), leaves, strict=True):
        same(one, other)


def with_gradients(function, *arguments, cotangent=None):
    """The value, and the gradients of its product with `cotangent` or whole numbers."""

    @jax.jit
    def run(*arguments):
        y, pull = jax.vjp(function, *arguments)
        return y, pull(whole(*y.shape) if cotangent is None else cotangent)

    return run(*arguments)


def same_layers(actual, desired):
    """Ported layers of equal parameters and options."""
    assert actual.options == desired.options
    same(actual.weight, desired.weight)
    assert (actual.bias is None) == (desired.bias is None)
    if actual.bias is not None:
        same(actual.bias, desired.bias)


def onnx_node_tests(monkeypatch):
    """The standard's ConvTranspose tests: (node, inputs, outputs), with literal values.

    ONNX's own loader would build the tests of all other operators too.
    """
    module = pytest.importorskip(
        "onnx.backend.test.case.node.convtranspose", reason="has ONNX's node tests"
    )
    found = []
    monkeypatch.setattr(
        module,
        "expect",
        lambda node, inputs, outputs, name: found.append((node, inputs, outputs)),
    )
    for name, export in vars(module.ConvTranspose).items():
        if name.startswith("export"):
            export.__func__()
    assert len(found) >= 11
    return found
