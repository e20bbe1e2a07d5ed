"""An entry of `Lowerings` can say all of a formulation: variant, pieces, turned."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
from jconvt._call.lowerings import Entry, read_entry
from jconvt._call.problem import Map
from jconvt._choice.by_group import problem_of_group
from jconvt._choice.choose import candidates, choose, entry_for, pinned, work_of
from jconvt._choice.formulation import Formulation
from jconvt._choice.pieces import WHOLE
from jconvt._maps import make
from jconvt._shapes import call_of_shapes

ENTRIES = {
    "phases": Entry("phases"),
    "gather/features first, blocks early": Entry(
        "gather", "features first, blocks early"
    ),
    "phases/4 images a piece": Entry("phases", images=4),
    "phases/8 blocks a piece": Entry("phases", blocks=8),
    "phases/8 blocks a piece along axis 2": Entry("phases", blocks=8, axis=2),
    "gather/features last/4 images a piece, 8 blocks a piece along axis 1": Entry(
        "gather", "features last", 4, 8, 1
    ),
    "phases/2 images a piece/turned": Entry("phases", images=2, turned=True),
    "phases/turned": Entry("phases", turned=True),
    "phases/by group": Entry("phases", by_group=True),
    "gather/features last/2 images a piece/by group/turned": Entry(
        "gather", "features last", 2, turned=True, by_group=True
    ),
}


@pytest.mark.parametrize("text", ENTRIES)
def test_an_entry_is_read_and_written(text):
    assert read_entry(text) == ENTRIES[text]
    assert str(read_entry(text)) == text


@pytest.mark.parametrize(
    "part",
    [
        *("", "0 images a piece", "4 images", "4 images a piece along axis 1"),
        *("2 blocks a piece, 1 images a piece", "turned/features last", "Turned"),
        "4 images a piece2 blocks a piece",
    ],
)
def test_what_is_no_part_is_refused_as_a_variant(part):
    assert read_entry(f"phases/{part}").variant == part
    with pytest.raises(ValueError, match=f"got 'phases/{part}'"):
        jconvt.output_shape((1, 2, 5), (2, 2, 3), lowering=f"phases/{part}")


# A formulation and its entry ----------------------------------------------------------

LAYERS = {
    "small": ((2, 3, 5), (3, 2, 3), {"stride": 2}),
    "turned": ((4, 8, 32, 32), (8, 8, 3, 3), {"padding": 1}),
    "large": ((32, 64, 128, 128), (64, 32, 4, 4), {"stride": 2, "padding": 1}),
    "large-turned": ((6, 64, 512, 256), (64, 64, 5, 5), {"padding": 2}),
    "groups": ((2, 32, 20, 20), (32, 4, 5, 5), {"groups": 8}),
    "volume": ((1, 16, 64, 128, 96), (16, 16, 3, 3, 3), {"stride": (1, 2, 2)}),
}


@pytest.mark.parametrize("which", Map)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_candidate_has_an_entry(layer, which):
    x, w, options = LAYERS[layer]
    problem = call_of_shapes("test", x, w, **options)[0].problem(x, w)
    found = candidates(which, problem)
    entries = {entry_for(which, problem, f): f for f in found}
    assert len(entries) == len(found)
    for entry, formulation in entries.items():
        assert pinned(which, entry, problem) == formulation
    if layer.startswith("large"):
        assert any(f.pieces != WHOLE for f in found)
    if layer == "groups":
        assert {f.by_group for f in found} == {False, True}
    if "turned" in layer and which == Map.INPUT:
        assert all(f.turned for f in found)


def test_pieces_are_no_larger_than_said():
    x, w, options = LAYERS["large"]
    call, *_ = call_of_shapes("test", x, w, **options)
    entry = "phases/4 images a piece, 16 blocks a piece along axis 1"
    for shape, expected in {
        x: (8, 16, 1),
        (96, *x[1:]): (24, 16, 1),
        (6, *x[1:]): (2, 16, 1),
        (3, *x[1:]): (1, 16, 1),
        (32, 64, 128, 32): (8, 16, 1),
        (32, 64, 128, 31): (8, 0, 0),  # 62 outputs are fewer than two pieces
    }.items():
        pieces = pinned(Map.OUTPUT, entry, call.problem(shape, w)).pieces
        assert (pieces.batch, pieces.blocks, pieces.axis) == expected


# What is said runs --------------------------------------------------------------------


def three(x, w, y, options, lowering):
    """Output and gradients."""

    def f(x, w):
        return jconvt.conv_transpose(x, w, **options, lowering=lowering)

    out, pull = jax.vjp(f, x, w)
    return (out, *pull(y))


@pytest.fixture
def formulations(monkeypatch):
    """What was carried out, by map."""
    found, perform = {}, make.perform

    def noting(made, operands, call, shape, formulation, target):
        found.setdefault(made, formulation)
        return perform(made, operands, call, shape, formulation, target)

    monkeypatch.setattr(make, "perform", noting)
    return found


def arrays(*shapes):
    draw = np.random.default_rng(0).integers
    return [jnp.asarray(draw(-2, 3, shape), jnp.float32) for shape in shapes]


@pytest.mark.parametrize(
    ("options", "turned"),
    [({"padding": 1}, True), ({"stride": (1, 2), "padding": (1, 0)}, False)],
)
def test_pieces_and_turned_kernels_compute_the_same(formulations, options, turned):
    shapes = (4, 3, 7, 9), (3, 2, 3, 3)
    x, w, y = arrays(*shapes, jconvt.output_shape(*shapes, **options))
    rows, images = "phases/2 blocks a piece along axis 1", "2 images a piece"
    mine = jconvt.Lowerings(
        forward=f"gather/features last/{images}, 2 blocks a piece",
        input_gradient=f"phases/{images}" + "/turned" * turned,
        weight_gradient=rows,
    )
    expected = three(x, w, y, options, "lhs_dilation")
    formulations.clear()
    for found, wanted in zip(three(x, w, y, options, mine), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert {m: str(f.pieces) for m, f in formulations.items()} == {
        Map.OUTPUT: "batch in 2 pieces, 2 blocks a piece",
        Map.INPUT: "batch in 2 pieces",
        Map.WEIGHT: "2 blocks a piece, along axis 1",
    }
    assert formulations[Map.INPUT].turned == turned


def test_under_vmap_there_are_more_pieces(formulations):
    x, w = arrays((4, 3, 5), (3, 2, 3))
    each = jax.vmap(
        lambda x: jconvt.conv_transpose(x, w, lowering="phases/2 images a piece")
    )
    np.testing.assert_array_equal(
        each(jnp.stack([x, x, x]))[1], jconvt.conv_transpose(x, w)
    )
    assert formulations[Map.OUTPUT].pieces.batch == 6


def test_explain_reads_them():
    x, w, options = LAYERS["large-turned"]
    problem = call_of_shapes("test", x, w, **options)[0].problem(x, w)
    picks = {m: entry_for(m, problem, choose(m, "cpu", problem)) for m in Map}
    mine = jconvt.Lowerings(
        **{m.replace(" ", "_"): entry for m, entry in picks.items()}
    )
    told = jconvt.explain(x, w, **options, lowering=mine, platform="cpu")
    auto = jconvt.explain(x, w, **options, platform="cpu")
    assert told.candidates == auto.candidates


@pytest.mark.parametrize(
    ("field", "entry", "message"),
    [
        (
            "forward",
            "phases/turned",
            "only for the input gradient of a layer of stride",
        ),
        ("weight_gradient", "phases/turned", "got 'phases/turned' at stride (1,)"),
        ("input_gradient", "matmul/turned", "cannot serve this geometry"),
        (
            "forward",
            "phases/2 blocks a piece along axis 1",
            "one of the 1 spatial axes",
        ),
        ("forward", "phases/no/2 images a piece", "must be one of phases for"),
    ],
)
def test_errors(field, entry, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        jconvt.output_shape(
            (1, 2, 5), (2, 2, 3), lowering=jconvt.Lowerings(**{field: entry})
        )


def test_a_layer_of_stride_2_is_not_turned():
    mine = jconvt.Lowerings(input_gradient="phases/turned")
    with pytest.raises(ValueError, match=r"Leave out '/turned'"):
        jconvt.output_shape((1, 2, 5), (2, 2, 3), stride=2, lowering=mine)


# Group by group -----------------------------------------------------------------------

GROUPED = (2, 12, 7, 6), (12, 4, 3, 3)


@pytest.mark.parametrize(
    "numbers", [("NCHW", "IOHW", "NCHW"), ("NHWC", "HWIO", "NHWC")]
)
@pytest.mark.parametrize("stride", [1, 2])
def test_groups_by_themselves_compute_the_same(formulations, numbers, stride):
    x, w = arrays(*GROUPED)
    if numbers[0] == "NHWC":
        x, w = jnp.transpose(x, (0, 2, 3, 1)), jnp.transpose(w, (2, 3, 0, 1))
    options = {"stride": stride, "groups": 3, "dimension_numbers": numbers}
    (y,) = arrays(jconvt.output_shape(x.shape, w.shape, **options))
    mine = jconvt.Lowerings(
        forward="gather/features last/1 images a piece/by group",
        input_gradient="phases/by group" + "/turned" * (stride == 1),
        weight_gradient="overlap_add/by group",
    )
    expected = three(x, w, y, options, "lhs_dilation")
    formulations.clear()
    for found, wanted in zip(three(x, w, y, options, mine), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert all(formulations[m].by_group for m in Map)


def test_a_layer_without_groups_does_not_go_by_group():
    with pytest.raises(ValueError, match="only for a layer with `groups` above 1"):
        jconvt.output_shape((1, 2, 5), (2, 2, 3), lowering="phases/by group")


def test_the_choice_takes_groups_by_themselves_on_one_device_alone():
    x, w, options = (1, 512, 37, 37), (512, 32, 3, 5), {"stride": 2, "groups": 8}
    problem = call_of_shapes("test", x, w, **options)[0].problem(x, w)
    assert choose(Map.OUTPUT, "cpu", problem).by_group
    for which in Map:
        assert not choose(which, "cpu", problem, local=False).by_group


@pytest.mark.parametrize(
    ("channels", "groups", "able"),
    [(64, 1, False), (64, 16, True), (128, 32, False), (48, 16, False)],
)
def test_few_groups_of_several_channels_may_go_by_themselves(channels, groups, able):
    x, w = (1, channels, 32), (channels, channels // groups, 4)
    problem = call_of_shapes("test", x, w, groups=groups)[0].problem(x, w)
    assert any(f.by_group for f in candidates(Map.OUTPUT, problem)) == able


def test_by_group_counts_all_groups_and_the_parts():
    x, w, options = LAYERS["groups"]
    problem = call_of_shapes("test", x, w, **options)[0].problem(x, w)
    whole = Formulation("phases")
    work = work_of(Map.OUTPUT, problem, whole._replace(by_group=True))
    one = work_of(Map.OUTPUT, problem_of_group(problem), whole)
    parts = problem.inputs + problem.outputs
    assert work.executed == 8 * one.executed
    assert (work.cut, work.temporary) == (parts, one.temporary + parts)


def test_an_entry_serves_what_a_common_divisor_leaves():
    """Stride and dilation 2 are computed as 1, where an input gradient is turned."""
    options = {
        "stride": 2,
        "lowering": jconvt.Lowerings(input_gradient="gather/turned"),
    }
    layer = (1, 2, 5), (2, 2, 3)
    assert jconvt.output_shape(*layer, dilation=2, **options) == (1, 2, 13)
    with pytest.raises(ValueError, match="layer of stride 1"):
        jconvt.output_shape(*layer, **options)
