"""What `auto` takes, and what is refused, where a program would outgrow its use."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
from jconvt._call.geometry import Geometry
from jconvt._call.problem import Map, Problem, useful_pairs
from jconvt._choice.choose import PLATFORMS, candidates, choose, work_of
from jconvt._choice.cost import fits
from jconvt._choice.formulation import Formulation
from jconvt._choice.pieces import WHOLE
from jconvt._lowerings.table import LOWERINGS
from jconvt._lowerings.work import Variant
from problems import CANONICAL, chosen, geometry, problem

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


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("k", [3, 4])
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
