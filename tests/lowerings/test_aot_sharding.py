"""Programs for a TPU v5e slice of eight chips, compiled without one: what travels.

`make test-aot-tpu` installs the compiler.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import jconvt
import jconvt.sharding
from benchmarks.aot.targets import TARGETS

P = PartitionSpec
LAYERS = {  # input, weight, options
    "dcgan-up": ((16, 128, 16, 16), (128, 64, 4, 4), {"stride": 2, "padding": 1}),
    "odd": (
        (8, 64, 16, 16),
        (64, 64, 3, 3),
        {"stride": 2, "padding": 1, "output_padding": 1},
    ),
    "blocks": ((8, 64, 16, 16), (64, 64, 2, 2), {"stride": 2}),
    "signal": ((8, 128, 512), (128, 64, 16), {"stride": 8, "padding": 4}),
    "volume": (
        (8, 32, 16, 16, 16),
        (32, 32, 3, 3, 3),
        {"stride": 2, "padding": 1, "output_padding": 1},
    ),
    "grouped": (
        (8, 64, 16, 16),
        (64, 8, 4, 4),
        {"stride": 2, "padding": 1, "groups": 8},
    ),
    "depthwise": (
        (8, 64, 16, 16),
        (64, 1, 4, 4),
        {"stride": 2, "padding": 1, "groups": 64},
    ),
}
_COLLECTIVE = re.compile(
    r" (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)"
    r"(?:-start)?\("
)


@pytest.fixture(scope="module")
def mesh():
    if missing := TARGETS["tpu"].missing():
        pytest.skip(f"not installed: {', '.join(missing)}; `make test-aot` installs it")
    TARGETS["tpu"].place()  # libtpu is told that there is no TPU here
    devices = topologies.get_topology_desc("v5e:2x4", platform="tpu").devices
    return Mesh(np.array(devices), ("slabs",), axis_types=(AxisType.Auto,))


def training(f):
    def run(x, w):
        y, pull = jax.vjp(f, x, w)
        return y, *pull(y)

    return run


def travelling(f, layer, mesh, spec):
    """The collectives of a training step whose input and output are sharded alike."""
    x, w, _ = LAYERS[layer]
    cut, whole = (NamedSharding(mesh, s) for s in (spec, P()))
    arguments = (
        jax.ShapeDtypeStruct(x, jnp.bfloat16, sharding=cut),
        jax.ShapeDtypeStruct(w, jnp.bfloat16, sharding=whole),
    )
    run = jax.jit(training(f), out_shardings=(cut, cut, whole))
    return set(_COLLECTIVE.findall(run.lower(*arguments).compile().as_text()))


def halo(layer):
    return set() if layer == "blocks" else {"collective-permute"}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_sharded_batch_stays_where_it_is(layer, mesh):
    f = functools.partial(jconvt.conv_transpose, **LAYERS[layer][2])
    assert travelling(f, layer, mesh, P("slabs")) == {"all-reduce"}


# XLA gathers the operands of the weight gradient where there are groups.
@pytest.mark.parametrize("layer", sorted(LAYERS.keys() - {"grouped", "depthwise"}))
def test_neighbours_exchange_the_edges_of_sharded_space(layer, mesh):
    f = functools.partial(jconvt.conv_transpose, **LAYERS[layer][2])
    found = travelling(f, layer, mesh, P(None, None, "slabs"))
    assert found == {*halo(layer), "all-reduce"}


@pytest.mark.parametrize("layer", LAYERS)
def test_so_they_do_where_the_exchange_is_explicit(layer, mesh):
    rest = (None,) * (len(LAYERS[layer][0]) - 3)
    spec = P(None, None, "slabs")
    f = functools.partial(
        jconvt.sharding.conv_transpose, mesh_axes=("slabs", *rest), **LAYERS[layer][2]
    )
    f = jax.shard_map(f, mesh=mesh, in_specs=(spec, P()), out_specs=spec)
    assert travelling(f, layer, mesh, spec) == {*halo(layer), "all-reduce"}
