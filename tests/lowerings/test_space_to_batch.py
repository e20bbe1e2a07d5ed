"""How the first spatial axis is cut into strips, which are one batch."""

import itertools

import jax
import jax.numpy as jnp
import pytest

import jconvt
from jconvt._call.geometry import Geometry
from jconvt._lowerings.space_to_batch import SUBLANES, strips_of

GRID = [
    pytest.param(k, s, d, id=f"k{k}_s{s}_d{d}")
    for k, s, d in [(1, 1, 1), (2, 2, 1), (4, 2, 1), (3, 2, 1), (5, 3, 2), (2, 5, 1)]
]


def cut(k, s, d, crop, n, batch=1):
    geometry = Geometry(
        kernel_size=(k,), stride=(s,), dilation=(d,), crop=(crop,), groups=1
    )
    return geometry, strips_of(geometry, (n,), batch)


def reaching(geometry, n, outputs):
    """The input elements that add to some of the outputs, by the scatter."""
    (axis,) = geometry.axes
    kept = set(outputs) & set(range(axis.output_size(n)))
    return {
        i
        for i in range(n)
        for t in range(axis.kernel_size)
        if i * axis.stride + t * axis.dilation - axis.low in kept
    }


@pytest.mark.parametrize(("k", "s", "d"), GRID)
def test_each_strip_reads_all_that_reaches_it(k, s, d):
    extent = d * (k - 1) + 1
    crops = itertools.product({0, extent // 2, extent - 1}, repeat=2)
    for n, crop in itertools.product([7, 12, 29], crops):
        geometry, found = cut(k, s, d, crop, n)
        assert found is not None
        assert 1 < found.number <= SUBLANES
        step = found.blocks * s
        assert found.number * step >= geometry.axes[0].output_size(n)
        assert (found.number - 1) * step < geometry.axes[0].output_size(n)
        for strip in range(found.number):
            first = strip * found.blocks + found.start
            read = set(range(first, first + found.window))
            outputs = range(strip * step, (strip + 1) * step)
            assert reaching(geometry, n, outputs) <= read


@pytest.mark.parametrize(
    ("batch", "number"), [(1, 8), (2, 4), (3, 2), (4, 2), (5, None), (8, None)]
)
def test_the_batch_is_filled_up_to_the_sublanes(batch, number):
    _, found = cut(4, 2, 1, (1, 1), 64, batch)
    assert (found and found.number) == number


def test_no_strip_is_smaller_than_the_kernel():
    """Or XLA takes it for the kernel."""
    _, found = cut(16, 8, 1, (4, 4), 64)
    assert found.window >= 16
    assert found.number == 4
    assert cut(16, 8, 1, (4, 4), 16)[1] is None


def test_a_symbolic_batch_is_not_cut():
    (batch,) = jax.export.symbolic_shape("b")
    assert cut(4, 2, 1, (1, 1), 64, batch)[1] is None


def test_one_convolution_of_eight_images():
    def f(x, w):
        return jconvt.conv_transpose2d(
            x, w, stride=2, padding=1, lowering="space_to_batch"
        )

    x, w = jnp.ones((1, 3, 16, 8)), jnp.ones((3, 5, 4, 4))
    text = jax.jit(f).trace(x, w).lower(lowering_platforms=("tpu",)).as_text()
    (line,) = [row for row in text.splitlines() if "stablehlo.convolution" in row]
    assert "tensor<8x3x4x8xf32>" in line  # two blocks, and a neighbour on each side
    assert "tensor<8x5x4x16xf32>" in line
