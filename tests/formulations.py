"""Lowerings called by themselves, as the front door calls them.

The numbers are small and whole, in float64: all sums are exact in any order, those of
the filters with their halves too, and `check` compares for equality.
"""

import functools

import jax
import numpy as np

import oracles
from jconvt._geometry import Geometry
from jconvt._layout import normalize_layout
from jconvt._lowerings import LOWERINGS
from jconvt._lowerings._problem import Slot
from jconvt._numerics import Numerics
from jconvt._problem_of import problem_of

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


def geometry_of(case):
    """As lowerings get it: trimmed."""
    geometry = Geometry(
        kernel_size=case.kernel,
        stride=case.each(case.stride),
        dilation=case.each(case.dilation),
        crop=case.crop,
        groups=case.groups,
    )
    assert geometry.trim()[0] == geometry, "the front door would drop or append"
    return geometry


def serves(lowering, case):
    return LOWERINGS[lowering].refuses(geometry_of(case), static=True) is None


def problem_for(case, kind="first", dtype=np.float64):
    """The sizes of a call in a layout."""
    spec = LAYOUTS[kind][case.rank]
    axes = oracles.permute(np.empty(case.weight_shape), FIRST[case.rank][1], spec[1])
    layout = normalize_layout("test", spec, case.rank)
    return problem_of(
        case.batch, case.space, axes.shape, geometry_of(case), layout, np.dtype(dtype)
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
    slot=Slot.FORWARD,
    dtype=np.float64,
    precision=None,
):
    """One formulation as a function of input and weight in its layout."""
    layout = normalize_layout("test", LAYOUTS[kind][case.rank], case.rank)
    numerics = Numerics(precision, np.dtype(dtype))

    def function(x, w):
        return LOWERINGS[lowering].lower(
            x, w, geometry_of(case), layout, numerics, variant, slot
        )

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
        Slot.FORWARD: (f, (x, w)),
        Slot.INPUT_GRADIENT: (input_gradient, (w, g)),
        Slot.WEIGHT_GRADIENT: (weight_gradient, (x, g)),
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
            value = make(slot=Slot.FORWARD)(x, w)
            dx, _ = jax.vjp(make(slot=Slot.INPUT_GRADIENT), x, w)[1](g)
            _, dw = jax.vjp(make(slot=Slot.WEIGHT_GRADIENT), x, w)[1](g)
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
