"""Sharded arrays give what unsharded ones do, under each of JAX's three regimes."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jconvt
from jconvt._call.fit import geometry_of
from jconvt._call.options import normalize_options
from jconvt._choice.choose import Formulation
from jconvt._choice.pieces import Pieces
from jconvt._lowerings.table import LOWERINGS
from jconvt._maps import make as maker

P = PartitionSpec
LAST = {
    rank: (f"N{'DHW'[-rank:]}C", f"{'DHW'[-rank:]}IO", f"N{'DHW'[-rank:]}C")
    for rank in (1, 2)
}
LAYERS = {  # space, weight, options
    "overlap": ((8,), (8, 8, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "overlap_even": ((8,), (8, 8, 4), {"stride": 2, "padding": 1}),
    "stride_1": ((8,), (8, 8, 3), {"padding": 1}),
    "blocks": ((8, 2), (8, 8, 2, 2), {"stride": 2}),
    "gaps": ((8,), (8, 8, 2), {"stride": 3, "padding": "SAME"}),
    "dilated": ((8,), (8, 8, 3), {"stride": 2, "dilation": 3, "padding": [(2, 3)]}),
    "grouped": ((8,), (8, 4, 3), {"stride": 2, "dilation": 3, "groups": 2}),
    "depthwise": ((8, 3), (8, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 8}),
    "circular": ((8,), (8, 8, 5), {"stride": 2, "padding": "CIRCULAR"}),
    "volume": ((8, 2, 2), (8, 8, 3, 3, 3), {"stride": 2, "padding": "SAME"}),
    "channels_last": (
        (8, 2),
        (3, 3, 8, 8),
        {"stride": 2, "padding": "SAME", "dimension_numbers": LAST[2]},
    ),
    "grouped_last": (
        (8,),
        (4, 8, 2),
        {"stride": 2, "padding": 1, "groups": 4, "dimension_numbers": LAST[1]},
    ),
}
layers = pytest.mark.parametrize("layer", LAYERS)


def serves(lowering, layer):
    _, (_, _, *kernel), options = LAYERS[layer]
    checked = normalize_options("test", len(kernel), **options)
    geometry = geometry_of(checked, tuple(kernel))
    return LOWERINGS[lowering].unsupported(geometry) is None


EACH = ("overlap_even", "blocks", "grouped")
MIXED = jconvt.Lowerings(
    forward="gather", input_gradient="phases", weight_gradient="role_swapped"
)
PAIRS = [
    *(("auto", layer) for layer in LAYERS),
    *((name, layer) for name in LOWERINGS for layer in EACH if serves(name, layer)),
    *((MIXED, layer) for layer in EACH),
]


def letters(layer):
    """What the axes of input, weight and bias are."""
    space, _, options = LAYERS[layer]
    letters = "DHW"[-len(space) :]
    given = options.get("dimension_numbers", (f"NC{letters}", f"IO{letters}"))
    return (*given[:2], "C")


def operands(layer):
    """Input, weight and bias of small integers, so that sums are exact in any order."""
    space, weight, options = LAYERS[layer]
    draw = functools.partial(np.random.default_rng(0).integers, -3, 4)
    x, w, _ = letters(layer)
    sizes = {"N": 8, "C": 8} | dict(zip(x.strip("NC"), space, strict=True))
    channels = weight[w.index("O")] * options.get("groups", 1)
    shapes = ([sizes[letter] for letter in x], weight, (channels,))
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


SHARDED = {  # letters of input, weight and bias that are sharded, and of the output
    "batch": ("N", "", "", "N"),
    "input_channels": ("C", "I", "", ""),
    "output_channels": ("", "O", "C", "C"),
    "space": ("first", "", "", "first"),
}
KINDS = [
    (sharded, layer)
    for sharded in SHARDED
    for layer, (_, _, options) in LAYERS.items()
    # Fewer output channels in a group than devices.
    if sharded != "output_channels" or "groups" not in options
]
kinds = pytest.mark.parametrize(("sharded", "layer"), KINDS)


def specs_of(layer, sharded):
    """Of input, weight, bias and output; "first" is the first spatial axis."""
    x, w, b = letters(layer)
    first = x.strip("NC")[0]
    return [
        P(
            *(
                "rows" if letter in wanted.replace("first", first) else None
                for letter in spec
            )
        )
        for spec, wanted in zip((x, w, b, x), SHARDED[sharded], strict=True)
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


@pytest.mark.parametrize("layer", ["overlap", "blocks", "volume", "channels_last"])
def test_shard_map_over_output_channels(layer):
    """The input is replicated, so its gradient is a sum over the devices."""
    mesh = make_mesh(AxisType.Auto)
    *specs, out = specs_of(layer, "output_channels")
    wrap = functools.partial(
        jax.shard_map, mesh=mesh, in_specs=tuple(specs), out_specs=out, check_vma=True
    )
    run = quick_jit(training(layer, wrap=wrap))
    assert_equal(run(*operands(layer)), unsharded(layer))


@pytest.mark.parametrize(
    ("channels", "dtype", "padding"),
    [
        pytest.param(3, np.int32, 0, id="integers"),
        pytest.param(
            0,
            np.float32,
            0,
            id="no_channels",
            marks=pytest.mark.skipif(
                jax.__version_info__ < (0, 10),
                reason="XLA refuses a shard_map whose body uses no operand (jax 0.8.1)",
            ),
        ),
        pytest.param(3, np.float32, [(1, -5)], id="all_cropped"),
    ],
)
def test_shard_map_of_what_has_no_gradient_or_no_products(channels, dtype, padding):
    x = np.arange(8 * channels, dtype=dtype).reshape(8, channels, 1)
    w = np.ones((channels, 2, 1), dtype)
    f = functools.partial(jconvt.conv_transpose, stride=3, padding=padding)
    mesh = make_mesh(AxisType.Auto)
    wrapped = jax.shard_map(f, mesh=mesh, in_specs=BATCH[:2], out_specs=P("rows"))
    assert_equal(quick_jit(wrapped)(x, w), f(x, w))


@kinds
def test_automatic_sharding(sharded, layer):
    mesh = make_mesh(AxisType.Auto)
    *specs, _ = specs_of(layer, sharded)
    placed = tuple(NamedSharding(mesh, spec) for spec in specs)
    run = quick_jit(training(layer), in_shardings=placed)
    assert_equal(run(*operands(layer)), unsharded(layer))


@kinds
def test_explicit_sharding(sharded, layer):
    """A gradient is sharded as its operand."""
    mesh = make_mesh(AxisType.Explicit)
    *specs, out = specs_of(layer, sharded)
    if sharded == "input_channels" and "groups" in LAYERS[layer][2]:
        *_, out = specs_of(layer, "output_channels")  # nothing is summed over devices
    with jax.set_mesh(mesh):
        arrays = place(mesh, operands(layer), specs)
        y, gradients = quick_jit(training(layer))(*arrays)
    assert_equal((y, gradients), unsharded(layer))
    along = [axis for axis, name in enumerate(out) if name]
    if all(y.shape[axis] % 8 == 0 for axis in along):
        assert jax.typeof(y).sharding.spec == out
    for gradient, spec in zip(gradients, specs, strict=True):
        assert jax.typeof(gradient).sharding.spec == spec


@pytest.mark.parametrize(
    ("lowering", "layer"), [pair for pair in PAIRS if pair[0] != "auto"]
)
def test_explicit_sharding_of_every_lowering(lowering, layer):
    mesh = make_mesh(AxisType.Explicit)
    with jax.set_mesh(mesh):
        arrays = place(mesh, operands(layer), BATCH)
        y, gradients = quick_jit(training(layer, lowering))(*arrays)
    assert_equal((y, gradients), unsharded(layer))
    assert jax.typeof(y).sharding.spec[0] == "rows"


@layers
def test_explicit_sharding_of_an_eager_call(layer):
    mesh = make_mesh(AxisType.Explicit)
    with jax.set_mesh(mesh):
        arrays = place(mesh, operands(layer), BATCH)
        y = jconvt.conv_transpose(*arrays, **LAYERS[layer][2])
    assert_equal(y, unsharded(layer)[0])
    assert jax.typeof(y).sharding.spec[0] == "rows"


def test_explicit_sharding_without_a_mesh_around():
    """The arrays' own is enough."""
    mesh = make_mesh(AxisType.Explicit)
    arrays = place(mesh, operands("overlap"), BATCH)
    y, gradients = quick_jit(training("overlap"))(*arrays)
    assert_equal((y, gradients), unsharded("overlap"))


@pytest.mark.parametrize("lowering", ["phases", "fused_phases", "lhs_dilation", "auto"])
def test_groups_on_a_mesh_of_two_axes(lowering):
    """There XLA's partitioner counts the weight gradient of a convolution twice."""
    mesh = jax.make_mesh((2, 4), ("rows", "columns"), axis_types=(AxisType.Auto,) * 2)
    x, w = (np.ones(shape, np.float32) for shape in ((8, 4, 8), (4, 2, 4)))
    f = gradients(lowering, stride=2, groups=2)
    for specs in ((P("columns"), P()), (P(None, "columns"), P("columns"))):
        found = quick_jit(f)(*place(mesh, (x, w), specs))
        assert_equal(found, quick_jit(f)(x, w))


@pytest.mark.parametrize("devices", [2, 4, 8])
@pytest.mark.parametrize("kernel", [4, 7, 9])
@pytest.mark.parametrize("stride", [2, 3])
def test_a_kernel_reaches_beyond_the_next_device(kernel, stride, devices):
    """There XLA's partitioner has wrong values for a convolution."""
    mesh = jax.make_mesh(
        (devices,),
        ("rows",),
        axis_types=(AxisType.Auto,),
        devices=jax.devices()[:devices],
    )
    draw = functools.partial(np.random.default_rng(0).integers, -3, 4)
    x, w = draw((1, 1, devices)), draw((1, 1, kernel))
    x, w = x.astype(np.float32), w.astype(np.float32)
    f = functools.partial(jconvt.conv_transpose, stride=stride)

    def run(x, w):
        y, pull = jax.vjp(f, x, w)
        return y, pull(y)

    placed = place(mesh, (x, w), (P(None, None, "rows"), P()))
    assert_equal(quick_jit(run)(*placed), quick_jit(run)(x, w))


def test_a_bias_sharded_as_the_batch_is():
    """Then no axis of the output can be sharded as the bias is."""
    mesh = make_mesh(AxisType.Explicit)
    with jax.set_mesh(mesh):
        arrays = place(mesh, operands("overlap"), (P("rows"), P(), P("rows")))
        y, gradients = quick_jit(training("overlap"))(*arrays)
    assert_equal((y, gradients), unsharded("overlap"))
    assert jax.typeof(y).sharding.spec == P("rows", None, None)
    assert jax.typeof(gradients[2]).sharding.spec == P("rows")


def test_no_mesh_axis_shards_two_axes_of_the_output():
    """A weight that is sharded over the axis of the batch is gathered, as in FSDP."""
    mesh = make_mesh(AxisType.Explicit)
    specs = (P("rows"), P(None, "rows"), P())
    with jax.set_mesh(mesh):
        arrays = place(mesh, operands("overlap"), specs)
        y, (dx, dw, _) = quick_jit(training("overlap"))(*arrays)
    assert_equal(y, unsharded("overlap")[0])
    assert jax.typeof(y).sharding.spec == P("rows", None, None)
    assert jax.typeof(dx).sharding.spec == P("rows", None, None)
    assert jax.typeof(dw).sharding.spec == P(None, "rows", None)


def test_explicit_axes_under_vmap():
    mesh = make_mesh(AxisType.Explicit)
    x, w, _ = operands("overlap")
    f = functools.partial(jconvt.conv_transpose, **LAYERS["overlap"][2])
    with jax.set_mesh(mesh):
        arrays = place(mesh, (np.stack([x, 2 * x]), w), (P(None, "rows"), P()))
        y = quick_jit(jax.vmap(f, in_axes=(0, None)))(*arrays)
    desired = f(x, w)
    assert_equal(y, np.stack([desired, 2 * desired]))


def test_a_manual_axis_beside_an_explicit_one():
    """Derivatives outside of `jax.shard_map`, of a weight sharded inside of it."""
    make_mesh(AxisType.Auto)  # or skip
    kinds = (AxisType.Auto, AxisType.Explicit)
    mesh = jax.make_mesh((4, 2), ("rows", "columns"), axis_types=kinds)
    x, w, _ = operands("overlap_even")
    f = functools.partial(jconvt.conv_transpose, **LAYERS["overlap_even"][2])
    inner = functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P("rows"), P()),
        out_specs=P("rows"),
        axis_names={"rows"},
    )

    def run(f):
        return jax.grad(lambda x, w: (f(x, w) ** 2).sum(), (0, 1))

    with jax.set_mesh(mesh):
        arrays = place(mesh, (x, w), (P("rows"), P(None, "columns")))
        found = quick_jit(run(inner(f)))(*arrays)
    assert_equal(found, quick_jit(run(f))(x, w))


MAPPED = {  # in_axes of input and weight
    "input": (0, None),
    "weight": (None, 0),
    "both": (0, 0),
    "inner_axes": (1, -1),
}


def sharded_and_whole(kind, transform, arrays, specs):
    """What a transformed function makes of sharded arrays, and of whole ones."""
    make_mesh(kind)  # or skip
    mesh = jax.make_mesh((4, 2), ("rows", "columns"), axis_types=(kind,) * 2)
    with jax.set_mesh(mesh):
        found = quick_jit(transform)(*place(mesh, arrays, specs))
    return found, quick_jit(transform)(*arrays)


def gradients(lowering="auto", **options):
    """The gradients of a curved loss in input and weight."""
    f = functools.partial(jconvt.conv_transpose, lowering=lowering, **options)
    return jax.grad(lambda x, w: (f(x, w) ** 2).sum(), (0, 1))


def twice(x, w):
    """Second order."""
    once = gradients(stride=2, padding=1)
    return jax.grad(lambda *a: sum((g**2).sum() for g in once(*a)), (0, 1))(x, w)


def mapped_operands(mapped, kernel):
    draw = functools.partial(np.random.default_rng(0).integers, -3, 4)
    x, w = (
        draw(shape).astype(np.float32) for shape in ((4, 2, 4, 6), (4, 4, 6, kernel))
    )
    return [
        a[0] if axis is None else np.moveaxis(a, 0, axis)
        for a, axis in zip((x, w), MAPPED[mapped], strict=True)
    ]


def mapped_specs(arrays, mapped, more=None):
    """The mapped axis along one mesh axis, maybe the last other one along `more`."""
    specs = []
    for a, axis in zip(arrays, MAPPED[mapped], strict=True):
        spec = [None] * a.ndim
        if axis is not None:
            spec[axis] = "rows"
        spec[max(i for i in range(a.ndim) if spec[i] is None)] = more
        specs.append(P(*spec))
    return specs


@pytest.mark.parametrize("more", [None, "columns"])
@pytest.mark.parametrize("mapped", MAPPED)
@pytest.mark.parametrize("f", [gradients(stride=2, padding=1), twice])
def test_vmap_over_an_explicit_axis(f, mapped, more):
    """Gradients of each example, sharded as the mapped axis and as the operands are."""
    arrays = mapped_operands(mapped, 4)
    specs = mapped_specs(arrays, mapped, more)
    f = jax.vmap(f, MAPPED[mapped])
    found, whole = sharded_and_whole(AxisType.Explicit, f, arrays, specs)
    assert_equal(found, whole)
    for gradient in found:
        assert jax.typeof(gradient).sharding.spec == P("rows", None, None, more)


@pytest.mark.parametrize("mapped", ["input", "weight", "both"])
@pytest.mark.parametrize("lowering", [*LOWERINGS, MIXED])
def test_vmap_over_an_explicit_axis_of_every_lowering(lowering, mapped):
    kernel = 3 if lowering == "winograd" else 2
    arrays = mapped_operands(mapped, kernel)
    f = jax.vmap(gradients(lowering, stride=2), MAPPED[mapped])
    specs = mapped_specs(arrays, mapped)
    found, whole = sharded_and_whole(AxisType.Explicit, f, arrays, specs)
    assert_equal(found, whole)


@pytest.mark.parametrize(
    "axes", [("rows", "columns"), ("rows", None), (None, "columns")]
)
@pytest.mark.parametrize("kind", [AxisType.Explicit, AxisType.Auto])
def test_vmap_of_vmap_over_mesh_axes(kind, axes):
    """With `spmd_axis_name` where the axes are automatic."""
    draw = functools.partial(np.random.default_rng(0).integers, -3, 4)
    x, w = (draw(s).astype(np.float32) for s in ((4, 2, 3, 4, 6), (4, 6, 3)))
    outer, inner = axes if kind == AxisType.Auto else (None, None)
    f = jax.vmap(gradients(stride=2), (0, None), spmd_axis_name=inner)
    f = jax.vmap(f, (0, None), spmd_axis_name=outer)
    found, whole = sharded_and_whole(kind, f, (x, w), (P(*axes), P()))
    assert_equal(found, whole)


def test_gradients_of_each_example_stay_where_they_are():
    make_mesh(AxisType.Explicit)  # or skip
    if jax.__version_info__ < (0, 10):
        pytest.skip("knows no shard_map over a mapped axis")
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Explicit,))
    x, w = mapped_operands("input", 4)
    f = jax.vmap(gradients(stride=2, padding=1), (0, None))
    with jax.set_mesh(mesh):
        arrays = place(mesh, (x, w), (P("rows"), P()))
        text = quick_jit(f).lower(*arrays).compile().as_text()
    assert not collectives(text)


# What travels -------------------------------------------------------------------------

_COLLECTIVE = re.compile(
    r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)\("
)


def collectives(text):
    """Operation -> the most elements of one of its results."""
    found = {}
    for types, operation in _COLLECTIVE.findall(text):
        for sizes in re.findall(r"\[([\d,]*)\]", types):
            count = math.prod(int(n) for n in sizes.split(",") if n)
            found[operation] = max(found.get(operation, 0), count)
    return found


def compiled(layer, mesh, lowering="auto"):
    """The program of a training step with a sharded batch, as XLA made it."""
    rows, whole = (NamedSharding(mesh, P(*p)) for p in (("rows",), ()))
    run = quick_jit(
        training(layer, lowering),
        in_shardings=(rows, whole, whole),
        out_shardings=(rows, (rows, whole, whole)),
    )
    return run.lower(*map(jnp.asarray, operands(layer))).compile()


@layers
def test_a_sharded_batch_stays_where_it_is(layer):
    """Each device works on its images; only the sums of gradients travel."""
    program = compiled(layer, make_mesh(AxisType.Auto))
    found = collectives(program.as_text())
    weights = max(a.size for a in operands(layer)[1:])
    assert set(found) == {"all-reduce"}
    assert found["all-reduce"] <= weights


@layers
def test_an_explicitly_sharded_batch_stays_where_it_is(layer):
    mesh = make_mesh(AxisType.Explicit)
    with jax.set_mesh(mesh):
        arrays = place(mesh, operands(layer), BATCH)
        text = quick_jit(training(layer)).lower(*arrays).compile().as_text()
    assert set(collectives(text)) == {"all-reduce"}


@pytest.mark.parametrize("devices", [8, 4])
@pytest.mark.parametrize("pieces", ["batch", "blocks", "both"])
def test_pieces_are_of_one_devices_share(pieces, devices, monkeypatch):
    """A loop over images takes as many from every device, and gathers none."""
    shares = set()

    def in_pieces(slot, platform, problem, *rest, **options):
        shares.add(problem.batch)
        cut = {"batch": (2, 0), "blocks": (1, 2), "both": (2, 2)}[pieces]
        return Formulation("gather", pieces=Pieces(*cut))

    monkeypatch.setattr(maker, "choose", in_pieces)
    make_mesh(AxisType.Auto)  # or skip
    names, sizes = ("rows", "columns"), (devices, 8 // devices)
    mesh = jax.make_mesh(sizes, names, axis_types=(AxisType.Auto,) * 2)
    x, w, b = operands("overlap")
    x = np.concatenate([x, -x])
    rows, whole = (NamedSharding(mesh, P(*p)) for p in (("rows",), ()))
    run = quick_jit(
        training("overlap"),
        in_shardings=(rows, whole, whole),
        out_shardings=(rows, (rows, whole, whole)),
    )
    program = run.lower(x, w, b).compile()
    text = program.as_text()
    assert shares == {2}
    assert " while(" in text
    assert set(collectives(text)) == {"all-reduce"}
    jax.clear_caches()
    monkeypatch.undo()
    desired = quick_jit(training("overlap"))(x, w, b)
    jax.clear_caches()
    assert_equal(program(*place(mesh, (x, w, b), BATCH)), desired)


@pytest.mark.parametrize("kind", [AxisType.Explicit, AxisType.Auto])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weight_gradient_is_summed_over_a_part_of_the_mesh(dtype, kind):
    make_mesh(AxisType.Auto)  # or skip
    mesh = jax.make_mesh((2, 4), ("rows", "columns"), axis_types=(kind,) * 2)
    x, w, _ = (a.astype(dtype) for a in operands("stride_1"))

    def gradient(x, w):
        y, pull = jax.vjp(functools.partial(jconvt.conv_transpose, padding=1), x, w)
        return pull(0 * y + 1)[1]  # sums that 16 bits hold

    wrapped = jax.shard_map(
        gradient, mesh=mesh, in_specs=(P("rows"), P()), out_specs=P(),
        axis_names={"rows"},
    )  # fmt: skip
    with jax.set_mesh(mesh):
        found = quick_jit(wrapped)(*place(mesh, (x, w), (P("rows"), P())))
    np.testing.assert_array_equal(found, quick_jit(gradient)(x, w))
