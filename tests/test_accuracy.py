"""Rounding errors stay inside their derived bounds (docs/accuracy.md), on any data.

Errors are in the units of `benchmarks.accuracy`: u times the sum of the absolute values
of the products that make an element.
"""

import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconvt
import oracles
from benchmarks.accuracy import measuring
from benchmarks.accuracy.exact import MAPS, exact, magnitudes
from benchmarks.accuracy.inputs import arrays, kinds_for
from benchmarks.accuracy.measuring import TYPES, Errors, errors, unit_roundoff
from benchmarks.contenders import Unsupported
from benchmarks.layers import Layer
from jconvt._lowerings.table import LOWERINGS


def small(name, **options):
    rank = len(options["spatial"])
    defaults = {"output_padding": 0, "dilation": 1, "padding": 0}
    each = {"kernel_size", "stride", "padding", "output_padding", "dilation"}
    given = {"groups": 1, "batch": 2, "source": "made up"} | defaults | options
    return Layer(
        name=name, **{k: (v,) * rank if k in each else v for k, v in given.items()}
    )


LAYERS = {
    "overlap": small(
        "overlap",
        in_channels=6,
        out_channels=4,
        spatial=(5, 4),
        kernel_size=4,
        stride=2,
        padding=1,
    ),
    "blocks": small(
        "blocks",
        in_channels=6,
        out_channels=4,
        spatial=(5, 4),
        kernel_size=2,
        stride=2,
    ),
    "groups": small(
        "groups",
        in_channels=4,
        out_channels=6,
        spatial=(5,),
        kernel_size=3,
        stride=2,
        padding=1,
        output_padding=1,
        groups=2,
    ),
}
FORMS = ["native", "auto", *LOWERINGS]


def products(layer):
    """Map -> for each element, how many products make it."""
    ones = {
        "input": np.ones(layer.input_shape),
        "weight": np.ones(layer.weight_shape),
        "cotangent": np.ones(layer.output_shape),
    }
    return exact(layer, ones, np.float64)


IN_PARTS = ("phases", "space_to_batch")
"""Their input gradients are sums of convolutions, whose results may be rounded too."""


def bound(types, map_, kind, most, name="auto"):
    """Units that `most` products may be off by, summed in any order.

    Each product meets at most as many roundings of the accumulator as there are
    products, and the result is rounded once more where it is narrower. In the subnormal
    range each of 2n - 1 operations may besides lose a smallest normal number, which is
    the unit there.
    """
    accumulator = unit_roundoff(oracles.accumulator(types.result))
    dtype = types.result if map_ == "output" else types.operand
    u = unit_roundoff(dtype)
    gamma = most * accumulator / (1 - most * accumulator)
    times = 2 if map_ == "input gradient" and name in IN_PARTS else 1
    rounded = 0 if u == accumulator else times * (1 + gamma)
    flushed = 2 * most if kind == "subnormal" else 0
    return gamma / u + rounded + flushed


# float32 on every layer, each other dtype on one.
FLOATS = [("float32", layer) for layer in LAYERS]
FLOATS += [(types, "overlap") for types in ("float64", "bfloat16", "float16")]


@pytest.mark.parametrize(("types", "layer"), FLOATS)
def test_errors_stay_inside_their_bounds(types, layer):
    """Every formulation and map, on random and hostile data."""
    layer, types = LAYERS[layer], TYPES[types]
    found = measuring.errors_of_layer(layer, types, FORMS)
    assert {kind for _, kind in found} == set(kinds_for(types.operand))
    most = {map_: counts.max() for map_, counts in products(layer).items()}
    for (map_, kind), its in found.items():
        given = arrays(layer, kind, types.operand)
        dtype = types.result if map_ == "output" else types.operand
        limit = partial(bound, types, map_, kind)
        for name, e in its.items():
            if name != "winograd":
                assert e.maximum <= limit(most[map_], name), (map_, kind, name)
        if "winograd" in its:
            unit = max(filtered(layer, given, map_, dtype), floor(dtype))
            assert its["winograd"].absolute <= limit(2 * most[map_]) * unit, (
                map_,
                kind,
            )
        if kind != "neighbours":  # a sum in their order is nearly exact
            # But for one rounding of the largest element.
            largest = float(magnitudes(layer, given, types.result)[map_].max())
            once = max(largest * unit_roundoff(dtype), floor(dtype))
            native = max(its["native"].absolute, once)
            assert its["auto"].absolute <= 4 * native, (map_, kind)


def filtered(layer, given, map_, dtype):
    """The unit of filters: of the largest operands, not of an element itself."""
    made = dict(zip(MAPS, ("cotangent", "input", "weight"), strict=True))[map_]
    operands = (a for name, a in given.items() if name != made)
    largest = math.prod(np.abs(a.astype(np.float64)).max() for a in operands)
    most = products(layer)[map_].max()
    return 4**layer.rank * most * largest * unit_roundoff(dtype)


def floor(dtype):
    return float(jnp.finfo(dtype).tiny)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("types", ["int8 to int32", "int32"])
def test_integers_are_exact(layer, types):
    found = measuring.errors_of_layer(LAYERS[layer], TYPES[types], FORMS)
    for case, by_name in found.items():
        assert set(by_name) >= {"native", "auto"}
        for name, its in by_name.items():
            assert its.maximum == 0, (case, name)


# The measure itself -------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS.values(), ids=str)
def test_the_exact_values_are_the_oracles(layer):
    given = arrays(layer, "normal", np.float32)
    geometry = {
        "stride": layer.stride,
        "crop": [
            (p, p - a) for p, a in zip(layer.padding, layer.output_padding, strict=True)
        ],
        "dilation": layer.dilation,
        "groups": layer.groups,
    }
    x, w, g = given["input"], given["weight"], given["cotangent"]
    expected = (
        oracles.scatter(x, w, **geometry),
        oracles.gradient_of_input(g, w, space=layer.spatial, **geometry),
        oracles.gradient_of_weight(g, x, kernel=layer.kernel_size, **geometry),
    )
    for types in (np.float32, np.float64):
        found = exact(layer, given, types)
        for map_, desired in zip(MAPS, expected, strict=True):
            np.testing.assert_allclose(found[map_], desired, rtol=1e-12, atol=1e-13)


def test_units_are_counted():
    """The canary: so many roundings off, so many units; a NaN is infinitely far."""
    value, magnitude = np.array([1.0, 8.0, 0.0]), np.array([1.0, 16.0, 0.0])
    u, tiny = 2.0**-24, float(np.finfo(np.float32).tiny)
    found = np.array([1 + 2 * u, 8 - 48 * u, tiny], np.float32)
    its = errors(found, value, magnitude, np.float32)
    assert its.maximum == 3
    assert its.rms == pytest.approx(math.sqrt((4 + 9 + 1) / 3))
    assert its.absolute == 48 * u
    found[0] = np.nan
    assert errors(found, value, magnitude, np.float32).maximum == np.inf
    both = Errors.of_all([Errors(1, 3, 5, 1), Errors(2, 0, 4, 8)])
    assert both == Errors(2, 1, 5, 9)


def test_wrapped_integers_are_exact_and_wrong_ones_are_not():
    value = np.array([300, -5])
    right = errors(np.array([44, -5], np.int8), value, value, np.int8)
    wrong = errors(np.array([45, -5], np.int8), value, value, np.int8)
    assert (right.maximum, wrong.maximum) == (0, 1)


def test_cancelling_data_cancel_in_every_map():
    layer = LAYERS["overlap"]
    given = arrays(layer, "cancellation", np.float64)
    values, sums = exact(layer, given, np.float64), magnitudes(layer, given, np.float64)
    for map_ in MAPS:
        assert np.median(np.abs(values[map_]) / sums[map_]) < 3e-3


# precision and preferred_element_type -------------------------------------------------


def three_maps(layer, lowering, **options):
    def run(x, w, g):
        def forward(x, w):
            return jconvt.conv_transpose(
                x, w, lowering=lowering, **layer.options, **options
            )

        y, pull = jax.vjp(forward, x, w)
        return y, pull(g.astype(y.dtype))

    return run


def skip_if_refused(lowering, layer):
    try:
        measuring.make(lowering, layer, TYPES["float32"])
    except Unsupported as error:
        pytest.skip(str(error.__cause__))


PRECISION = re.compile(r"stablehlo\.(?:convolution|dot_general).*")


@pytest.mark.parametrize(
    ("precision", "layer"),
    [*(("highest", layer) for layer in LAYERS), (("high", "highest"), "groups")],
)
@pytest.mark.parametrize("lowering", ["auto", *LOWERINGS])
def test_precision_reaches_every_product_of_every_map(lowering, layer, precision):
    """What it does is up to the platform: on a CPU nothing, floats are whole there."""
    chosen = LAYERS[layer]
    x, w, g = arrays(chosen, "normal", np.float32).values()
    run = three_maps(chosen, lowering, precision=precision)
    if lowering != "auto":
        skip_if_refused(lowering, chosen)
    text = jax.jit(run).lower(x, w, g).as_text()
    products = PRECISION.findall(text)
    assert products or lowering in ("auto", "tap_sums")  # which multiplies by element
    wanted = {"HIGHEST"} if precision == "highest" else {"HIGH", "HIGHEST"}
    for line in products:
        assert set(re.findall(r"\b(DEFAULT|HIGH|HIGHEST)\b", line)) == wanted, line


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_a_wider_result_is_not_rounded_to_the_narrow_type(name):
    """In float32's units it is as near as float32; without, thousands of them off."""
    layer = LAYERS["overlap"]
    narrow = TYPES[name]
    given = arrays(layer, "normal", narrow.operand)
    value = exact(layer, given, np.float32)["output"]
    sums = magnitudes(layer, given, np.float32)["output"]
    most = products(layer)["output"].max()
    for types, near in ((TYPES[f"{name} to float32"], True), (narrow, False)):
        found = measuring.make("auto", layer, types)(given)["output"]
        assert found.dtype == types.result
        its = errors(found.astype(np.float32), value, sums, np.float32)
        assert (its.maximum <= most) == near
        assert near or its.maximum > 1000


def test_a_lowering_that_cannot_serve_has_no_column():
    with pytest.raises(Unsupported):
        measuring.make("matmul", LAYERS["overlap"], TYPES["float32"])
