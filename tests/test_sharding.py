"""Sharded arrays give what unsharded ones do, under each of JAX's three regimes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jconvt
from jconvt._lowerings import LOWERINGS
from jconvt._recipe import geometry_of, normalize_options

P = PartitionSpec
LAYERS = {  # input, weight, options
    "overlap": ((4,), (8, 8, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "overlap_even": ((4,), (8, 8, 4), {"stride": 2, "padding": 1}),
    "blocks": ((3, 2), (8, 8, 2, 2), {"stride": 2}),
    "grouped": ((4,), (8, 4, 3), {"stride": 2, "dilation": 3, "groups": 2}),
    "circular": ((4,), (8, 8, 5), {"stride": 2, "padding": "CIRCULAR"}),
}
layers = pytest.mark.parametrize("layer", LAYERS)


def serves(lowering, layer):
    _, (_, _, *kernel), options = LAYERS[layer]
    checked = normalize_options("test", len(kernel), **options)
    geometry = geometry_of(checked, tuple(kernel))
    return LOWERINGS[lowering].unsupported(geometry) is None


PAIRS = [("auto", layer) for layer in LAYERS] + [
    (lowering, layer)
    for lowering in LOWERINGS
    for layer in ("overlap_even", "blocks", "grouped")
    if serves(lowering, layer)
]


def operands(layer):
    """Input, weight and bias of small integers, so that sums are exact in any order."""
    space, weight, _ = LAYERS[layer]
    draw = functools.partial(np.random.default_rng(0).integers, -3, 4)
    shapes = ((8, 8, *space), weight, (8,))
    return [draw(shape).astype(np.float32) for shape in shapes]


def training(layer, lowering="auto", wrap=lambda f: f):
    """Value and gradients in one program."""
    f = functools.partial(jconvt.conv_transpose, **LAYERS[layer][2], lowering=lowering)

    def run(*arrays):
        y, pull = jax.vjp(wrap(f), *arrays)
        return y, pull(y)

    return run


# Without optimization of the machine code: compiling is nearly all of the time.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


@functools.cache
def unsharded(layer):
    return quick_jit(training(layer))(*operands(layer))


def make_mesh(kind):
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices")
    return jax.make_mesh((8,), ("rows",), axis_types=(kind,))


def assert_equal(actual, desired):
    same = functools.partial(np.testing.assert_allclose, rtol=1e-6)
    jax.tree.map(same, actual, desired)


def place(mesh, arrays, specs):
    return [
        jax.device_put(a, NamedSharding(mesh, spec))
        for a, spec in zip(arrays, specs, strict=True)
    ]


BATCH = (P("rows"), P(), P())


@pytest.mark.parametrize(("lowering", "layer"), PAIRS)
def test_shard_map_over_the_batch(lowering, layer):
    """With its check that what is replicated is: gradients of weight and bias are."""
    mesh = make_mesh(AxisType.Auto)
    wrap = functools.partial(
        jax.shard_map, mesh=mesh, in_specs=BATCH, out_specs=P("rows"), check_vma=True
    )
    run = quick_jit(training(layer, lowering, wrap))
    assert_equal(run(*operands(layer)), unsharded(layer))


# JAX refuses to merge groups with a sharded batch; `auto` never takes this one.
@pytest.mark.parametrize(
    ("lowering", "layer"), [p for p in PAIRS if p != ("role_swapped", "grouped")]
)
def test_explicit_sharding_over_the_batch(lowering, layer):
    mesh = make_mesh(AxisType.Explicit)
    with jax.set_mesh(mesh):
        arrays = place(mesh, operands(layer), BATCH)
        y, (dx, dw, db) = quick_jit(training(layer, lowering))(*arrays)
    assert_equal((y, (dx, dw, db)), unsharded(layer))
    assert jax.typeof(y).sharding.spec[0] == jax.typeof(dx).sharding.spec[0] == "rows"
    assert dw.sharding.is_fully_replicated
    assert db.sharding.is_fully_replicated


@layers
def test_explicit_sharding_of_an_eager_call(layer):
    mesh = make_mesh(AxisType.Explicit)
    with jax.set_mesh(mesh):
        arrays = place(mesh, operands(layer), BATCH)
        y = jconvt.conv_transpose(*arrays, **LAYERS[layer][2])
    assert_equal(y, unsharded(layer)[0])
    assert jax.typeof(y).sharding.spec[0] == "rows"


AUTOMATIC = {
    "batch": BATCH,
    "input_channels": (P(None, "rows"), P("rows"), P()),
    "output_channels": (P(), P(None, "rows"), P("rows")),
}


@pytest.mark.parametrize("specs", AUTOMATIC.values(), ids=AUTOMATIC)
@pytest.mark.parametrize("layer", ["overlap", "blocks", "circular"])
def test_automatic_sharding(layer, specs):
    mesh = make_mesh(AxisType.Auto)
    shardings = tuple(NamedSharding(mesh, spec) for spec in specs)
    run = quick_jit(training(layer), in_shardings=shardings)
    assert_equal(run(*operands(layer)), unsharded(layer))


@layers
def test_automatic_sharding_over_the_batch_gathers_nothing(layer):
    """Each device works on its rows; only the gradients' sums travel."""
    mesh = make_mesh(AxisType.Auto)
    rows, whole = (NamedSharding(mesh, P(*p)) for p in (("rows",), ()))
    run = quick_jit(
        training(layer),
        in_shardings=(rows, whole, whole),
        out_shardings=(rows, (rows, whole, whole)),
    )
    text = run.lower(*map(jnp.asarray, operands(layer))).compile().as_text()
    for moved in ("all-gather", "all-to-all", "collective-permute"):
        assert moved not in text
    assert "all-reduce" in text
