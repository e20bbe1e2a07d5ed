"""One artefact serves every platform, and symbolic sizes."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jconvt
from jconvt._lowerings import LOWERINGS
from jconvt._recipe import geometry_of, normalize_options

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
LAYERS = {  # weight, options
    "overlap": ((4, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "overlap_even": ((4, 3, 4), {"stride": 2, "padding": 1}),
    "blocks": ((4, 3, 2, 2), {"stride": 2}),
    "grouped": ((4, 2, 3), {"stride": 3, "dilation": 2, "groups": 2}),
    "added": ((4, 3, 3), {"stride": 2, "padding": [(2, -3)]}),
    "same": ((4, 3, 3), {"stride": 2, "padding": "SAME"}),
    "circular": ((4, 3, 5), {"stride": 2, "padding": "CIRCULAR"}),
}
layers = pytest.mark.parametrize("layer", LAYERS)


def apply(layer, lowering="auto"):
    return functools.partial(
        jconvt.conv_transpose, **LAYERS[layer][1], lowering=lowering
    )


def training(f):
    """Value and gradients in one program."""

    def run(x, w):
        y, pull = jax.vjp(f, x, w)
        return y, pull(y)

    return run


def operands(layer, batch=2, size=4):
    """Small integers, so that sums are exact in any order."""
    w_shape, _ = LAYERS[layer]
    x_shape = (batch, 4, *range(size, size + len(w_shape) - 2))
    rng = np.random.default_rng(size)
    draw = functools.partial(rng.integers, -3, 4)
    return [jnp.asarray(draw(s), jnp.float32) for s in (x_shape, w_shape)]


@functools.cache
def trained(layer, batch, size):
    return jax.jit(training(apply(layer)))(*operands(layer, batch, size))


def symbolic(layer, input="b, _, h, w"):
    x, w = operands(layer)
    letters = ", ".join(input.split(", ")[: x.ndim])
    return export.symbolic_args_specs((x, w), (letters, ", ".join("_" * w.ndim)))


def exported(f, *args, platforms=PLATFORMS):
    """The artefact, through its bytes."""
    artefact = export.export(jax.jit(f), platforms=platforms)(*args)
    return export.deserialize(artefact.serialize())


def assert_equal(actual, desired):
    same = functools.partial(np.testing.assert_allclose, rtol=1e-6)
    jax.tree.map(same, actual, desired)


# Platforms ----------------------------------------------------------------------------


@layers
def test_one_artefact_for_every_platform(layer):
    arrays = operands(layer)
    artefact = exported(training(apply(layer)), *arrays)
    assert artefact.platforms == PLATFORMS
    assert_equal(artefact.call(*arrays), trained(layer, 2, 4))


def test_gradients_of_a_stored_forward():
    """The artefact carries its derivatives, if asked to."""
    x, w = operands("overlap")
    f = apply("overlap")
    stored = export.export(jax.jit(f), platforms=PLATFORMS)(x, w).serialize(vjp_order=2)
    call = export.deserialize(stored).call
    assert_equal(jax.jit(training(call))(x, w), trained("overlap", 2, 4))

    def curvature(f):
        gradient = jax.grad(lambda x: jnp.sum(f(x, w) ** 2))
        return jax.jit(jax.grad(lambda x: jnp.vdot(gradient(x), x)))(x)

    assert_equal(curvature(call), curvature(f))


def dilated(artefact):
    text = artefact.mlir_module()
    return [d for d in re.findall(r"lhs_dilate = \[([\d, ]+)\]", text) if "2" in d]


@pytest.mark.parametrize(
    ("platform", "convolutions"), [("cpu", 0), ("cuda", 1), ("rocm", 1)]
)
def test_each_platform_has_its_own_formulation(platform, convolutions):
    """And its program holds no other one's."""
    arrays = operands("blocks", batch=64, size=32)
    artefact = exported(apply("blocks"), *arrays, platforms=(platform,))
    assert len(dilated(artefact)) == convolutions


# Symbolic sizes -----------------------------------------------------------------------


def serves(lowering, layer):
    (_, _, *kernel), options = LAYERS[layer]
    checked = normalize_options("test", len(kernel), **options)
    geometry = geometry_of(checked, tuple(kernel))
    return LOWERINGS[lowering].refuses(geometry, static=False) is None


SYMBOLIC = [("auto", layer) for layer in LAYERS] + [
    (lowering, layer)
    for lowering in LOWERINGS
    for layer in ("overlap_even", "blocks", "grouped", "circular")
    if serves(lowering, layer)
]


@pytest.mark.parametrize(("lowering", "layer"), SYMBOLIC)
def test_symbolic_batch_and_space(lowering, layer):
    artefact = exported(training(apply(layer, lowering)), *symbolic(layer))
    for sizes in ((2, 4), (1, 1)):
        actual = artefact.call(*operands(layer, *sizes))
        assert_equal(actual, trained(layer, *sizes))


@pytest.mark.parametrize(
    "lowering", [name for name, row in LOWERINGS.items() if row.static_space]
)
def test_symbolic_space_is_refused_where_ints_are_needed(lowering):
    f = apply("overlap", lowering)
    with pytest.raises(ValueError, match=f"{lowering}.*plain ints, not symbolic"):
        exported(f, *symbolic("overlap"))
    artefact = exported(training(f), *symbolic("overlap", "b, _, _"))
    arrays = operands("overlap", 3)
    assert_equal(artefact.call(*arrays), trained("overlap", 3, 4))


@layers
def test_output_shape_of_symbolic_sizes(layer):
    x, w = symbolic(layer)
    artefact = export.export(jax.jit(apply(layer)))(x, w)
    (aval,) = artefact.out_avals
    shape = jconvt.output_shape(x.shape, w.shape, **LAYERS[layer][1])
    assert shape == aval.shape
    assert not all(isinstance(n, int) for n in shape[2:])


def test_symbolic_output_size():
    """Twice the input's size, which a kernel of three reaches but does not imply."""

    def double(x, w):
        size = [2 * n for n in x.shape[2:]]
        return jconvt.conv_transpose1d(x, w, stride=2, padding=1, output_size=size)

    artefact = exported(training(double), *symbolic("overlap"))
    assert_equal(artefact.call(*operands("overlap")), trained("overlap", 2, 4))


def test_symbolic_output_size_out_of_reach():
    def triple(x, w):
        return jconvt.conv_transpose(x, w, stride=2, output_size=3 * x.shape[2])

    with pytest.raises(ValueError, match="`output_size` must lie between"):
        exported(triple, *symbolic("blocks"))


def test_symbolic_unbatched():
    x, w = operands("overlap_even")
    (spec,) = export.symbolic_args_specs((x[0],), "_, n")
    artefact = exported(training(apply("overlap_even")), spec, w)
    desired = jax.jit(training(apply("overlap_even")))(x[0], w)
    assert_equal(artefact.call(x[0], w), desired)
