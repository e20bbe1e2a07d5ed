"""Integers alone: sizes, phases and crops against enumerations of the scatter.

Nothing here shares a formula with `jconvt._call.geometry` or `jconvt._call.padding`: an
output is what some pair (input element, tap) reaches, and pairs are enumerated.
"""

import dataclasses
import itertools
import math
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jconvt._call.geometry import Axis, Geometry, Phase, Trim
from jconvt._call.padding import (
    DIALECTS,
    PERIODIC,
    Crop,
    equinox_same,
    haiku_output_shape,
    keras_same,
    lax_pads,
    onnx_output_shape,
    onnx_same,
    within_period,
)

quick = settings(deadline=None, max_examples=300)

SIZES = range(1, 5)
AXES = [
    Axis(k, s, d, low, high)
    for k, s, d in itertools.product((1, 2, 3, 4, 7), (1, 2, 3, 4, 6), (1, 2, 3, 4))
    for low, high in ((0, 0), (1, 1), (3, 0), (0, 2), (-2, 1), (1, -3), (-7, -8))
]

axes = st.builds(
    Axis,
    kernel_size=st.integers(1, 12),
    stride=st.integers(1, 12),
    dilation=st.integers(1, 12),
    low=st.integers(-30, 30),
    high=st.integers(-30, 30),
)


def pairs_by_full_position(n, axis):
    """Position of the full output -> the (input element, tap) pairs that reach it."""
    reached = {}
    for i in range(n):
        for t in range(axis.kernel_size):
            position = i * axis.stride + t * axis.dilation
            reached.setdefault(position, set()).add((i, t))
    return reached


def pairs_by_output(n, axis):
    """Every output element in order, each with the pairs that reach it."""
    reached = pairs_by_full_position(n, axis)
    end = max(reached) + 1 - axis.high
    return [reached.get(p, set()) for p in range(axis.low, end)]


# Sizes --------------------------------------------------------------------------------


def check_size(n, axis):
    full = max(pairs_by_full_position(n, axis)) + 1
    assert axis.output_size(n) == full - axis.low - axis.high
    if axis.output_size(n) >= 0:
        assert axis.output_size(n) == len(pairs_by_output(n, axis))


def test_extent_is_what_one_element_reaches():
    for axis in AXES:
        assert axis.extent == max(pairs_by_full_position(1, axis)) + 1


def test_output_size_is_what_the_scatter_reaches():
    for n, axis in itertools.product(SIZES, AXES):
        check_size(n, axis)


@quick
@given(st.integers(1, 20), axes)
def test_output_size_of_any_axis(n, axis):
    check_size(n, axis)


def test_output_size_of_an_empty_input():
    """Of no input the formula leaves the kernel's reach past the stride."""
    assert Axis(4, 2, 1, 0, 0).output_size(0) == 2
    assert Axis(4, 2, 1, 1, 1).output_size(0) == 0
    assert Axis(3, 5, 1, 0, 0).output_size(0) == -2


@quick
@given(st.integers(0, 20), axes)
def test_extra_blocks_is_the_same_for_every_size(n, axis):
    assert axis.extra_blocks == math.ceil(axis.output_size(n) / axis.stride) - n


# Phases -------------------------------------------------------------------------------


def pairs_by_phase(n, axis):
    """Output element -> pairs, read off the phases as a convolution would use them.

    A phase pads the input and correlates it with its flipped taps: its output q reads
    padded elements q, q + dilation, ..., with the last tap first.
    """
    outputs = {}
    for residue, phase in enumerate(axis.phases()):
        low, high = phase.pad
        taps = [phase.first_tap + m * phase.tap_step for m in range(phase.taps)]
        if taps:
            blocks = n + low + high - phase.dilation * (phase.taps - 1)
        else:
            blocks = n + axis.extra_blocks
        for q in range(blocks):
            reads = [q + m * phase.dilation - low for m in range(phase.taps)]
            o = axis.stride * q + residue
            assert o not in outputs
            read = zip(reads, reversed(taps), strict=True)
            outputs[o] = {(i, t) for i, t in read if 0 <= i < n}
    return outputs


def check_phases(n, axis):
    expected = pairs_by_output(n, axis)
    outputs = pairs_by_phase(n, axis)
    # Whole blocks: what is past the end is less than a stride, and is cut.
    assert len(outputs) == axis.stride * math.ceil(len(expected) / axis.stride)
    assert [outputs[o] for o in range(len(expected))] == expected


def test_phases_cover_each_output_once_with_its_own_pairs():
    for n, axis in itertools.product(SIZES, AXES):
        if axis.output_size(n) > 0:
            check_phases(n, axis)


@quick
@example(5, Axis(4, 2, 1, 1, 1))  # the upsampling layer of every decoder
@example(5, Axis(3, 6, 4, 5, -5))  # phases without taps between phases with some
@example(1, Axis(1, 9, 7, -9, -9))
@given(st.integers(1, 20), axes)
def test_phases_of_any_axis(n, axis):
    if axis.output_size(n) > 0:
        check_phases(n, axis)


def test_phases_are_one_for_each_residue():
    for axis in AXES:
        assert len(axis.phases()) == axis.stride


def test_taps_of_the_phases_are_the_kernel():
    """Each tap is in exactly one phase, so no phase does another's work."""
    for axis in AXES:
        taps = [
            p.first_tap + m * p.tap_step for p in axis.phases() for m in range(p.taps)
        ]
        assert sorted(taps) == list(range(axis.kernel_size))


def test_phases_without_taps_are_all_the_same():
    """So that equal phases can be told by comparison, and none has a padding."""
    empty = {p for axis in AXES for p in axis.phases() if not p.taps}
    assert empty == {Phase(0, 1, 0, 1, (0, 0))}


# Trims --------------------------------------------------------------------------------


def check_trim(n, axis, divide):
    """Drop, the trimmed axis, and zeros are the axis; no crop is left over."""
    trim = axis.trim(divide=divide)
    trimmed = trim.axis
    assert 0 <= trimmed.low < trimmed.extent
    assert 0 <= trimmed.high < trimmed.extent
    assert min(*trim.drop, *trim.pad) >= 0
    assert (trimmed.stride * trim.apart, trimmed.dilation * trim.apart) == (
        axis.stride,
        axis.dilation,
    )
    assert trim.apart == 1 or divide
    if divide:
        both = range(2, trimmed.stride + 1)
        assert all(trimmed.stride % g or trimmed.dilation % g for g in both)
    left = n - sum(trim.drop)
    if left <= 0 or not trimmed.output_size(left):  # zeros alone
        assert not any(pairs_by_output(n, axis))
        return
    found = [
        {(i + trim.drop[0], t) for i, t in pairs}
        for pairs in pairs_by_output(left, trimmed)
    ]
    spaced = [set()] * (trim.apart * (len(found) - 1) + 1)
    spaced[:: trim.apart] = found
    low, high = ([set()] * count for count in trim.pad)
    assert [*low, *spaced, *high] == pairs_by_output(n, axis)


@pytest.mark.parametrize("divide", [True, False])
def test_trim_changes_no_output(divide):
    for n, axis in itertools.product(SIZES, AXES):
        if axis.output_size(n) > 0:
            check_trim(n, axis, divide)


@quick
@given(st.integers(1, 20), axes, st.booleans())
def test_trim_of_any_axis(n, axis, divide):
    if axis.output_size(n) > 0:
        check_trim(n, axis, divide)


# Dialects -----------------------------------------------------------------------------

kernels = st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 4))
KERNELS = list(itertools.product(range(1, 8), range(1, 6), range(1, 4)))


def axis_of(dialect, k, s, d):
    extent = d * (k - 1) + 1
    crop = DIALECTS[dialect](extent, s)
    return Axis(k, s, d, crop.low, crop.high), crop.wrap


def test_names():
    assert list(DIALECTS) == [
        "VALID",
        "SAME",
        "SAME_LOWER",
        "CAUSAL",
        "CIRCULAR",
        "CIRCULAR_LOWER",
    ]
    assert set(DIALECTS) >= PERIODIC


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "VALID"])
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_size_is_input_times_stride(dialect, n):
    for k, s, d in KERNELS:
        axis, (before, after) = axis_of(dialect, k, s, d)
        assert axis.output_size(before + n + after) == n * s


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name not in PERIODIC])
def test_only_periodic_dialects_wrap(dialect):
    for kernel in KERNELS:
        assert axis_of(dialect, *kernel)[1] == (0, 0)


def test_valid_is_the_longest_signal_a_valid_convolution_takes_to_n():
    """Where the kernel is over the stride, the shortest: Keras and lax pick that."""
    for n, (k, s, d) in itertools.product(SIZES, KERNELS):
        axis, _ = axis_of("VALID", k, s, d)
        extent = d * (k - 1) + 1
        lengths = [m for m in range(100) if len(range(0, m - extent + 1, s)) == n]
        expected = lengths[0] if extent >= s else lengths[s - extent]
        assert axis.low == 0
        assert axis.output_size(n) == expected
        assert axis.output_size(n) >= expected


def forward_same_padding(size, k, s, d):
    """TensorFlow's SAME of a forward convolution, from its documentation."""
    extent = d * (k - 1) + 1
    out = -(-size // s)
    total = max((out - 1) * s + extent - size, 0)
    return out, total // 2


def test_same_is_the_adjoint_of_tensorflows_same():
    for n, (k, s, d) in itertools.product(SIZES, KERNELS):
        axis, _ = axis_of("SAME", k, s, d)
        out, low = forward_same_padding(n * s, k, s, d)
        assert out == n
        assert axis.low == low


def lax_low_level_padding(k, s, padding):
    """The zeros around the dilated input that `jax.lax.conv_transpose` documents."""
    if padding == "SAME":
        total = k + s - 2
        low = k - 1 if s > k - 1 else math.ceil(total / 2)
    else:
        total = k + s - 2 + max(k - s, 0)
        low = k - 1
    return low, total - low


@pytest.mark.parametrize("dialect", ["SAME", "VALID"])
def test_same_and_valid_are_the_padding_of_lax(dialect):
    for k, s, d in KERNELS:
        axis, _ = axis_of(dialect, k, s, d)
        geometry = Geometry(
            kernel_size=(k,), stride=(s,), dilation=(d,), crop=((axis.low, axis.high),)
        )
        extent = d * (k - 1) + 1
        expected = lax_low_level_padding(extent, s, dialect)
        assert geometry.dilated_pads == (expected,)


def test_same_lower_is_the_formula_of_onnx():
    """ONNX: total = s*(n-1) + e - n*s, and the larger half is the begin's."""
    for n, (k, s, d) in itertools.product(SIZES, KERNELS):
        axis, _ = axis_of("SAME_LOWER", k, s, d)
        total = s * (n - 1) + (k - 1) * d + 1 - n * s
        if total >= 0:  # ONNX's pads are not negative
            assert axis.low == total - total // 2
            assert axis.high == total // 2
        else:
            assert axis.low == 0


def test_causal_sees_no_later_input():
    """Output o belongs to input element o // s, and to none after it."""
    for n, (k, s, d) in itertools.product(SIZES, KERNELS):
        axis, _ = axis_of("CAUSAL", k, s, d)
        for o, pairs in enumerate(pairs_by_output(n, axis)):
            assert all(i <= o // s for i, _ in pairs)
        # and it is the earliest such alignment: tap 0 of element i is at i*s
        assert (n - 1, 0) in pairs_by_output(n, axis)[(n - 1) * s]


def check_circular(dialect, n, k, s, d):
    """The full output summed modulo n*s, begun at the crop of the plain dialect."""
    same, _ = axis_of(
        dialect.replace("CIRCULAR", "SAME").replace("SAME_SAME", "SAME"), k, s, d
    )
    expected = [[] for _ in range(n * s)]
    for i, t in itertools.product(range(n), range(k)):
        expected[(i * s + t * d - same.low) % (n * s)].append((i, t))
    axis, (before, after) = axis_of(dialect, k, s, d)
    assert before >= 0
    assert after >= 0
    outputs = pairs_by_output(before + n + after, axis)
    found = [sorted(((i - before) % n, t) for i, t in pairs) for pairs in outputs]
    assert found == [sorted(pairs) for pairs in expected]


@pytest.mark.parametrize("dialect", sorted(PERIODIC))
@pytest.mark.parametrize("n", SIZES)  # most of them smaller than the wrap
def test_circular_is_the_full_output_modulo_its_size(dialect, n):
    for kernel in KERNELS:
        check_circular(dialect, n, *kernel)


@quick
@given(st.sampled_from(sorted(PERIODIC)), st.integers(1, 9), kernels)
def test_circular_of_any_kernel(dialect, n, kernel):
    check_circular(dialect, n, *kernel)


def test_circular_wraps_no_more_than_it_must():
    """The outermost elements of the continued input reach an output each."""
    for dialect, (k, s, d) in itertools.product(sorted(PERIODIC), KERNELS):
        axis, (before, after) = axis_of(dialect, k, s, d)
        if d == 1:  # with dilation an element within the reach may fall between taps
            n = before + 4 + after
            used = {i for pairs in pairs_by_output(n, axis) for i, _ in pairs}
            assert not before or 0 in used
            assert not after or n - 1 in used or k < s


# Periods ------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", sorted(PERIODIC))
def test_a_dilation_past_the_period_is_one_within_it(dialect):
    """The same pairs, modulo the input's size, with a wrap that does not grow."""
    for n, k, s, d in itertools.product(SIZES, (1, 2, 3, 5), (1, 2, 3), (1, 4, 9, 50)):
        axis, wrap = axis_of(dialect, k, s, d)
        crop, dilation = within_period(Crop(axis.low, axis.high, wrap), k, s, d, n)
        assert dilation <= max(n * s, 1)
        assert (dilation - d) % (n * s) == 0
        if d <= n * s:
            assert (crop, dilation) == (Crop(axis.low, axis.high, wrap), d)
        assert max(crop.wrap) <= n * k
        within = Axis(k, s, dilation, crop.low, crop.high)
        assert wrapped_pairs(n, within, crop.wrap) == wrapped_pairs(n, axis, wrap)


def wrapped_pairs(n, axis, wrap):
    """Output element -> the pairs that reach it, of the input continued by `wrap`."""
    before, after = wrap
    outputs = pairs_by_output(before + n + after, axis)
    return [sorted(((i - before) % n, t) for i, t in pairs) for pairs in outputs]


def test_a_period_of_nothing_is_left_alone():
    assert within_period(Crop(1, 2, (3, 4)), 2, 2, 9, 0) == (Crop(1, 2, (3, 4)), 9)


# Rules of frameworks ------------------------------------------------------------------


@pytest.mark.parametrize("pads", [(0, 0), (3, 1), (1, 4), (-1, 2), (2, -2)])
def test_zeros_around_the_dilated_input(pads):
    """Output o of a correlation reads padded positions o + t*d with the last tap first.

    Input element i stands at low + i*s; a negative padding drops what is there.
    """
    low, high = pads
    for n, (k, s, d) in itertools.product(SIZES, KERNELS):
        extent = d * (k - 1) + 1
        length = low + (n - 1) * s + 1 + high
        stands = {low + i * s: i for i in range(n) if 0 <= low + i * s < length}
        expected = []
        for o in range(length - extent + 1):
            reads = ((o + t * d, k - 1 - t) for t in range(k))
            expected.append({(stands[p], t) for p, t in reads if p in stands})
        crop = lax_pads(extent, low, high)
        found = pairs_by_output(n, Axis(k, s, d, crop.low, crop.high))
        assert found == expected


def same_begin(total, lower):
    """Of elements to crop those at the begin, half of them; none of less than none."""
    return math.ceil(max(total, 0) / 2) if lower else math.floor(max(total, 0) / 2)


def test_keras_same_with_an_output_padding():
    """Keras: (n - 1)*s + e + output_padding - 2*(e // 2) elements."""
    for n, (k, s, d), a in itertools.product(SIZES, KERNELS, range(4)):
        extent = d * (k - 1) + 1
        crop = keras_same(extent, a)
        axis = Axis(k, s, d, crop.low, crop.high)
        assert axis.output_size(n) == (n - 1) * s + extent + a - 2 * (extent // 2)
        assert crop.low == same_begin(crop.low + crop.high, lower=False)


@pytest.mark.parametrize("lower", [False, True])
def test_equinox_same_is_the_adjoint_of_a_convolution(lower):
    """Of one from n*s - output_padding elements to n, padded for exactly those."""
    for n, (k, s, d) in itertools.product(SIZES, KERNELS):
        for a in range(s):
            crop = equinox_same(d * (k - 1) + 1, s, a, lower=lower)
            axis = Axis(k, s, d, crop.low, crop.high)
            size = n * s - a
            assert axis.output_size(n) == size
            missing = (n - 1) * s + axis.extent - size
            assert crop.low == same_begin(missing, lower)


@pytest.mark.parametrize("same", [False, True])
def test_haikus_output_shape_is_what_a_convolution_takes_to_the_input(same):
    for size, (k, s, d) in itertools.product(range(1, 20), KERNELS):
        extent = d * (k - 1) + 1
        starts = range(0, size, s) if same else range(0, size - extent + 1, s)
        if starts:
            crop = haiku_output_shape(extent, s, size, same=same)
            axis = Axis(k, s, d, crop.low, crop.high)
            assert axis.output_size(len(starts)) == size
            low = forward_same_padding(size, k, s, d)[1] if same else 0
            assert crop.low == low


@pytest.mark.parametrize("lower", [False, True])
def test_onnx_same_crops_what_exceeds_the_input_times_the_stride(lower):
    for n, (k, s, d), a in itertools.product(SIZES, KERNELS, range(3)):
        crop = onnx_same(d * (k - 1) + 1, s, a, lower=lower)
        axis = Axis(k, s, d, crop.low, crop.high)
        whole = max(pairs_by_full_position(n, axis)) + 1
        assert crop.low + crop.high == max(whole + a - n * s, 0)
        assert crop.low == same_begin(whole + a - n * s, lower)


@pytest.mark.parametrize("lower", [False, True])
def test_onnx_output_shape_crops_what_exceeds_it(lower):
    """The output_padding is appended after the crop."""
    for n, (k, s, d), a in itertools.product(SIZES, KERNELS, range(3)):
        extent = d * (k - 1) + 1
        for size in (1, n * s, n * s + 5, 40):
            crop = onnx_output_shape(n, extent, s, a, size, lower=lower)
            axis = Axis(k, s, d, crop.low, crop.high - a)
            assert axis.output_size(n) == size
            whole = max(pairs_by_full_position(n, axis)) + 1
            assert crop.low == same_begin(whole + a - size, lower)


# The dataclasses ----------------------------------------------------------------------

GEOMETRY = Geometry(
    kernel_size=(4, 3), stride=(2, 3), dilation=(1, 2), crop=((1, 1), (-2, 5)), groups=2
)


def test_geometry_of_several_axes_is_each_axis():
    assert GEOMETRY.rank == 2
    assert GEOMETRY.axes == (Axis(4, 2, 1, 1, 1), Axis(3, 3, 2, -2, 5))
    assert GEOMETRY.extent == (4, 5)
    assert GEOMETRY.output_size((5, 6)) == (10, 17)
    assert GEOMETRY.dilated_pads == ((2, 2), (6, -1))


def test_trim_of_several_axes_is_each_axis():
    trimmed, trims = GEOMETRY.trim()
    assert trims == (
        Trim((0, 0), Axis(4, 2, 1, 1, 1), 1, (0, 0)),
        Trim((0, 1), Axis(3, 3, 2, 0, 2), 1, (2, 0)),
    )
    assert trimmed == dataclasses.replace(GEOMETRY, crop=((1, 1), (0, 2)))


def test_trim_divides_a_geometry_on_request():
    given = Geometry(
        kernel_size=(3, 2), stride=(4, 2), dilation=(6, 2), crop=((3, 5), (0, 0))
    )
    divided = dataclasses.replace(
        given, stride=(2, 1), dilation=(3, 1), crop=((2, 3), (0, 0))
    )
    assert given.trim()[0] == divided
    assert given.trim(divide=False)[0] == given


def test_geometry_of_no_axes():
    scalar = Geometry(kernel_size=(), stride=(), dilation=(), crop=())
    assert (scalar.rank, scalar.axes, scalar.output_size(())) == (0, (), ())


def test_equal_geometries_are_one_key():
    again = dataclasses.replace(GEOMETRY)
    assert again is not GEOMETRY
    assert again == GEOMETRY
    assert len({again, GEOMETRY}) == 1
    assert dataclasses.replace(GEOMETRY, groups=1) != GEOMETRY
    assert len({Axis(1, 2, 3, 4, 5), Axis(1, 2, 3, 4, 5)}) == 1


@pytest.mark.parametrize(
    "value", [GEOMETRY, GEOMETRY.axes[0]], ids=["geometry", "axis"]
)
def test_frozen(value):
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.stride = 1
    assert not hasattr(value, "__dict__")


def test_geometry_is_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        Geometry((4,), (2,), (1,), ((0, 0),))


def test_sizes_of_another_rank_are_refused():
    with pytest.raises(ValueError, match="zip"):
        GEOMETRY.output_size((5,))


@pytest.mark.parametrize("field", ["kernel_size", "stride", "dilation", "crop"])
def test_fields_of_different_ranks_are_refused(field):
    shorter = {field: getattr(GEOMETRY, field)[:1]}
    with pytest.raises(ValueError, match="zip"):
        _ = dataclasses.replace(GEOMETRY, **shorter).axes


# Nothing but integers -----------------------------------------------------------------

WITHOUT_JAX = """
import importlib, importlib.util, sys, types
for blocked in ("jax", "jaxlib", "flax"):
    sys.modules[blocked] = None  # importing it is an ImportError
package = types.ModuleType("jconvt")  # the package's own __init__ imports JAX
package.__path__ = importlib.util.find_spec("jconvt").submodule_search_locations
sys.modules["jconvt"] = package
for name in (
    "_call.geometry", "_call.padding", "_call.arguments", "_call.problem",
    "_choice.cost", "_choice.pieces", "_choice.formulation", "_choice.turned",
    "_lowerings.work", "_lowerings.patches.blocks", "_lowerings.patches.work",
):
    importlib.import_module(f"jconvt.{name}")
assert "jconvt._lowerings.table" not in sys.modules
"""


def test_arithmetic_loads_without_jax():
    subprocess.run([sys.executable, "-c", WITHOUT_JAX], check=True)


def test_the_block_blocks():
    """Canary of the test before: a module that does need JAX does not load."""
    code = WITHOUT_JAX.replace('"_call.geometry"', '"_call.numerics"')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "import of jax halted" in done.stderr
