"""What `auto` takes, and what is refused, where a program would outgrow its use."""

import itertools
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem, useful_pairs
from jconvt._choice import tables
from jconvt._choice.choose import PLATFORMS, candidates, choose, work_of
from jconvt._choice.cost import fits
from jconvt._choice.formulation import Formulation
from jconvt._choice.pieces import WHOLE
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import Variant


def geometry(k, s, d=1, groups=1, rank=1):
    crop = ((0, 0),) * rank
    return Geometry(
        kernel_size=(k,) * rank,
        stride=(s,) * rank,
        dilation=(d,) * rank,
        crop=crop,
        groups=groups,
    )


def enlarging(k, s, groups=1, rank=2):
    """Cropped so that the output is `s` times the input, which shares divide evenly."""
    plain = geometry(k, s, groups=groups, rank=rank)
    low = (k - s) // 2
    return replace(plain, crop=((low, k - s - low),) * rank)


def problem(
    geometry,
    n=8,
    batch=2,
    channels=(16, 16),
    first=True,
    dtype=np.float32,
    static=True,
):
    return Problem(
        geometry=geometry.trim()[0],
        batch=batch,
        in_channels=channels[0],
        out_channels=channels[1],
        size=(n,) * geometry.rank,
        dtype=np.dtype(dtype),
        features_first=first,
        static=static,
    )


EVERYWHERE = list(
    itertools.product(Map, PLATFORMS, (True, False), (np.float32, np.float64))
)


@pytest.mark.parametrize(
    ("g", "never"),
    [
        pytest.param(geometry(3, 1, 10**6), "matmul", id="absurd_dilation"),
        pytest.param(geometry(40, 9, rank=2), "phases", id="81_residues"),
        pytest.param(geometry(5 * 10**8, 10**9, 7), "phases", id="absurd_stride"),
        pytest.param(geometry(4, 2), "matmul", id="overlap"),
        pytest.param(geometry(64, 1, rank=2), "gather", id="4096_slices"),
        pytest.param(geometry(3, 2, groups=4), "role_swapped", id="groups"),
    ],
)
def test_auto_takes_what_serves_and_stays_in_proportion(g, never):
    for slot, platform, static, dtype in EVERYWHERE:
        layer = problem(g, dtype=dtype, static=static)
        name, variant, *_ = choose(slot, platform, layer)
        assert name != never
        assert LOWERINGS[name].refuses(g, static) is None
        assert variant in LOWERINGS[name].variants(layer)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "rocm"])
@pytest.mark.parametrize("slot", Map)
def test_groups_are_not_inflated(platform, slot):
    """But on a TPU, whose convolutions multiply few of the zeros.

    On a CPU an input gradient, which has no dilated input, may be a convolution.
    """
    if (platform, slot) == ("cpu", Map.INPUT):
        return
    for static in (True, False):
        layer = problem(geometry(3, 2, groups=4), static=static)
        found = choose(slot, platform, layer)
        assert found.lowering != "lhs_dilation"


def chosen(platform, layer, **more):
    """The lowering of each of the three maps."""
    return [choose(slot, platform, layer, **more).lowering for slot in Map]


CANONICAL, SHARES = "lhs_dilation", "space_to_batch"


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
            [SHARES, SHARES, "role_swapped"],
            [CANONICAL, CANONICAL, "role_swapped"],
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
        pytest.param({"n": 41}, CANONICAL, id="uneven"),
        pytest.param({"n": 41, "groups": 4}, SHARES, id="uneven_in_groups"),
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
        pytest.param({"batch": 4}, SHARES, id="four_images"),
        pytest.param({"batch": 5}, CANONICAL, id="five_images"),
        pytest.param({"batch": 2, "groups": 4}, CANONICAL, id="two_in_groups"),
        pytest.param({"batch": 2, "groups": 4, "d": 2}, SHARES, id="two_dilated"),
        pytest.param({"k": 16, "s": 8}, CANONICAL, id="far_apart"),
    ],
)
def test_a_tpu_divides_input_gradients_where_it_pays(layer, input_gradient):
    given = {"k": 4, "s": 2, "n": 64, "batch": 1, "d": 1, **layer}
    n, batch, d = given.pop("n"), given.pop("batch"), given.pop("d")
    g = enlarging(**given)
    if d > 1:
        g = replace(g, dilation=(d, d), crop=((2, 3),) * 2)
    made = problem(g, n=n, batch=batch, channels=(64, 16))
    assert chosen("tpu", made)[1] == input_gradient


@pytest.mark.parametrize(
    ("rank", "batch", "input_gradient"),
    [(1, 1, CANONICAL), (2, 2, SHARES), (3, 4, CANONICAL)],
)
def test_a_tpu_divides_planes_of_far_strides(rank, batch, input_gradient):
    """Input gradients of signals not, nor of volumes with 64 residues."""
    layer = problem(enlarging(8, 4, rank=rank), n=64, batch=batch, channels=(64, 16))
    assert chosen("tpu", layer)[:2] == [SHARES, input_gradient]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_tpu_divides_no_signal_of_a_small_stride(stride):
    layer = problem(geometry(6, stride), n=64, batch=1, channels=(64, 16))
    assert chosen("tpu", layer)[:2] == [CANONICAL] * 2


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
            [CANONICAL] * 3,
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
    layer = problem(geometry(4, 2, rank=rank), n=128, channels=(64, 1), first=first)
    found = choose(Map.OUTPUT, "tpu", layer)
    assert found.lowering == "overlap_add"
    assert found.variant == Variant(first=first or rank > 1)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("k", [2, 4])
def test_several_tpus_are_given_what_gpus_are(k, groups):
    """What shares of space would move between them is not known."""
    layer = problem(geometry(k, 2, groups=groups, rank=2))
    assert chosen("tpu", layer, local=False) == chosen("cuda", layer)
    assert chosen("tpu", layer) != chosen("cuda", layer)


@pytest.mark.parametrize(
    ("k", "d", "groups", "expected"),
    [
        pytest.param(
            *(4, 1, 1), [CANONICAL, CANONICAL, "role_swapped"], id="convolutions"
        ),
        pytest.param(2, 1, 4, ["matmul"] * 3, id="grouped_blocks"),
        pytest.param(4, 1, 4, ["phases"] * 3, id="grouped"),
        pytest.param(4, 3, 1, ["phases"] * 3, id="dilated"),
    ],
)
@pytest.mark.parametrize("platform", ["cuda", "rocm"])
def test_preferences_for_a_gpu(platform, k, d, groups, expected):
    assert chosen(platform, problem(geometry(k, 2, d, groups, rank=2))) == expected


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        pytest.param(2, ["matmul"] * 3, id="blocks"),
        pytest.param(4, ["fused_phases", "phases", "phases"], id="overlap"),
    ],
)
def test_preferences_for_a_cpu_where_sizes_are_symbolic(k, expected):
    layer = problem(geometry(k, 2, rank=2), static=False)
    assert chosen("cpu", layer) == expected


def at(k, s, groups=1, rank=2, n=64, batch=8, channels=(16, 16)):
    """A layer at a bound: eight of all, which fill what a TPU works on at once."""
    return problem(geometry(k, s, 1, groups, rank), n, batch, channels)


def few(k, s, groups=1, rank=2, n=64, batch=1, channels=(16, 16)):
    """A layer of few images, whose blocks shares divide evenly at a size of 64."""
    return problem(enlarging(k, s, groups, rank), n, batch, channels)


BOUNDS = {  # predicate -> layers of which it is true, and of which it just is not
    tables.is_compact: ([at(3, 64, rank=1), at(9, 8)], [at(3, 65, rank=1)]),
    tables._has_one_channel: (
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
    tables._has_one_plane: (
        [at(4, 2, channels=(8, 1)), at(4, 2, n=16, rank=3, channels=(8, 1))],
        [at(4, 2), at(4, 2, n=128, rank=1, channels=(8, 1))],
    ),
    tables._is_deep: (
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
            replace(at(2, 2), dtype=np.dtype(np.float16)),
            replace(
                at(2, 2, groups=2, rank=3, n=16, channels=(64, 64)),
                dtype=np.dtype(np.float16),
            ),
        ],
    ),
    tables._has_few_images: (
        [
            few(4, 2),
            few(4, 4, batch=4),
            few(4, 4, rank=1),
            few(2, 2, batch=2),
            few(4, 2, groups=2, n=65, batch=4),
            few(4, 4, n=65, batch=4),
        ],
        [
            few(4, 1),
            few(4, 4, batch=5),
            few(4, 3, rank=1),
            few(3, 2, batch=2),
            few(2, 2, batch=3),
            few(4, 2, n=65),
        ],
    ),
    tables._gathers_strips: (
        [
            few(8, 7),
            few(8, 7, batch=4),
            few(8, 7, channels=(16, 2)),
            few(4, 2, n=24),
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
        ],
    ),
    tables._is_matrix: (
        [at(2, 2), at(2, 2, channels=(17, 16))],
        [at(2, 2, channels=(15, 16)), at(2, 2, n=65)],
    ),
    tables._is_ragged: (
        [at(4, 2, n=65), at(4, 2, n=9, rank=1), at(4, 2, n=63)],
        [at(4, 2), at(4, 2, n=8, rank=1), at(1, 1, rank=0)],
    ),
    tables._reverses_less: (
        [
            at(4, 2, channels=(15, 16)),  # widens, and overlaps
            at(4, 2, groups=2, channels=(2, 2)),  # depthwise
            at(4, 2, n=65),  # ragged
            at(1, 1, rank=1, n=8, batch=1, channels=(4, 16)),  # as many weights
        ],
        [
            at(4, 2),
            at(2, 2, channels=(15, 16)),
            at(4, 1, channels=(15, 16)),
            at(4, 2, channels=(1, 1)),
            at(4, 2, groups=2, channels=(4, 4)),
            at(4, 2, groups=16, rank=1),
            at(1, 1, rank=1, n=8, batch=1, channels=(3, 16)),
        ],
    ),
}


@pytest.mark.parametrize("holds", BOUNDS, ids=lambda f: f.__name__)
def test_preferences_at_their_bounds(holds):
    within, beyond = BOUNDS[holds]
    assert [holds(layer) for layer in within] == [True] * len(within)
    assert [holds(layer) for layer in beyond] == [False] * len(beyond)


def test_sixteen_bits_and_integers_take_no_filter():
    layer = problem(geometry(3, 1, rank=2), n=64, channels=(128, 128))
    for slot in Map:
        offered = candidates(slot, layer)
        assert "winograd" in {f.lowering for f in offered}
        for dtype in (jnp.bfloat16, np.float16, np.int8, np.int32, np.complex64):
            offered = candidates(slot, replace(layer, dtype=np.dtype(dtype)))
            assert "winograd" not in {f.lowering for f in offered}


def test_nothing_is_chosen_that_outgrows_the_memory_budget():
    """Every tap's products at once would be 27 times the input."""
    layer = problem(geometry(3, 2, rank=3), n=64, batch=1, channels=(64, 64))
    for slot in Map:
        found = choose(slot, "cpu", layer)
        native = work_of(slot, layer, Formulation("lhs_dilation"))
        assert fits(layer, work_of(slot, layer, found), native)
        whole = found._replace(lowering="overlap_add", pieces=WHOLE)
        assert not fits(layer, work_of(slot, layer, whole), native)


def test_one_image_is_not_copied_for_its_native_weight_gradient():
    """Which of 4 GiB leaves less room than the other maps have."""
    layer = Problem(
        geometry=Geometry(
            kernel_size=(4, 4), stride=(2, 2), dilation=(1, 1), crop=((1, 1), (1, 1))
        ),
        batch=1,
        in_channels=64,
        out_channels=32,
        size=(4096, 2048),
        dtype=np.dtype(np.float32),
        features_first=True,
    )
    native = {
        which: work_of(which, layer, Formulation("lhs_dilation")) for which in Map
    }
    assert native[Map.WEIGHT].temporary < native[Map.INPUT].temporary
    whole = Formulation("winograd", Variant(first=True, early=True))
    assert whole not in candidates(Map.WEIGHT, layer)


@pytest.mark.parametrize("slot", Map)
@pytest.mark.parametrize(("k", "s", "d"), [(4, 2, 1), (3, 2, 1), (3, 1, 1), (2, 2, 1)])
def test_no_candidate_executes_less_than_its_algorithm_needs(k, s, d, slot):
    """On each axis a filter leaves 3/4 (2 taps) or 2/3 (3 taps) of the products."""
    layer = problem(geometry(k, s, d, rank=2), n=16)
    pairs = useful_pairs(layer.geometry.axes[0], 16)
    assert layer.useful == 2 * 16 * 16 * pairs**2
    works = candidates(slot, layer)
    for formulation, work in works.items():
        filtered = formulation.lowering == "winograd"
        least = layer.useful * (4 / 9 if filtered else 1)
        assert work.executed >= least
        assert work.moved > layer.inputs


@pytest.mark.parametrize(
    ("lowering", "options", "reason"),
    [
        ("phases", {"stride": 10**9}, "at most 4096 output residues"),
        ("gather", {"stride": 10**9}, "strides and kernel sizes of at most 16384"),
        ("overlap_add", {"stride": 10**9}, "strides and kernel sizes of at most 16384"),
        ("tap_sums", {"stride": 10**9}, "strides and kernel sizes of at most 16384"),
        ("winograd", {"stride": 4}, "an axis whose output residues have 2 or 3"),
    ],
)
def test_absurd_options_are_refused_by_a_pinned_lowering(lowering, options, reason):
    with pytest.raises(ValueError, match=reason):
        jconvt.output_shape((1, 1, 1), (1, 1, 3), lowering=lowering, **options)


def test_outputs_between_the_taps_are_zero_in_every_lowering():
    """Full positions 3 to 5 of taps at 0 and 9: no phase has an element to read."""
    x, w = jnp.ones((1, 1, 1)), jnp.ones((1, 1, 2))
    options = {"stride": 2, "dilation": 9, "padding": [(3, 4)]}
    for name in (
        "auto",
        "lhs_dilation",
        "phases",
        "gather",
        "overlap_add",
        "tap_sums",
        "role_swapped",
    ):
        y, pull = jax.vjp(
            lambda x, name=name: jconvt.conv_transpose(x, w, lowering=name, **options),
            x,
        )
        np.testing.assert_array_equal(y, np.zeros((1, 1, 3)))
        np.testing.assert_array_equal(pull(jnp.ones_like(y))[0], np.zeros((1, 1, 1)))
