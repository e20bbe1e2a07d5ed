"""One artefact serves every platform, and symbolic sizes."""

import collections
import functools
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jconvt
from jconvt._call.call import make_call
from jconvt._call.fit import geometry_of
from jconvt._call.options import normalize_options
from jconvt._call.problem import Map
from jconvt._choice.choose import candidates, choose
from jconvt._choice.pieces import WHOLE
from jconvt._lowerings.table import LOWERINGS
from jconvt._maps.make import perform
from jconvt._maps.target import Target
from jconvt._shapes import call_of_shapes

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
LAYERS = {  # weight, options
    "overlap": ((4, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "overlap_even": ((4, 3, 4), {"stride": 2, "padding": 1}),
    "blocks": ((4, 3, 2, 2), {"stride": 2}),
    "grouped": ((4, 2, 3), {"stride": 3, "dilation": 2, "groups": 2}),
    "spaced": ((4, 3, 3), {"stride": 4, "dilation": 2, "padding": 1}),
    "spaced_and_cut": ((4, 3, 1), {"stride": 2, "dilation": 2, "padding": [(0, 1)]}),
    "added": ((4, 3, 3), {"stride": 2, "padding": [(2, -3)]}),
    "same": ((4, 3, 3), {"stride": 2, "padding": "SAME"}),
    "circular": ((4, 3, 5), {"stride": 2, "padding": "CIRCULAR"}),
}
layers = pytest.mark.parametrize("layer", LAYERS)


# Without optimization of the machine code: compiling is nearly all of the time.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


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
    return re.findall(r"lhs_dilate = \[[\d, ]*[2-9]", text)


@pytest.mark.parametrize(
    ("layer", "platform", "convolutions"),
    [
        ("blocks", "cpu", 0),
        ("blocks", "cuda", 1),
        ("blocks", "rocm", 1),
        ("blocks", "tpu", 1),
        ("grouped", "cuda", 0),
        ("grouped", "tpu", 0),
    ],
)
def test_each_platform_has_its_own_formulation(layer, platform, convolutions):
    """And its program holds no other one's."""
    arrays = operands(layer, batch=64, size=32)
    artefact = exported(apply(layer), *arrays, platforms=(platform,))
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


OUTPUT_SIZES = {  # constraints, input size, output size, (input, output) to try
    "rounded up": ((), "floordiv(h+1, 2)", "h", [(1, 1), (1, 2), (3, 5), (3, 6)]),
    "negated": ((), "-1*floordiv(-1*h, 2)", "h", [(1, 1), (2, 3), (2, 4)]),
    "at least": (("h >= 4",), "floordiv(h+1, 2)", "h", [(2, 4), (3, 5)]),
    "even": (("mod(h, 2) == 0",), "floordiv(h, 2)", "h", [(1, 2), (3, 6)]),
    "even, rounded up": (("mod(h, 2) == 0",), "floordiv(h+1, 2)", "h", [(3, 6)]),
    "a multiple": (("h == 2*k",), "k", "h", [(1, 2), (3, 6)]),
    "bounds": (("h >= 2*k-1", "h <= 2*k"), "k", "h", [(3, 5), (3, 6), (1, 1)]),
    "an int out": (("k >= 4", "k <= 4"), "k", "8", [(4, 8)]),
    "an int in": (("h >= 7", "h <= 8"), "4", "h", [(4, 7), (4, 8)]),
}


def with_gradients(f):
    """As `training`, of a function that also takes an array for its shape alone."""

    def run(x, w, like):
        y, pull = jax.vjp(lambda x, w: f(x, w, like), x, w)
        return y, pull(y)

    return run


@pytest.mark.parametrize("form", OUTPUT_SIZES)
def test_symbolic_output_size_by_constraints(form):
    """Wherever the constraints say that the size can be reached, and with gradients."""
    constraints, inside, outside, sizes = OUTPUT_SIZES[form]
    _, w = operands("overlap")
    specs = export.symbolic_args_specs(
        (np.zeros((2, 4, 4), np.float32), np.zeros((2, 3, 8), np.int8)),
        (f"b, _, {inside}", f"b, _, {outside}"),
        constraints=constraints,
    )

    def f(x, w, like):
        options = {"stride": 2, "padding": 1, "output_size": like.shape[2:]}
        shape = jconvt.output_shape(x.shape, w.shape, **options)
        assert shape[2:] == like.shape[2:]
        return jconvt.conv_transpose(x, w, **options)

    if form != "even":
        # There JAX transposes an operand of size floordiv(h, 2) into one of size
        # floordiv(h - 2, 2) + 1, and does not know that this is the same.
        f = with_gradients(f)
    artefact = exported(f, specs[0], w, specs[1])
    for n, out in sizes:
        x, _ = operands("overlap", size=n)
        like = np.zeros((2, 3, out), np.int8)
        assert_equal(artefact.call(x, w, like), jax.jit(f)(x, w, like))


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ((3, 3), {"padding": 1}),
        ((1, 2), {"padding": "SAME"}),
        ((2, 3), {"dilation": 2, "groups": 2, "lowering": "phases"}),
        ((3, 4), {"padding": [(1, 0), (0, 1)], "lowering": "lhs_dilation"}),
    ],
)
def test_symbolic_output_size_of_an_unbatched_image(kernel, options):
    """One axis to which a symbolic number of elements is appended, and one with 1."""
    w = jnp.arange(8 * np.prod(kernel), dtype=jnp.float32)
    w = w.reshape(4, 2, *kernel)

    @with_gradients
    def f(x, w, like):
        high, wide = jconvt.output_shape(x.shape, w.shape, stride=2, **options)[1:]
        size = (high + (like.shape[0] + 1) % 2, wide + 1)
        return jconvt.conv_transpose(x, w, stride=2, output_size=size, **options)

    specs = export.symbolic_args_specs(
        (np.zeros((4, 4, 5), np.float32), np.zeros(8, np.float32)),
        ("_, floordiv(h+1, 2), _", "h"),
    )
    artefact = exported(f, specs[0], w, specs[1])
    for h in (5, 6):
        x = jnp.arange(20 * ((h + 1) // 2), dtype=jnp.float32).reshape(4, -1, 5)
        arrays = x, w, np.zeros(h, np.float32)
        assert_equal(artefact.call(*arrays), jax.jit(f)(*arrays))


@pytest.mark.parametrize(
    ("size", "told"), [("3*n", True), ("n", False), ("2*n + m", True)]
)
def test_the_constraints_to_add_are_named(size, told):
    """And with them it works."""

    def shape(constraints=()):
        scope = export.SymbolicScope(constraints)
        n, wanted, _ = export.symbolic_shape(f"n, {size}, m", scope=scope)
        options = {"stride": 2, "output_size": wanted}
        return jconvt.output_shape((1, 4, n), (4, 3, 2), **options), wanted

    with pytest.raises(ValueError, match="`output_size` must lie between") as caught:
        shape()
    assert ("symbolic scope do not tell: add" in str(caught.value)) == told
    if told:
        (_, _, found), wanted = shape(re.findall(r"'(.*?)'", str(caught.value)))
        assert str(found) == str(wanted)


def test_sizes_of_another_array_are_an_output_size():
    def f(x, w, like):
        for size in (jnp.shape(like)[2:], list(like.shape[2:]), like.shape[2]):
            y = jconvt.conv_transpose1d(x, w, stride=2, padding=1, output_size=size)
            assert y.shape == (like.shape[0], 3, like.shape[2])
        return y

    specs = export.symbolic_args_specs(
        (np.zeros((2, 4, 4), np.float32), np.zeros((2, 3, 8), np.float32)),
        ("b, _, floordiv(h+1, 2)", "b, _, h"),
    )
    exported(f, specs[0], operands("overlap")[1], specs[1])


@pytest.mark.parametrize("lowering", ["auto", "lhs_dilation"])
@pytest.mark.parametrize("padding", [1, [(-2, 5)], "SAME", "CIRCULAR"], ids=str)
def test_gradients_of_half_of_a_symbolic_size(padding, lowering):
    """Which lax's own derivative takes for another: (h - 2) // 2 + 1."""
    (h,) = export.symbolic_shape("h", constraints=["mod(h, 2) == 0", "h >= 8"])
    f = functools.partial(
        jconvt.conv_transpose, stride=2, padding=padding, lowering=lowering
    )

    def halved(x, w):
        half = jnp.reshape(x, (*x.shape[:2], x.shape[2] // 2, 2)).sum(-1)
        y, pull = jax.vjp(f, half, w)
        return y, pull(y)

    x, w = operands("overlap", size=8)
    spec = jax.ShapeDtypeStruct((*x.shape[:2], h), x.dtype)
    artefact = exported(halved, spec, w)
    assert_equal(artefact.call(x, w), halved(x, w))


def test_symbolic_size_of_which_the_crop_may_leave_nothing():
    x, w = operands("overlap", size=8)
    f = functools.partial(jconvt.conv_transpose, stride=2, padding=[(-2, 5)])

    def size(*constraints):
        (h,) = export.symbolic_shape("h", constraints=constraints)
        return jax.ShapeDtypeStruct((*x.shape[:2], h), x.dtype)

    match = r"conv_transpose: `padding` .* axis 0\. Add 'h - 2 >= 1' to the constraints"
    with pytest.raises(ValueError, match=match):
        exported(f, size(), w)
    artefact = exported(f, size("h - 2 >= 1"), w)
    assert_equal(artefact.call(x, w), f(x, w))


def test_symbolic_unbatched():
    x, w = operands("overlap_even")
    (spec,) = export.symbolic_args_specs((x[0],), "_, n")
    artefact = exported(training(apply("overlap_even")), spec, w)
    desired = jax.jit(training(apply("overlap_even")))(x[0], w)
    assert_equal(artefact.call(x[0], w), desired)


# What an artefact holds ---------------------------------------------------------------

HEAVY = re.compile(r"stablehlo\.(?:convolution|dot_general)\b.*")


def heavy(text):
    """The convolutions and GEMMs of a module, with their sizes and not their names."""
    lines = (re.sub(r"%[\w#:]+", "%", found[0]) for found in HEAVY.finditer(text))
    return collections.Counter(re.sub(r" loc\(.*", "", line) for line in lines)


@layers
def test_one_artefact_holds_the_formulation_of_each_platform(layer):
    """And no other: alone, none has anything to choose from."""
    arrays = operands(layer, batch=64, size=16)
    f = training(apply(layer))
    alone = {
        platform: exported(f, *arrays, platforms=(platform,)).mlir_module()
        for platform in PLATFORMS
    }
    for text in alone.values():
        assert "stablehlo.case" not in text
        assert "stablehlo.if" not in text
    parts = [heavy(text) for text in alone.values()]
    together = heavy(exported(f, *arrays).mlir_module())
    assert all(part <= together for part in parts)
    assert together <= functools.reduce(collections.Counter.__add__, parts)
    assert heavy(alone["cpu"]) != heavy(alone["cuda"])


@layers
def test_no_conditional_is_left_in_a_compiled_program(layer):
    arrays = operands(layer)
    f = training(apply(layer))
    for program in (f, exported(f, *arrays).call):
        text = jax.jit(program).lower(*arrays).compile().as_text()
        assert " conditional(" not in text


# All that the choice can pick ---------------------------------------------------------


def call_of(layer):
    (_, _, *kernel), options = LAYERS[layer]
    checked = normalize_options("test", len(kernel), **options)
    x, w = operands(layer)
    return make_call(checked, (x.shape, w.shape, None), [np.float32])


def pickable(layer, static):
    """What `auto` may pick for each map, whatever the rates, and where."""
    x, w = operands(layer)
    problem = call_of(layer).problem((32, *x.shape[1:]), w.shape)
    problem = replace(problem, static=static)
    found = {which: set() for which in Map}
    for which in Map:
        if static:
            names = candidates(which, problem)
            found[which] |= {("cpu", f._replace(pieces=WHOLE)) for f in names}
        for platform in PLATFORMS:
            f = choose(which, platform, problem)
            found[which].add((platform, f._replace(pieces=WHOLE)))
    return found


def all_that_can_be_picked(layer, static):
    """One program of the three maps in every formulation."""
    call, picks = call_of(layer), pickable(layer, static)

    def run(x, w, y):
        arrays = {Map.INPUT: x, Map.WEIGHT: w, Map.OUTPUT: y}
        return {
            made: {
                f"{platform} {formulation}": perform(
                    made,
                    {which: a for which, a in arrays.items() if which != made},
                    call,
                    arrays[made].shape,
                    formulation,
                    Target(platform),
                )
                for platform, formulation in picks[made]
            }
            for made in Map
        }

    return run


@pytest.mark.parametrize(("stride", "recovers"), [(1, True), (2, True), (4, False)])
def test_a_derivative_recovers_half_of_a_symbolic_size(stride, recovers):
    """The common divisor of stride and dilation is taken out first."""
    (h,) = export.symbolic_shape("h", constraints=["mod(h, 2) == 0", "h >= 8"])
    layer = {"stride": stride, "dilation": 2}
    call, shape, _ = call_of_shapes("test", (1, 4, h // 2), (4, 3, 3), **layer)
    assert call.recovers(shape) is recovers


@pytest.mark.parametrize("space", ["plain", "symbolic"])
@layers
def test_every_formulation_that_can_be_picked_takes_symbolic_sizes(layer, space):
    x, w = symbolic(layer, "b, _, _, _" if space == "plain" else "b, _, h, w")
    y = jax.eval_shape(apply(layer), x, w)
    run = all_that_can_be_picked(layer, static=space == "plain")
    call = quick_jit(export.export(jax.jit(run))(x, w, y).call)
    for batch, size in [(2, 4), (3, 4)] if space == "plain" else [(2, 4), (1, 6)]:
        arrays = operands(layer, batch, size)
        desired, (dx, dw) = trained(layer, batch, size)
        results = call(*arrays, desired)
        for made, expected in (
            (Map.OUTPUT, desired),
            (Map.INPUT, dx),
            (Map.WEIGHT, dw),
        ):
            for name, array in results[made].items():
                np.testing.assert_allclose(array, expected, rtol=1e-5, err_msg=name)


# Transformations of an artefact -------------------------------------------------------


def test_transformations_of_a_stored_forward():
    x, w = operands("overlap_even")
    f = apply("overlap_even")
    stored = export.export(jax.jit(f), platforms=PLATFORMS)(*symbolic("overlap_even"))
    call = export.deserialize(stored.serialize(vjp_order=1)).call
    assert_equal(jax.jit(call)(x, w), f(x, w))
    loss = lambda f: lambda w: jnp.sum(f(x, w) ** 2)  # noqa: E731
    assert_equal(jax.jit(jax.grad(loss(call)))(w), jax.grad(loss(f))(w))


def test_a_stored_vmap():
    """With a symbolic number of examples, since JAX has no vmap of an artefact."""
    x, w = operands("overlap_even")
    many = jnp.stack([x, 2 * x])

    def value_and_gradient(x, w):
        y, pull = jax.vjp(lambda x: apply("overlap_even")(x, w), x)
        return y, pull(y)

    f = jax.vmap(value_and_gradient, in_axes=(0, None))
    specs = export.symbolic_args_specs((many, w), ("n, b, _, _", "_, _, _"))
    artefact = exported(f, *specs)
    assert_equal(artefact.call(many, w), f(many, w))
    with pytest.raises(NotImplementedError, match="call_exported"):
        jax.vmap(artefact.call, in_axes=(0, None))(many[None], w)
