"""`PortedLayer` itself: a pytree, its options, its Flax layers."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
from interop import same, same_layers, whole
from jconvt.interop import PortedLayer, from_haiku, from_mindspore


def layer(**options):
    """Four channels to six, over one axis."""
    groups = options.get("groups", 1)
    params = {"weight": whole(4, 6 // groups, 3), "bias": whole(6)}
    return from_mindspore(params, **{"stride": 2, **options})


def test_parameters_are_the_leaves():
    ours = layer()
    leaves, tree = jax.tree.flatten(ours)
    assert [leaf.shape for leaf in leaves] == [(4, 6, 3), (6,)]
    paths = [
        jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(ours)
    ]
    assert paths == [".weight", ".bias"]
    same_layers(jax.tree.unflatten(tree, leaves), ours)
    doubled = jax.tree.map(lambda a: 2 * a, ours)
    same(doubled.weight, 2 * ours.weight)
    assert doubled.options == ours.options
    # Layers of equal options have equal trees, of other options other ones.
    assert jax.tree.structure(layer()) == tree
    assert jax.tree.structure(layer(padding=1)) != tree
    hash(tree)


def test_a_tree_of_anything():
    """JAX puts other objects than arrays into a tree."""
    nothing = jax.tree.map(lambda _: None, layer())
    assert (nothing.weight, nothing.bias) == (None, None)
    assert repr(nothing) == "PortedLayer(stride=(2,), bias=False)"
    shapes = jax.eval_shape(lambda ours: ours, layer())
    assert repr(shapes) == repr(layer())


def test_jit_traces_once():
    traces = []

    @jax.jit
    def run(ours, x):
        traces.append(None)
        return ours.apply(x)

    x = whole(1, 4, 5)
    for scale in (1, 2):
        ours = jax.tree.map(lambda a, scale=scale: scale * a, layer())
        same(run(ours, x), ours.apply(x))
    assert len(traces) == 1
    run(layer(padding=1), x)
    assert len(traces) == 2


def test_transformations():
    ours, x = layer(groups=2), whole(3, 2, 4, 5)
    batched = jax.vmap(ours.apply)(x)
    same(batched, jnp.stack([ours.apply(one) for one in x]))
    same(ours.apply(x), batched)  # several batch axes
    stacked = jax.tree.map(lambda a: jnp.stack([a, 2 * a, 3 * a]), ours)
    each = jax.vmap(lambda ours, x: ours.apply(x))(stacked, x)
    same(each, jnp.stack([(i + 1) * ours.apply(x[i]) for i in range(3)]))
    _, tangent = jax.jvp(lambda ours: ours.apply(x[0]), (ours,), (ours,))
    same(tangent, ours.apply(x[0]))


def test_any_number_of_batch_axes():
    ours = layer()
    for batch in [(), (2,), (2, 3), (1, 0, 2)]:
        x = whole(*batch, 4, 5)
        y = ours.apply(x)
        assert y.shape == (*batch, 6, 11)
        for i in np.ndindex(*batch):
            same(y[i], ours.apply(x[i]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "stride=(2,)"),
        ({"padding": 1}, "stride=(2,), padding=((1, 1),)"),
        ({"stride": 1, "groups": 2}, "groups=2"),
        ({"pad_mode": "same"}, "stride=(2,), padding='SAME'"),
        ({"output_padding": 1}, "stride=(2,), output_padding=(1,)"),
        ({"dilation": 3}, "stride=(2,), dilation=(3,)"),
    ],
)
def test_repr(options, said):
    assert repr(layer(**options)) == f"PortedLayer(4, 6, kernel_size=(3,), {said})"


def test_repr_of_a_haiku_layer():
    ours = from_haiku({"w": whole(3, 2, 4)}, stride=2, output_shape=9)
    assert repr(ours) == (
        "PortedLayer(4, 2, kernel_size=(3,), stride=(2,), padding=((1, 1),), "
        "output_size=(9,), bias=False, channels_last=True)"
    )


def test_dimension_numbers_of_many_axes():
    """Beyond three the letters are made up."""
    weight, x = whole(2, 3, 1, 2, 1, 2), whole(1, 2, 2, 1, 2, 1)
    ours = from_mindspore({"weight": weight}, stride=2)
    assert ours.options["dimension_numbers"] == ("NCabcd", "IOabcd", "NCabcd")
    same(ours.apply(x), jconvt.conv_transpose(x, weight, stride=2))
    flat = from_mindspore({"weight": whole(2, 3)})
    same(flat.apply(whole(1, 2)), whole(1, 2) @ whole(2, 3))


def test_a_call_is_apply():
    ours, x = layer(), whole(1, 4, 5)
    same(ours(x), ours.apply(x))
    same(ours(x, 12), ours.apply(x, output_size=12))
    same(jax.jit(ours)(x), ours.apply(x))


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_output_size_as_a_whole_shape(channels_last, batch):
    """The shape of a skip connection, whose channels are its own."""
    if channels_last:
        ours = from_haiku({"w": whole(3, 2, 6, 4)}, stride=2, padding="VALID")
        x, skip = whole(*batch, 5, 7, 4), np.zeros((*batch, 12, 15, 9))
    else:
        ours = from_mindspore({"weight": whole(4, 6, 3, 2)}, stride=2, padding=0)
        x, skip = whole(*batch, 4, 5, 7), np.zeros((*batch, 9, 12, 15))
    desired = ours(x, output_size=(12, 15))
    assert sorted(desired.shape[len(batch) :]) == [6, 12, 15]
    same(ours(x, output_size=skip.shape), desired)
    same(ours.apply(x, list(skip.shape)), desired)


def test_a_whole_shape_in_flax_layers():
    """Of the classes of ours and of modules that say what those cannot."""
    pytest.importorskip("flax", reason="makes Flax layers")
    x, skip = whole(2, 4, 5), whole(2, 1, 12)
    ours = layer()
    assert type(ours.to_nnx()).__name__ == "ConvTranspose1d"
    same(ours.to_nnx()(x, output_size=skip.shape), ours(x, 12))
    ours, x, skip = from_mindspore({"weight": whole(4, 6)}), whole(2, 4), whole(2, 1)
    assert type(ours.to_nnx()).__name__ == "PortedModule"  # of no spatial axis
    same(ours.to_nnx()(x, output_size=skip.shape), ours(x))
    module, variables = ours.to_linen()
    same(module.apply(variables, x, skip.shape), ours(x))


def test_a_flax_module_of_other_options_makes_its_own_bias():
    pytest.importorskip("flax", reason="makes Flax layers")
    x = whole(2, 4)
    ours = from_mindspore({"weight": whole(4, 6), "bias": whole(6)})
    module, variables = ours.to_linen()
    assert type(module).__name__ == "PortedModule"
    made = module.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, variables)
    assert not made["params"]["bias"].any()
    same(module.apply(variables, x), ours(x))


@pytest.mark.parametrize(
    ("x", "output_size", "message"),
    [
        (
            whole(1, 4, 5),
            (4, 12),
            r"^PortedLayer.apply: `output_size` must be an int, 1 ints or a whole "
            r"output shape, which for an input of 3 axes has 3; got 2: \(4, 12\)\.",
        ),
        (whole(4, 5), (1, 4, 12), "for an input of 2 axes has 2; got 3"),
        (whole(2, 3, 4, 5), (3, 4, 12), "for an input of 4 axes has 4; got 3"),
        (whole(1, 4, 5), (1, 6, 20), r"`output_size` must lie between \(11,\)"),
        (whole(5), (1, 4, 12), "`input` must have 3 axes"),
    ],
)
def test_errors_of_output_size(x, output_size, message):
    with pytest.raises(ValueError, match=message):
        layer()(x, output_size=output_size)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (whole(1, 5, 4), r"^PortedLayer.apply: `input` must have as many channels"),
        (whole(5), r"^PortedLayer.apply: `input` must have 3 axes \(batched\) or 2"),
        ([1.0], r"^PortedLayer.apply: `input` must be a JAX or NumPy array; got list"),
    ],
)
def test_errors_of_apply(x, message):
    with pytest.raises((TypeError, ValueError), match=message):
        layer().apply(x)


# Flax layers --------------------------------------------------------------------------

PADDINGS = {
    "symmetric": {"padding": 1},
    "same, even overlap": {"pad_mode": "same", "stride": 1},
    "same, odd overlap": {"pad_mode": "same"},
    "pairs": {"padding": (0, 1)},
    "pairs with output padding": {"padding": (1, 0)},
}


@pytest.mark.parametrize("name", PADDINGS)
def test_flax_layers(name):
    nnx = pytest.importorskip("flax.nnx", reason="makes Flax layers")
    options = PADDINGS[name]
    ours, x = layer(**options), whole(2, 4, 5)
    made, (module, variables) = ours.to_nnx(), ours.to_linen()
    for one in (made, module):
        assert type(one).__name__ == "ConvTranspose1d"
    same(made(x), ours.apply(x))
    same(module.apply(variables, x), ours.apply(x))
    same(made.weight[...], ours.weight)
    assert isinstance(made.bias, nnx.Param)
    shapes = jax.tree.map(jnp.shape, module.init(jax.random.key(0), x))
    assert shapes == jax.tree.map(jnp.shape, variables)

    gradient = nnx.grad(lambda made: made(x).sum())(made)
    desired = jax.grad(lambda ours: ours.apply(x).sum())(ours)
    same(gradient["weight"][...], desired.weight)
    same(gradient["bias"][...], desired.bias)
    jitted = nnx.jit(lambda made, x: made(x))
    same(jitted(made, x), ours.apply(x))
    same(made(x, output_size=made(x).shape), ours(x, output_size=made(x).shape))


def test_flax_layers_of_the_sources_layout():
    """Channels last from Haiku; several batch axes, a fixed size."""
    pytest.importorskip("flax", reason="makes Flax layers")
    ours = from_haiku({"w": whole(3, 2, 4)}, stride=2, output_shape=9)
    x = whole(2, 5, 4)
    assert ours.to_nnx().bias is None
    same(ours.to_nnx()(x), ours.apply(x))
    module, variables = ours.to_linen()
    assert variables["params"].keys() == {"weight"}
    same(module.apply(variables, x), ours.apply(x))
    last = from_haiku({"w": whole(4, 2, 4)}, stride=2).to_nnx()
    assert repr(last).startswith(
        "ConvTranspose1d(4, 2, kernel_size=(4,), stride=(2,), p"
    )
    assert last(x).shape == (2, 10, 2)


def test_no_framework_is_imported():
    """Not by the import, nor by the converters that need none."""
    code = (
        "import sys, numpy as np, jconvt.interop as i;"
        "w = np.ones((2, 3, 4));"
        "i.from_torch({'weight': w}, stride=2); i.from_mindspore({'weight': w});"
        "i.from_haiku({'w': w});"
        "names = 'torch mindspore keras flax haiku equinox onnx'.split();"
        "print([name for name in names if name in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def test_constructed_by_hand():
    ours = layer()
    again = PortedLayer(ours.weight, None, ours.config)
    same(again.apply(whole(1, 4, 5)), layer().apply(whole(1, 4, 5)) - whole(6)[:, None])
