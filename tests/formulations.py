"""Lowerings called by themselves, as the front door calls them.

The numbers are small and whole, in float64: all sums are exact in any order, those of
the filters with their halves too, and `check` compares for equality.
"""

import functools

import jax
import numpy as np

import oracles
from cases import Case
from jconvt._call.call import Call
from jconvt._call.geometry import Geometry
from jconvt._call.layout import normalize_layout
from jconvt._call.numerics import Numerics
from jconvt._call.problem import Map
from jconvt._lowerings.table import LOWERINGS

BY_GEMM = ("gather", "winograd", "overlap_add")
WITH_VARIANTS = (*BY_GEMM, "tap_sums")

# What the axes of input, weight and output are, by rank.
FIRST = [(f"NC{s}", f"IO{s}", f"NC{s}") for s in ("", "W", "HW", "DHW")]
LAST = [(f"N{s}C", f"IO{s}", f"N{s}C") for s in ("", "W", "HW", "DHW")]
MIXED = [
    ("CN", "OI", "NC"),
    ("WCN", "OWI", "CWN"),
    ("CHNW", "OHIW", "WNHC"),
    ("DCWHN", "ODHIW", "CNHDW"),
]
LAYOUTS = {"first": FIRST, "last": LAST, "mixed": MIXED}


CASES = [
    Case("0d_groups", (), (), groups=2, channels=(4, 6)),
    # short filters: an odd number of blocks, an even one, and residues of 2 and 3 taps
    Case("k4_s2_p1", (3,), (4,), stride=2, padding=1),
    Case("k3_s1_p1", (4,), (3,), padding=1),
    Case("k5_s2_p1", (4,), (5,), stride=2, padding=1),
    Case("k7_s3_p2_groups", (3,), (7,), 3, 2, groups=2, channels=(4, 6)),
    # long ones
    Case("k9_s2_p3", (3,), (9,), stride=2, padding=3),
    Case("k3_s2_d3", (4,), (3,), stride=2, padding=1, dilation=3),
    Case("k4_s6_d5", (2,), (4,), stride=6, padding=5, dilation=5),
    Case("k3_s2_d3_depthwise", (4,), (3,), 2, 1, 0, 3, groups=3, channels=(3, 6)),
    Case("k2_s4_p1_holes", (3,), (2,), 4, 1, output_padding=1),
    # cropped to the last output that an outer element or tap reaches, or to no tap
    Case("crop_low", (4,), (5,), stride=2, padding=((4, 0),)),
    Case("crop_high", (4,), (5,), stride=2, padding=((1, 4),)),
    Case("crop_to_one", (1,), (5,), stride=3, padding=2),
    Case("crop_to_a_hole", (2,), (2,), stride=5, padding=((1, 1),), dilation=2),
    Case("crop_to_holes", (1,), (2,), stride=2, padding=((3, 4),), dilation=9),
    Case("crop_taps", (1,), (7,), stride=2, padding=((3, 2),)),
    # filters on both axes, on one of them, and beside residues that have none
    Case("2d_short", (3, 2), (4, 2), stride=(2, 1), padding=((2, 1), (0, 1))),
    Case("2d_long_by_short", (3, 3), (3, 2), dilation=(2, 1), padding=((4, 1), (0, 0))),
    Case("2d_block_by_overlap", (3, 2), (2, 3), stride=(2, 1), padding=(1, 0)),
    Case("2d_holes", (3, 2), (2, 3), (3, 4), (0, 1), dilation=(1, 3), channels=(3, 2)),
    Case("2d_groups", (2, 3), (4, 3), (2, 3), (1, 1), groups=2, channels=(4, 2)),
    Case("3d_short", (2, 1, 3), (2, 1, 2), padding=((0, 1), (0, 0), (1, 1))),
    Case("3d_holes", (2, 3, 2), (1, 3, 2), (1, 2, 3), (0, 1, 0), 0, 1, 2, (2, 4)),
    Case("3d_overlap", (2, 2, 2), (2, 2, 3), (2, 1, 4), 0, channels=(1, 2)),
]


def untrimmed(case):
    """As a public function makes it."""
    return Geometry(
        kernel_size=case.kernel,
        stride=case.each(case.stride),
        dilation=case.each(case.dilation),
        crop=case.crop,
        groups=case.groups,
    )


def geometry_of(case):
    """As lowerings get it: trimmed, of stride and dilation without common divisor."""
    geometry = untrimmed(case)
    assert geometry.trim()[0] == geometry, "elements would be removed or appended"
    return geometry


def serves(lowering, case):
    return LOWERINGS[lowering].refuses(geometry_of(case), static=True) is None


def problem_for(case, kind="first", dtype=np.float64):
    """The sizes of a call in a layout."""
    spec = LAYOUTS[kind][case.rank]
    shapes = [
        oracles.permute(np.empty(shape), *axes).shape
        for shape, *axes in zip(
            (case.input_shape, case.weight_shape), FIRST[case.rank], spec, strict=False
        )
    ]
    return call_for(case, kind, dtype).problem(*shapes)


def call_for(case, kind="first", dtype=np.float64, precision=None, lowering="auto"):
    """The call that a public function makes of a case."""
    return Call(
        geometry=untrimmed(case),
        wrap=((0, 0),) * case.rank,
        layout=normalize_layout("test", LAYOUTS[kind][case.rank], case.rank),
        operand=np.dtype(dtype),
        numerics=Numerics(precision, np.dtype(dtype)),
        lowering=lowering,
    )


def variants_of(lowering, case, kind="first"):
    """All that the choice may ask for, by name."""
    variants = LOWERINGS[lowering].variants(problem_for(case, kind))
    return {str(variant): variant for variant in variants}


def formulation(
    lowering,
    case,
    variant,
    kind="first",
    *,
    slot=Map.OUTPUT,
    dtype=np.float64,
    precision=None,
):
    """One formulation as a function of input and weight in its layout."""
    call = call_for(case, kind, dtype, precision)

    def function(x, w):
        return LOWERINGS[lowering].lower(x, w, call, variant, slot)

    return function


def whole(case, kind="first"):
    """Input, weight and cotangent in their layout."""
    rng = np.random.default_rng(0)
    shapes = (case.input_shape, case.weight_shape, case.output_shape)
    arrays = [rng.integers(-4, 5, shape).astype(np.float64) for shape in shapes]
    return list(
        map(oracles.permute, arrays, FIRST[case.rank], LAYOUTS[kind][case.rank])
    )


def one_map(slot, lowering, case, variant, kind="first"):
    """One of the three maps as a function, and its operands."""
    x, w, g = whole(case, kind)
    f = formulation(lowering, case, variant, kind, slot=slot)

    def input_gradient(w, g):
        return jax.linear_transpose(lambda x: f(x, w), x)(g)

    def weight_gradient(x, g):
        return jax.linear_transpose(lambda w: f(x, w), w)(g)

    return {
        Map.OUTPUT: (f, (x, w)),
        Map.INPUT: (input_gradient, (w, g)),
        Map.WEIGHT: (weight_gradient, (x, g)),
    }[slot]


@functools.cache
def expected(case):
    """Value and both gradients, channels first."""
    x, w, g = whole(case)
    return (
        oracles.scatter(x, w, **case.geometry),
        oracles.gradient_of_input(g, w, space=case.space, **case.geometry),
        oracles.gradient_of_weight(g, x, kernel=case.kernel, **case.geometry),
    )


transpose = jax.linear_transpose

# Without optimization of the machine code: compiling is nearly all of the time.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def check(lowering, case, kind="first"):
    """Each variant, all in one program, gives the oracle's value and gradients."""
    variants = variants_of(lowering, case, kind)

    @quick_jit
    def run(x, w, g):
        results = {}
        for name, variant in variants.items():
            make = functools.partial(formulation, lowering, case, variant, kind)
            value = make(slot=Map.OUTPUT)(x, w)
            (dx,) = transpose(lambda x: make(slot=Map.INPUT)(x, w), x)(g)  # noqa: B023
            (dw,) = transpose(lambda w: make(slot=Map.WEIGHT)(x, w), w)(g)  # noqa: B023
            results[name] = (value, dx, dw)
        return results

    with jax.enable_x64(True):
        results = run(*whole(case, kind))
    plain, spec = FIRST[case.rank], LAYOUTS[kind][case.rank]
    back = [(spec[i], plain[i]) for i in (2, 0, 1)]
    for name, found in results.items():
        for what, array, desired, axes in zip(
            ("value", "input gradient", "weight gradient"),
            found,
            expected(case),
            back,
            strict=True,
        ):
            np.testing.assert_array_equal(
                oracles.permute(array, *axes), desired, f"{name}: {what}", strict=True
            )
