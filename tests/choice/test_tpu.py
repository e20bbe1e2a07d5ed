"""What is chosen for a TPU, and where the rules begin and end."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from jconvt._call.problem import Map
from jconvt._choice import blocks, groups, planes, signals, strips, tables, tpu
from jconvt._choice.choose import choose, entry_for
from jconvt._lowerings.work import Variant
from problems import CANONICAL, SHARES, chosen, enlarging, geometry, problem


@pytest.mark.parametrize(
    ("k", "s", "channels", "few", "many"),
    [
        pytest.param(
            *(4, 2, (64, 16)),
            [SHARES, SHARES, CANONICAL],
            [CANONICAL] * 3,
            id="narrows",
        ),
        pytest.param(
            *(4, 2, (16, 64)),
            [SHARES, SHARES, CANONICAL],
            [CANONICAL] * 3,
            id="widens",
        ),
        pytest.param(
            *(2, 2, (64, 16)),
            [SHARES, "matmul", CANONICAL],
            [CANONICAL, "matmul", CANONICAL],
            id="narrow_blocks",
        ),
        pytest.param(
            *(2, 2, (16, 64)),
            [SHARES, SHARES, CANONICAL],
            [CANONICAL] * 3,
            id="wide_blocks",
        ),
        pytest.param(3, 1, (16, 64), *[[CANONICAL] * 3] * 2, id="stride_1"),
    ],
)
def test_preferences_for_a_tpu(k, s, channels, few, many):
    """It works on eight images at once."""
    layer = partial(problem, enlarging(k, s), n=64, channels=channels)
    assert chosen("tpu", layer(batch=1)) == few
    assert chosen("tpu", layer(batch=8)) == many


@pytest.mark.parametrize(
    ("layer", "forward"),
    [
        pytest.param({}, SHARES, id="one_image"),
        pytest.param({"k": 2, "batch": 2}, SHARES, id="two_without_halo"),
        pytest.param({"batch": 2}, CANONICAL, id="two"),
        pytest.param({"k": 2, "batch": 4}, CANONICAL, id="four_without_halo"),
        pytest.param({"groups": 4, "batch": 4}, SHARES, id="four_in_groups"),
        pytest.param({"k": 8, "s": 4, "batch": 4}, SHARES, id="four_far_apart"),
        pytest.param({"n": 41}, SHARES, id="uneven"),
        pytest.param({"n": 41, "k": 2, "batch": 2}, CANONICAL, id="two_uneven"),
        pytest.param({"n": 41, "groups": 4}, SHARES, id="uneven_in_groups"),
        pytest.param({"k": 2, "groups": 4}, "matmul", id="blocks_in_groups"),
    ],
)
def test_a_tpu_divides_images_where_it_pays(layer, forward):
    given = {"k": 4, "s": 2, "groups": 1, "n": 64, "batch": 1, **layer}
    n, batch = given.pop("n"), given.pop("batch")
    made = problem(enlarging(**given), n=n, batch=batch, channels=(64, 16))
    assert chosen("tpu", made)[0] == forward


@pytest.mark.parametrize(
    ("layer", "input_gradient"),
    [
        pytest.param({}, SHARES, id="one_image"),
        pytest.param({"n": 41}, CANONICAL, id="uneven"),
        pytest.param({"n": 16}, CANONICAL, id="shares_of_two_blocks_and_two_of_halo"),
        pytest.param({"k": 3, "n": 16}, SHARES, id="shares_of_two_blocks_and_one"),
        pytest.param({"n": 6, "batch": 4}, CANONICAL, id="a_few_elements"),
        pytest.param({"batch": 4}, SHARES, id="four_images"),
        pytest.param({"batch": 5}, CANONICAL, id="five_images"),
        pytest.param(
            {"batch": 2, "groups": 4, "out": 64}, CANONICAL, id="two_in_groups"
        ),
        pytest.param({"batch": 2, "groups": 4}, SHARES, id="two_in_narrow_groups"),
        pytest.param(
            {"batch": 2, "groups": 4, "out": 64, "d": 3}, SHARES, id="two_dilated"
        ),
        pytest.param({"k": 16, "s": 8}, CANONICAL, id="far_apart"),
    ],
)
def test_a_tpu_divides_input_gradients_where_it_pays(layer, input_gradient):
    given = {"k": 4, "s": 2, "n": 64, "batch": 1, "d": 1, "out": 16, **layer}
    n, batch, d, out = (given.pop(name) for name in ("n", "batch", "d", "out"))
    g = enlarging(**given)
    if d > 1:
        g = replace(g, dilation=(d, d), crop=((4, 4),) * 2)
    made = problem(g, n=n, batch=batch, channels=(64, out))
    assert chosen("tpu", made)[1] == input_gradient


@pytest.mark.parametrize(
    ("rank", "batch", "input_gradient"), [(2, 2, SHARES), (3, 4, CANONICAL)]
)
def test_a_tpu_divides_planes_of_far_strides(rank, batch, input_gradient):
    """Input gradients of volumes with 64 residues not."""
    layer = problem(enlarging(8, 4, rank=rank), n=64, batch=batch, channels=(64, 16))
    assert chosen("tpu", layer)[:2] == [SHARES, input_gradient]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        pytest.param({"out": 2}, ["overlap_add", CANONICAL, CANONICAL], id="one"),
        pytest.param({"batch": 8}, [CANONICAL] * 3, id="eight"),
        pytest.param({"batch": 8, "out": 1}, ["overlap_add"], id="one_channel"),
        pytest.param({"batch": 8, "s": 9, "k": 18}, ["overlap_add"], id="far_apart"),
        pytest.param({"k": 2}, ["matmul"] * 3, id="blocks"),
        pytest.param({"s": 1, "k": 9}, [CANONICAL] * 3, id="nine_products"),
        pytest.param(
            {"s": 64, "k": 128},
            ["overlap_add", "overlap_add", "fused_phases"],
            id="frames",
        ),
        pytest.param(
            {"s": 64, "k": 128, "batch": 8},
            ["overlap_add", "fused_phases", "fused_phases"],
            id="many_frames",
        ),
        pytest.param(
            {"s": 144, "k": 432}, ["overlap_add"] * 3, id="frames_that_overlap_thrice"
        ),
        pytest.param({"s": 64, "k": 576}, [CANONICAL], id="frames_of_nine"),
        pytest.param(
            {"groups": 4}, ["overlap_add", "overlap_add", "role_swapped"], id="groups"
        ),
        pytest.param(
            {"groups": 4, "s": 1, "out": 32},
            ["overlap_add", SHARES, CANONICAL],
            id="stride_1",
        ),
        pytest.param(
            {"groups": 4, "s": 1, "out": 20},
            [SHARES, SHARES, CANONICAL],
            id="ragged_groups",
        ),
        pytest.param(
            {"groups": 64, "out": 64},
            ["overlap_add", CANONICAL, CANONICAL],
            id="depthwise",
        ),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_rows_are_gemms(layer, expected, first):
    """With one spatial axis the products of a GEMM stand where they are added."""
    given = {"k": 4, "s": 2, "groups": 1, "batch": 1, "out": 16, **layer}
    g = geometry(given["k"], given["s"], groups=given["groups"])
    channels = (64, given["out"])
    made = problem(g, n=128, batch=given["batch"], channels=channels, first=first)
    found = [choose(slot, "tpu", made) for slot in Map][: len(expected)]
    assert [f.lowering for f in found] == expected
    variants = {f.variant for f in found if f.lowering == "overlap_add"}
    assert variants <= {Variant(first=first)}


@pytest.mark.parametrize(
    ("groups", "batch", "expected"),
    [
        pytest.param(2, 8, ["fused_phases"] * 2 + ["role_swapped"], id="groups"),
        pytest.param(4, 8, [SHARES] * 2 + ["role_swapped"], id="narrow_groups"),
        pytest.param(16, 8, [SHARES] * 2 + ["fused_phases"], id="depthwise"),
        pytest.param(1, 8, [CANONICAL] * 3, id="none"),
    ],
)
def test_groups_at_stride_1(groups, batch, expected):
    layer = problem(geometry(3, 1, groups=groups, rank=2), n=63, batch=batch)
    assert chosen("tpu", layer) == expected


def volume(n, channels, dtype=np.float16, batch=8):
    """Blocks, which do not overlap, of 16 bits."""
    return problem(geometry(2, 2, rank=3), n, batch, channels, dtype=dtype)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        pytest.param(
            problem(geometry(4, 2, rank=2), n=64, channels=(64, 1)),
            ["overlap_add", CANONICAL, CANONICAL],
            id="one_channel",
        ),
        pytest.param(
            problem(geometry(4, 2, rank=2), n=64, channels=(64, 1), first=False),
            ["overlap_add", CANONICAL, CANONICAL],
            id="one_channel_last",
        ),
        pytest.param(
            problem(geometry(4, 2, rank=2), n=64, channels=(4, 1)),
            ["tap_sums", "tap_sums", "overlap_add"],
            id="few_channels_to_one",
        ),
        pytest.param(
            problem(geometry(1, 1, rank=2), n=63, channels=(16, 32)),
            ["matmul"] * 3,
            id="one_tap",
        ),
        pytest.param(
            problem(geometry(1, 2, rank=2), n=63, channels=(16, 32)),
            ["matmul", "matmul", "role_swapped"],
            id="one_tap_far_apart",
        ),
        pytest.param(
            problem(geometry(1, 2, groups=4, rank=2), channels=(64, 64)),
            [CANONICAL, CANONICAL, "role_swapped"],
            id="one_tap_far_apart_in_groups",
        ),
        pytest.param(
            problem(geometry(2, 2, rank=2), n=64, channels=(64, 1)),
            ["matmul", "matmul", CANONICAL],
            id="blocks_of_one_channel",
        ),
        pytest.param(
            problem(geometry(2, 2, rank=2), n=15, channels=(16, 64), batch=4),
            [CANONICAL, "matmul", "role_swapped"],
            id="a_few_blocks",
        ),
        pytest.param(
            problem(geometry(4, 2, groups=32, rank=2), batch=8, channels=(256, 128)),
            ["overlap_add", CANONICAL, "role_swapped"],
            id="many_groups",
        ),
        pytest.param(
            problem(geometry(3, 1), n=64, batch=8, channels=(12, 12)),
            ["overlap_add", "overlap_add", CANONICAL],
            id="narrow_signals",
        ),
        pytest.param(
            problem(geometry(4, 2, groups=16, rank=2), batch=8, channels=(16, 32)),
            [CANONICAL, "overlap_add", "phases"],
            id="multiplied_channels",
        ),
        pytest.param(
            volume(8, (128, 64)),
            [CANONICAL, "matmul", "matmul"],
            id="deep_volume",
        ),
        pytest.param(
            problem(geometry(2, 2, rank=2), n=14, batch=16, channels=(64, 64)),
            [CANONICAL, CANONICAL, "role_swapped"],
            id="ragged",
        ),
        pytest.param(
            problem(geometry(2, 2, rank=2), n=14, batch=16, channels=(64, 16)),
            [CANONICAL] * 3,
            id="ragged_and_narrow",
        ),
        pytest.param(
            problem(geometry(4, 2, rank=2), batch=8, channels=(512, 256)),
            [CANONICAL, CANONICAL, "role_swapped"],
            id="large_weight",
        ),
        pytest.param(
            problem(geometry(4, 2, groups=16, rank=2), n=64, batch=8),
            [CANONICAL, CANONICAL, "role_swapped"],
            id="depthwise",
        ),
        pytest.param(
            problem(geometry(4, 2, groups=4, rank=2), n=64, batch=8),
            [CANONICAL, CANONICAL, "role_swapped"],
            id="groups",
        ),
    ],
)
def test_what_fills_a_tpus_registers(layer, expected):
    assert chosen("tpu", layer) == expected


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_one_channel_is_first_and_last_at_once(rank, first):
    """But in the blocks of a signal, which stand in a row with channels last."""
    layer = problem(geometry(3, 2, rank=rank), n=16, channels=(64, 1), first=first)
    if rank == 1:
        layer = replace(layer, size=(128,))
    found = choose(Map.OUTPUT, "tpu", layer)
    assert found.lowering == "overlap_add"
    assert found.variant == Variant(first=first or rank > 1)


def test_products_that_outgrow_memory_are_not_taken():
    """Of this volume they are eight times the output, the largest array."""
    layer = problem(geometry(4, 2, rank=3), channels=(64, 1))
    small, large = (replace(layer, size=(n,) * 3) for n in (16, 128))
    found = [choose(Map.OUTPUT, "tpu", p).lowering for p in (small, large)]
    assert found == ["overlap_add", CANONICAL]


def test_multiplied_channels_whose_products_outgrow_memory_are_sums_of_taps():
    """Of 8 x 8 taps at stride 2 the products are 16 times the output."""
    layer = problem(geometry(8, 2, groups=64, rank=2), batch=2, channels=(64, 128))
    small, large = (replace(layer, size=(n,) * 2) for n in (4, 40))
    found = [choose(Map.INPUT, "tpu", p).lowering for p in (small, large)]
    assert found == ["overlap_add", "tap_sums"]


def at(k, s, groups=1, rank=2, n=64, batch=8, channels=(16, 16)):
    """A layer at a bound: eight of all, which fill what a TPU works on at once."""
    return problem(geometry(k, s, 1, groups, rank), n, batch, channels)


def few(k, s, groups=1, rank=2, n=64, batch=1, channels=(16, 16)):
    """A layer of few images, whose blocks shares divide evenly at a size of 64."""
    return problem(enlarging(k, s, groups, rank), n, batch, channels)


row = partial(at, rank=1)


def along(layer, *stride):
    """With a stride of its own along each axis."""
    return replace(layer, geometry=replace(layer.geometry, stride=stride))


def column(taps):
    """A layer in groups at stride 1, with taps along the first axis."""
    layer = few(1, 1, groups=4)
    return replace(layer, geometry=replace(layer.geometry, kernel_size=(taps, 1)))


def half(layer):
    return replace(layer, dtype=np.dtype(np.float16))


@pytest.mark.parametrize("first", [True, False])
def test_large_images_are_added_up_with_features_last_at_stride_1(first):
    near, far = at(3, 1), few(4, 2, channels=(16, 3))
    found = [
        choose(Map.OUTPUT, "tpu", replace(layer, features_first=first))
        for layer in (near, far)
    ]
    assert [f.lowering for f in found] == ["overlap_add"] * 2
    assert [f.variant for f in found] == [Variant(first=False), Variant(first=first)]


@pytest.mark.parametrize(
    ("layer", "which", "entry"),
    [
        (few(3, 1, groups=8, channels=(16, 8)), Map.OUTPUT, "tap_sums/features first"),
        (
            few(3, 2, groups=4, channels=(16, 32)),
            Map.OUTPUT,
            "overlap_add/features first",
        ),
        *((few(2, 1, groups=2), which, "overlap_add/features first") for which in Map),
        (
            few(3, 1, groups=17, channels=(34, 34)),
            Map.INPUT,
            "overlap_add/features first",
        ),
        (
            at(4, 2, groups=64, channels=(64, 128)),
            Map.INPUT,
            "tap_sums/features last",
        ),
        (few(4, 2, channels=(8, 2)), Map.WEIGHT, "fused_phases"),
        (few(4, 2, batch=2, channels=(4, 1)), Map.WEIGHT, "overlap_add/features first"),
        (row(4, 1, n=128, channels=(4, 1)), Map.OUTPUT, "tap_sums/features first"),
        (row(4, 2, n=128, channels=(4, 1)), Map.INPUT, "tap_sums/features first"),
        *(
            (row(3, 1, groups=4, n=4096, batch=1, channels=(16, 28)), which, entry)
            for which, entry in (
                (Map.OUTPUT, "overlap_add/features first"),
                (Map.WEIGHT, "role_swapped"),
            )
        ),
    ],
    ids=str,
)
def test_which_formulation_a_rule_takes(layer, which, entry):
    assert entry_for(which, layer, choose(which, "tpu", layer)) == entry


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_several_tpus_gather_no_batch_of_depthwise_layers(platform):
    """XLA would, for the weight gradient of a convolution with a group a channel."""
    depthwise, grouped = (at(4, 2, groups=g, channels=(16, 16)) for g in (16, 8))
    found = [
        choose(Map.WEIGHT, platform, layer, local=False).lowering
        for layer in (depthwise, grouped)
    ]
    assert found == ["overlap_add" if platform == "tpu" else "phases", "phases"]


BOUNDS = {  # predicate -> layers of which it is true, and of which it just is not
    tables.is_compact: ([at(3, 64, rank=1), at(9, 8)], [at(3, 65, rank=1)]),
    signals.has_one_channel: (
        [
            at(4, 2, channels=(8, 1)),
            at(4, 2, n=16, channels=(8, 1)),
            at(4, 2, n=128, rank=1, channels=(8, 1)),
        ],
        [
            at(4, 2),
            at(4, 2, n=15, channels=(8, 1)),
            at(4, 2, n=127, rank=1, channels=(8, 1)),
        ],
    ),
    planes.has_one_plane: (
        [at(4, 2, channels=(8, 1)), at(4, 2, n=16, rank=3, channels=(8, 1))],
        [at(4, 2), at(4, 2, n=128, rank=1, channels=(8, 1))],
    ),
    tpu._is_deep: (
        [
            volume(16, (48, 33)),  # of 48 with 32 in a row
            volume(24, (64, 64)),  # of 64 with 48 in a row
            volume(32, (16, 256)),  # two registers of channels, with 64 in a row
        ],
        [
            volume(16, (32, 32)),
            volume(20, (64, 48)),  # both take 48
            volume(64, (16, 129)),  # two registers of channels, or one of 128 in a row
            volume(16, (64, 33), dtype=np.float32),
            volume(16, (64, 33), dtype=np.int8),
            half(at(2, 2)),
            half(at(2, 2, groups=2, rank=3, n=16, channels=(64, 64))),
        ],
    ),
    strips.has_few_images: (
        [
            few(4, 2),
            few(4, 4, batch=4),
            few(4, 4, rank=1),
            few(2, 2, batch=2),
            few(4, 2, groups=2, n=65, batch=4),
            few(4, 4, n=65, batch=4),
            few(4, 2, n=65),
            along(few(4, 4, groups=2), 1, 4),
            along(few(4, 4), 2, 1),
        ],
        [
            few(4, 1),
            along(few(4, 4), 1, 4),
            few(4, 4, batch=5),
            few(4, 3, rank=1),
            few(3, 2, batch=2),
            few(2, 2, batch=3),
            few(2, 2, n=65, batch=2),
        ],
    ),
    strips.gathers_strips: (
        [
            few(8, 7),
            few(8, 7, n=65, groups=2),
            few(8, 7, batch=4),
            few(8, 7, channels=(16, 2)),
            few(4, 2, n=24),
            few(4, 2, n=8, batch=4),
        ],
        [
            few(8, 8),
            few(4, 1),
            few(8, 7, batch=5),
            few(8, 7, groups=2, batch=2),
            few(8, 7, rank=1),
            few(8, 7, channels=(16, 1)),
            few(8, 7, n=65),
            few(4, 2, n=16),
            few(4, 2, n=6, batch=4),
        ],
    ),
    tpu._is_matrix: (
        [at(2, 2), at(2, 2, channels=(17, 16))],
        [at(2, 2, channels=(15, 16)), at(2, 2, n=65)],
    ),
    tpu._is_ragged: (
        [at(4, 2, n=65), at(4, 2, n=9, rank=1), at(4, 2, n=63)],
        [at(4, 2), at(4, 2, n=8, rank=1), at(1, 1, rank=0)],
    ),
    tpu._reverses_less: (
        [
            at(4, 2, n=65, channels=(8, 17)),  # ragged
            at(1, 1, rank=1, n=8, batch=1, channels=(4, 17)),  # as many weights
            at(4, 2, groups=2, channels=(2, 2), n=16),  # depthwise
            at(4, 2, groups=2, channels=(2, 4)),
            at(4, 2, groups=2, channels=(4, 4)),
            row(4, 2, groups=2, channels=(4, 4)),
            at(4, 1, groups=2, channels=(4, 256)),
            half(at(4, 1)),
        ],
        [
            at(4, 1, groups=2, channels=(4, 258)),
            at(4, 1, groups=2, channels=(2, 2)),
            at(4, 1),
            half(at(4, 2)),
            at(4, 2, channels=(8, 17)),
            at(4, 2, n=65, channels=(8, 16)),
            at(1, 1, rank=1, n=8, batch=1, channels=(3, 17)),
            at(4, 2, groups=2, channels=(2, 2), n=15),
            row(4, 2, groups=2, channels=(2, 2), n=256),
            row(4, 1, groups=2, channels=(4, 4)),
        ],
    ),
    signals.scatters_row: (
        [
            row(8, 1, batch=4),
            replace(row(8, 1, batch=7), features_first=False),
            row(72, 9),
            row(4, 2, n=128, channels=(16, 1)),
            row(4, 2, groups=2),
            row(4, 2, groups=2, channels=(2, 4)),
            row(4, 1, groups=2, batch=1),
            row(4, 2, batch=1),
            replace(row(18, 9, batch=1), features_first=False),
            *(
                replace(row(4, 2, batch=1, channels=(16, out)), features_first=False)
                for out in (2, 17)
            ),
        ],
        [
            *(
                replace(row(4, 2, batch=1, channels=(16, out)), features_first=False)
                for out in (3, 16)
            ),
            row(4, 2, groups=17, channels=(34, 34), batch=1),
            at(8, 1, batch=3),
            row(8, 1, batch=5),
            replace(row(8, 1), features_first=False),
            row(9, 1, batch=3),
            row(64, 8),
            row(73, 9),
            row(4, 2, n=127, channels=(16, 1)),
            row(4, 2, groups=16),
            row(4, 1, groups=2, batch=1, channels=(16, 18)),
        ],
    ),
    signals.has_frames: (
        [row(64, 33), row(33, 33), row(264, 33)],
        [row(64, 32), row(265, 33), at(64, 33, n=2)],
    ),
    signals.gathers_many_frames: (
        [row(512, 256, n=32), row(66, 33, n=32)],
        [
            row(512, 256, n=31),
            row(512, 256, n=32, batch=7),
            row(514, 257, n=32),
            row(64, 32, n=32),
        ],
    ),
    signals.convolves_frames: (
        [row(192, 64), row(384, 128), row(258, 129), row(516, 129), row(515, 129)],
        [row(387, 129), row(386, 129), row(96, 32)],
    ),
    signals.is_narrow_row: (
        [row(8, 1), row(3, 1, channels=(1, 16))],
        [
            row(9, 1),
            row(4, 2),
            row(3, 1, channels=(17, 16)),
            row(3, 1, channels=(16, 17)),
            row(3, 1, groups=2),
            at(3, 1),
        ],
    ),
    signals.sums_over_one_row: (
        [row(4, 2, groups=16, n=4096, batch=1)],
        [
            row(4, 2, groups=16, n=4095, batch=1),
            row(4, 2, groups=16, n=4096, batch=2),
            row(4, 1, groups=16, n=4096, batch=1),
            row(4, 2, groups=8, n=4096, batch=1),
            few(4, 2, groups=16),
        ],
    ),
    planes.sums_over_picture: (
        [few(4, 2, n=32, channels=(8, 2))],
        [few(4, 1, n=32, channels=(8, 2)), few(4, 2, n=32, channels=(8, 3))],
    ),
    planes.sums_over_few_planes: (
        [few(4, 2, channels=(4, 1)), few(4, 2, batch=7, channels=(4, 1))],
        [
            few(4, 2, n=63, channels=(4, 1)),
            few(4, 2, channels=(5, 1)),
            few(4, 2, channels=(4, 2)),
            few(4, 2, batch=8, channels=(4, 1)),
            few(4, 1, channels=(4, 1)),
            few(4, 2, n=4096, rank=1, channels=(4, 1)),
        ],
    ),
    planes.is_picture_of_two: (
        [few(4, 2, n=32, channels=(8, 2))],
        [
            few(4, 2, n=31, channels=(8, 2)),
            few(4, 2, n=32, channels=(8, 3)),
            few(4, 2, n=32, batch=2, channels=(8, 2)),
            few(4, 2, n=32, groups=2, channels=(8, 2)),
            few(4, 2, n=1024, rank=1, channels=(8, 2)),
        ],
    ),
    tpu._is_row_or_grouped: (
        [row(2, 2), row(2, 2, groups=16, batch=7), at(2, 2, groups=16)],
        [row(2, 2, groups=16), at(2, 2)],
    ),
    planes.has_few_planes: (
        [at(4, 2, channels=(4, 1))],
        [at(4, 2, channels=(5, 1)), at(4, 2, channels=(4, 2))],
    ),
    blocks.has_one_tap: (
        [at(1, 1), at(1, 2, rank=3), at(1, 1, rank=0)],
        [at(2, 1), at(2, 2)],
    ),
    blocks.is_product: ([at(1, 1)], [at(1, 2), at(2, 1)]),
    groups.is_narrow_at_stride_1: (
        [at(3, 1, groups=4, channels=(16, 28)), at(3, 1, groups=16)],
        [
            at(3, 1, groups=4, channels=(16, 32)),
            at(3, 2, groups=4),
            row(3, 1, groups=4),
            at(3, 1, channels=(16, 4)),
        ],
    ),
    groups.adds_few_products: (
        [
            few(3, 2, groups=4, channels=(16, 32)),
            few(3, 2, groups=16, channels=(32, 32), batch=7),
        ],
        [
            few(4, 2, groups=4, channels=(16, 32)),
            few(3, 2, groups=4, channels=(16, 36)),
            few(3, 2, groups=4, channels=(16, 32), batch=8),
            few(3, 2, groups=17, channels=(34, 34)),
            few(3, 2, groups=16),
            few(3, 2, channels=(16, 8)),
            few(3, 2, groups=4, channels=(16, 32), rank=1),
        ],
    ),
    groups.adds_few_neighbours: (
        [
            few(2, 1, groups=2, channels=(16, 32)),
            few(2, 1, groups=16, channels=(32, 32), batch=7),
        ],
        [
            column(5),
            along(column(4), 1, 2),
            few(2, 1, groups=2, channels=(16, 34)),
            few(2, 1, groups=2, batch=8),
            few(2, 1, groups=17, channels=(34, 34)),
            few(2, 1, groups=16),
            row(2, 1, groups=2, batch=1),
        ],
    ),
    groups.adds_large_planes: (
        [few(3, 1, groups=8, channels=(16, 8)), few(3, 1, groups=8, channels=(8, 8))],
        [
            few(3, 1, groups=8, channels=(24, 8)),
            few(3, 1, groups=8, channels=(16, 16)),
            few(3, 1, n=63, groups=8, channels=(16, 8)),
            few(3, 1, groups=8, channels=(16, 8), batch=8),
            few(3, 2, groups=8, channels=(16, 8)),
        ],
    ),
    signals.is_row_in_narrow_groups: (
        [row(3, 1, groups=4, n=4096, batch=1, channels=(16, 28))],
        [
            row(3, 1, groups=4, n=4095, batch=1, channels=(16, 28)),
            row(3, 1, groups=4, n=4096, batch=1, channels=(16, 32)),
            row(3, 1, groups=16, n=4096, batch=1),
            row(3, 1, groups=4, n=4096, batch=2, channels=(16, 28)),
        ],
    ),
    groups.gathers_many_narrow_groups: (
        [at(3, 1, groups=17, channels=(34, 34))],
        [
            at(3, 1, groups=16, channels=(32, 32)),
            at(3, 2, groups=17, channels=(34, 34)),
            at(3, 1, groups=17, channels=(34, 136)),
        ],
    ),
    groups.multiplies_many_channels: (
        [at(4, 2, groups=64, channels=(64, 128))],
        [
            at(4, 2, groups=63, channels=(63, 126)),
            at(4, 2, groups=64, channels=(64, 128), batch=7),
            at(4, 2, groups=64, channels=(64, 64)),
            row(4, 2, groups=64, channels=(64, 128)),
        ],
    ),
    groups.sums_over_multiplied_channels: (
        [
            row(4, 2, groups=16, channels=(16, 32)),
            replace(at(4, 2, groups=64, channels=(64, 128)), features_first=False),
        ],
        [
            replace(row(4, 2, groups=16, channels=(16, 32)), features_first=False),
            row(4, 2, groups=16),
        ],
    ),
    signals.is_few_signals: (
        [row(4, 2, n=128, channels=(4, 1))],
        [
            row(4, 2, n=128, channels=(5, 1)),
            row(4, 2, n=127, channels=(4, 1)),
            row(4, 2, n=128, channels=(2, 2)),
            at(4, 2, channels=(4, 1)),
        ],
    ),
    signals.adds_few_signals: (
        [row(4, 1, n=128, channels=(4, 1))],
        [row(4, 2, n=128, channels=(4, 1))],
    ),
    blocks.has_large_blocks: (
        [at(8, 8, n=8), at(9, 9, rank=3, n=2)],
        [at(7, 7, n=8), at(9, 8, n=8), row(8, 8)],
    ),
    blocks.has_few_blocks: (
        [at(3, 3, n=11), few(4, 4, n=32), at(2, 2, rank=3, n=5)],
        [at(2, 2, n=12), few(4, 4, n=33), few(4, 3, n=8), row(4, 4, n=8)],
    ),
    blocks.has_one_tap_in_groups: (
        [
            at(1, 2, groups=2),
            row(1, 2, groups=2),
            at(1, 2, groups=16, channels=(32, 32)),
        ],
        [
            at(1, 1, groups=2),
            at(1, 2),
            at(2, 2, groups=2),
            at(1, 2, groups=17, channels=(34, 34)),
        ],
    ),
    groups.scatters_groups: (
        [at(4, 2, groups=17, channels=(68, 34))],
        [
            at(4, 2, groups=16, channels=(64, 32)),
            at(4, 2, groups=17, channels=(51, 34)),
            at(4, 1, groups=17, channels=(68, 34)),
            row(4, 2, groups=17, channels=(68, 34)),
            at(4, 2, groups=64, channels=(64, 64)),
        ],
    ),
    signals.has_many_groups: (
        [row(4, 2, groups=17, channels=(34, 34))],
        [
            row(4, 2, groups=16, channels=(32, 32)),
            row(4, 2, groups=64, channels=(64, 64)),
        ],
    ),
    signals.gathers_few_groups: (
        [row(4, 2, groups=16, channels=(32, 32))],
        [row(4, 2, groups=17, channels=(34, 34)), row(4, 2)],
    ),
    groups.multiplies_channels: (
        [
            at(4, 2, groups=16, channels=(16, 32)),
            row(4, 2, groups=16, channels=(16, 32)),
        ],
        [
            at(4, 2, groups=16),
            at(4, 2, groups=16, channels=(32, 64)),
            at(4, 2, channels=(1, 2)),
        ],
    ),
    planes.has_large_images: (
        [
            at(3, 1),
            at(3, 1, rank=3, n=16),
            few(4, 2, channels=(16, 4)),
        ],
        [
            at(3, 1, n=63),
            at(3, 1, channels=(16, 17)),
            at(3, 1, groups=2),
            at(3, 1, rank=1, n=4096),
            few(4, 2, channels=(16, 5)),
            few(4, 2, channels=(16, 4), batch=2),
        ],
    ),
    signals.is_one_row_in_groups: (
        [
            row(3, 1, groups=2, batch=1),
            row(3, 2, groups=17, batch=1, channels=(34, 34)),
        ],
        [
            row(3, 1, batch=1),
            row(3, 2, groups=17, batch=2, channels=(34, 34)),
            row(3, 2, groups=16, batch=1, channels=(32, 32)),
            row(3, 1, groups=2, batch=2),
            row(3, 2, groups=2, batch=1),
            at(3, 1, groups=2, batch=1),
        ],
    ),
    strips.has_narrow_groups: (
        [at(4, 2, groups=2, channels=(32, 14)), at(4, 2, groups=2, channels=(2, 4))],
        [
            at(4, 2, groups=2, channels=(32, 16)),
            at(4, 2, groups=2, channels=(8, 8)),
            at(4, 2, channels=(32, 7)),
        ],
    ),
    groups.is_grouped_at_stride_1: (
        [at(3, 1, groups=2)],
        [at(3, 1), at(3, 2, groups=2), row(3, 1, groups=2)],
    ),
}


@pytest.mark.parametrize("holds", BOUNDS, ids=lambda f: f.__name__)
def test_preferences_at_their_bounds(holds):
    within, beyond = BOUNDS[holds]
    assert [holds(layer) for layer in within] == [True] * len(within)
    assert [holds(layer) for layer in beyond] == [False] * len(beyond)
