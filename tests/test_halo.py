"""`jconvt.sharding.conv_transpose`: shares of space give what the whole gives."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import jconvt
import jconvt.sharding
import oracles
from jconvt._call.geometry import Axis
from jconvt._halo import share_of

P = PartitionSpec
LINE = ("rows",)
LAYERS = {  # space, weight, options, mesh axes
    "doubled": ((16,), (4, 3, 4), {"stride": 2, "padding": 1}, LINE),
    "kernel_is_stride": ((8,), (4, 3, 3), {"stride": 3}, LINE),
    "gaps": ((8,), (4, 3, 2), {"stride": 5, "padding": [(-1, -2)]}, LINE),
    "same": ((16,), (4, 3, 5), {"stride": 2, "padding": "SAME"}, LINE),
    "same_lower": ((16,), (4, 3, 5), {"stride": 2, "padding": "SAME_LOWER"}, LINE),
    "causal": ((16,), (4, 3, 5), {"stride": 2, "padding": "CAUSAL"}, LINE),
    "circular": ((16,), (4, 3, 5), {"stride": 2, "padding": "CIRCULAR"}, LINE),
    "circular_lower": ((8,), (4, 3, 6), {"padding": "CIRCULAR_LOWER"}, LINE),
    "longer_than_a_period": ((8,), (4, 3, 19), {"padding": "CIRCULAR"}, LINE),
    "dilated": ((16,), (4, 3, 3), {"dilation": 3, "padding": 3}, LINE),
    "grouped": ((16,), (4, 2, 4), {"stride": 2, "padding": 1, "groups": 2}, LINE),
    "beyond_a_neighbour": ((8,), (4, 3, 10), {"stride": 2, "padding": 4}, LINE),
    "longer_than_all": ((8,), (4, 3, 41), {"padding": 20}, LINE),
    "grows": ((8,), (4, 3, 9), {}, LINE),  # one output more a device
    "grows_much": ((8,), (4, 3, 34), {"stride": 2}, LINE),
    "shrinks": ((16,), (4, 3, 3), {"stride": 2, "padding": [(5, 4)]}, LINE),
    "appended": ((8,), (4, 3, 4), {"stride": 2, "padding": [(-7, 1)]}, LINE),
    "output_size": (
        (16,),
        (4, 3, 3),
        {"stride": 2, "padding": 1, "output_size": 32},
        LINE,
    ),
    "second_axis": (
        (5, 16),
        (4, 3, 3, 4),
        {"stride": (1, 2), "padding": (0, 1)},
        (None, "rows"),
    ),
    "plane": (
        (4, 8),
        (4, 3, 4, 3),
        {"stride": 2, "padding": [(1, 1), (0, 1)]},
        ("rows", "columns"),
    ),
    "plane_drifts": ((4, 4), (4, 3, 3, 5), {}, ("rows", "columns")),
    "channels_last": (
        (8, 3),
        (3, 3, 4, 5),
        {"stride": 2, "padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")},
        ("rows", None),
    ),
    "volume": (
        (8, 2, 3),
        (4, 3, 2, 2, 2),
        {"stride": 2},
        ("rows", None, None),
    ),
}
layers = pytest.mark.parametrize("layer", LAYERS)

# Without optimization of the machine code: compiling is nearly all of the time.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def make_mesh(mesh_axes):
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices")
    names = [name for name in mesh_axes if name is not None]
    sizes = {1: (8,), 2: (2, 4)}[len(names)]
    return jax.make_mesh(
        sizes, names, axis_types=(jax.sharding.AxisType.Auto,) * len(names)
    )


def is_last(options):
    return "dimension_numbers" in options


def operands(layer):
    """Input, weight and bias of small integers, so that sums are exact in any order."""
    space, weight, options, _ = LAYERS[layer]
    draw = functools.partial(np.random.default_rng(0).integers, -3, 4)
    shape = (2, *space, 4) if is_last(options) else (2, 4, *space)
    channels = weight[-1] if is_last(options) else weight[1] * options.get("groups", 1)
    return [draw(s).astype(np.float32) for s in (shape, weight, (channels,))]


def spec_of(layer):
    _, _, options, mesh_axes = LAYERS[layer]
    return P(None, *mesh_axes) if is_last(options) else P(None, None, *mesh_axes)


def sharded(layer, **more):
    """The layer as a function of whole arrays."""
    *_, options, mesh_axes = LAYERS[layer]
    f = functools.partial(
        jconvt.sharding.conv_transpose, mesh_axes=mesh_axes, **options, **more
    )
    spec = spec_of(layer)
    return jax.shard_map(
        f, mesh=make_mesh(mesh_axes), in_specs=(spec, P(), P()), out_specs=spec
    )


def unsharded(layer):
    return functools.partial(jconvt.conv_transpose, **LAYERS[layer][2])


def training(f):
    """Value and gradients in one program, with a cotangent that is not constant."""

    def run(*arrays):
        y, pull = jax.vjp(f, *arrays)
        return y, pull(y)

    return run


@layers
def test_shares_give_what_the_whole_gives(layer):
    arrays = operands(layer)
    actual = quick_jit(training(sharded(layer)))(*arrays)
    desired = quick_jit(training(unsharded(layer)))(*arrays)
    jax.tree.map(np.testing.assert_array_equal, actual, desired)


def test_unbatched_input():
    x, w, b = operands("doubled")
    _, _, options, mesh_axes = LAYERS["doubled"]
    f = functools.partial(
        jconvt.sharding.conv_transpose, mesh_axes=mesh_axes, **options
    )
    rows = P(None, "rows")
    run = jax.shard_map(
        f, mesh=make_mesh(mesh_axes), in_specs=(rows, P(), P()), out_specs=rows
    )
    desired = unsharded("doubled")(x[0], w, b)
    np.testing.assert_array_equal(quick_jit(run)(x[0], w, b), desired)


def test_batch_and_space_over_two_mesh_axes():
    x, w, b = operands("doubled")
    _, _, options, mesh_axes = LAYERS["doubled"]
    f = functools.partial(
        jconvt.sharding.conv_transpose, mesh_axes=mesh_axes, **options
    )
    both = P("images", None, "rows")
    run = jax.shard_map(
        f,
        mesh=make_mesh(("images", "rows")),
        in_specs=(both, P(), P()),
        out_specs=both,
    )
    actual = quick_jit(training(run))(x, w, b)
    desired = quick_jit(training(unsharded("doubled")))(x, w, b)
    jax.tree.map(np.testing.assert_array_equal, actual, desired)


def test_second_derivatives():
    x, w, b = operands("doubled")

    def curvature(f):
        gradient = jax.grad(lambda x: jnp.sum(f(x, w, b) ** 2))
        return quick_jit(jax.grad(lambda x: jnp.vdot(gradient(x), x)))(x)

    actual, desired = map(curvature, (sharded("doubled"), unsharded("doubled")))
    np.testing.assert_array_equal(actual, desired)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=["f16", "bf16"])
def test_what_neighbours_send_back_is_added_in_float32(dtype):
    """Here each element is read by all eight devices."""
    _, weight, options, _ = LAYERS["longer_than_all"]
    rng = np.random.default_rng(0)
    x, w, g = (
        np.abs(rng.normal(size=shape)).astype(dtype)
        for shape in ((32, 4, 8), weight, (32, 3, 8))
    )
    f = sharded("longer_than_all")
    b = jnp.zeros(3, dtype)
    pull = quick_jit(lambda x, w, g: jax.vjp(lambda x: f(x, w, b), x)[1](g)[0])
    crop = options["padding"]
    expected, _, _ = oracles.expect_gradients(
        g, x, w, stride=(1,), crop=((crop, crop),), dilation=(1,)
    )
    oracles.assert_expected(pull(x, w, g), expected, dtype)


COLLECTIVE = re.compile(r" (all-gather|all-to-all|all-reduce|collective-permute)\(")


def collectives(function, *arrays):
    return set(COLLECTIVE.findall(jax.jit(function).lower(*arrays).compile().as_text()))


MIXED = jconvt.Lowerings(forward="gather/features first", weight_gradient="overlap_add")


@pytest.mark.parametrize("lowering", ["auto", "gather", "overlap_add", MIXED])
@pytest.mark.parametrize("layer", ["doubled", "grouped", "plane", "volume"])
def test_only_neighbours_and_sums_of_gradients_travel(layer, lowering):
    arrays = operands(layer)
    spec = jax.sharding.NamedSharding(make_mesh(LAYERS[layer][3]), spec_of(layer))
    arrays[0] = jax.device_put(arrays[0], spec)
    f = sharded(layer, lowering=lowering)
    halo = set() if layer == "volume" else {"collective-permute"}
    assert collectives(f, *arrays) == halo
    assert collectives(training(f), *arrays) == {*halo, "all-reduce"}


def test_a_share_where_the_output_is_stride_times_the_input():
    share = share_of(Axis(4, 2, 1, 1, 1), (0, 0), elements=8, outputs=16, devices=4)
    assert (share.before, share.after, share.crop) == (1, 1, (3, 3))
    assert share.drift == share.begin == 0


@pytest.mark.parametrize("wrap", [(0, 0), (2, 1)])
@pytest.mark.parametrize("crop", [-3, 0, 1, 4])
def test_no_share_reads_more_than_reaches_it(crop, wrap):
    """By listing the pairs of element and tap, for kernels up to all of the axis."""
    devices, n = 4, 3
    for kernel in range(1, 15):
        for stride in (1, 2, 3):
            axis = Axis(kernel, stride, 1, crop, 0)
            low = crop - stride * wrap[0]
            outputs = 4
            share = share_of(axis, wrap, n, outputs, devices)
            reaching = [
                i - c * n
                for c in range(devices)
                for o in range(c * outputs, (c + 1) * outputs)
                for i in range(-40, 60)
                if 0 <= o + low - stride * i < kernel
                and (any(wrap) or 0 <= i < devices * n)
            ]
            if any(wrap):
                needed = (
                    max(0, -min(reaching, default=0)),
                    max(0, *reaching, 0) - n + 1,
                )
                assert (share.before, share.after) == (needed[0], max(0, needed[1]))
            else:
                assert share.before >= -min(reaching, default=0)
                assert share.after >= max(reaching, default=0) - n + 1


# Errors -------------------------------------------------------------------------------


def failing(message, error=ValueError, *, inside=True, shape=(1, 4, 16), **options):
    x, w = jnp.ones(shape), jnp.ones((4, 3, 4))
    options = {"mesh_axes": LINE, "stride": 2, "padding": 1} | options
    f = functools.partial(jconvt.sharding.conv_transpose, **options)
    rows = P(None, None, "rows")
    if inside:
        f = jax.shard_map(f, mesh=make_mesh(LINE), in_specs=(rows, P()), out_specs=rows)
    with pytest.raises(error, match=message):
        jax.eval_shape(f, x, w)


@pytest.mark.parametrize("wrong", ["rows", 1, (1,), None])
def test_mesh_axes_of_the_wrong_kind(wrong):
    message = r"sharding\.conv_transpose: `mesh_axes` must be a tuple or list of names"
    failing(message, TypeError, mesh_axes=wrong)


@pytest.mark.parametrize("wrong", [(), ("rows", None)])
def test_mesh_axes_of_the_wrong_number(wrong):
    failing(r"`mesh_axes` must have an entry for each of 1 spatial", mesh_axes=wrong)


def test_mesh_axes_outside_of_a_shard_map():
    failing(r"`mesh_axes` must name axes of the mesh of a jax\.shard_map", inside=False)


def test_an_output_that_cannot_be_shared():
    failing(
        r"the output size must be a multiple of .* got 34 on the 8 of 'rows'.*"
        r"`output_size`",
        padding=0,
    )


def test_a_share_of_nothing():
    failing(r"`input` must have at least one element along", shape=(1, 4, 0))


def test_an_input_of_the_wrong_rank():
    failing(r"`input` must have 3 axes", shape=(1, 1, 16, 16))
