"""Each two of what a sharded call may be, together in some call."""

import functools
import itertools

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jconvt
from jconvt._lowerings.table import LOWERINGS

FACTORS = {
    "lowering": ("auto", *LOWERINGS),
    "sharded": ("none", "batch", "in", "out", "space"),
    "mapped": ((None, None), (0, None), (None, 0), (0, 0)),
    "made": ("output", "input gradient", "weight gradient"),
    "regime": (
        *("auto", "explicit", "mapped", "auto d", "auto m"),
        *("shard_map, auto d", "shard_map, explicit d"),
    ),
    "layout": ("first", "last"),
    "dtype": ("float32", "bfloat16", "complex64", "int32"),
}
LETTERS = {  # input, weight
    "first": ("NCX", "IOX"),
    "last": ("NXC", "XIO"),
}
SHARDED = {  # letters of input and weight
    "none": ("", ""),
    "batch": ("N", ""),
    "in": ("C", "I"),
    "out": ("", "O"),
    "space": ("X", ""),
}
EXPLICIT = {  # the axes of the mesh that are; the others are automatic
    "auto": "",
    "explicit": "md",
    "mapped": "md",
    "auto d": "m",
    "auto m": "d",
    "shard_map, auto d": "",
    "shard_map, explicit d": "md",
}
WHOLE_IN_M = ("auto", "explicit")  # where no axis is sharded along "m"
TOLERANCES = {"bfloat16": 2**-7, "int32": 0}
DEVICES = 4


def pairs_of(row):
    return set(itertools.combinations(enumerate(row), 2))


def pairwise():
    """Rows of factors that hold each pair of values; always the same."""
    values = list(FACTORS.values())
    missing = {
        ((i, a), (j, b))
        for (i, some), (j, others) in itertools.combinations(enumerate(values), 2)
        for a, b in itertools.product(some, others)
    }
    rows = []
    while missing:
        row = dict(min(missing, key=repr))
        for i, some in enumerate(values):
            if i not in row:
                row[i] = max(some, key=lambda value: _gain(row | {i: value}, missing))
        rows.append(tuple(row[i] for i in range(len(values))))
        missing -= pairs_of(rows[-1])
    return rows


def _gain(row, missing):
    return len(missing.intersection(itertools.combinations(sorted(row.items()), 2)))


def test_every_pair_is_there():
    found = set().union(*map(pairs_of, ROWS))
    names = list(FACTORS)
    for one, other in itertools.combinations(range(len(names)), 2):
        for values in itertools.product(FACTORS[names[one]], FACTORS[names[other]]):
            assert tuple(zip((one, other), values, strict=True)) in found


ROWS = pairwise()


def arrays_of(mapped, layout, dtype, kernel):
    """Small integers, whose sums are exact in either dtype."""
    sizes = {"N": 4, "C": 4, "X": 8, "I": 4, "O": 8}
    drawn = np.random.default_rng(0)
    arrays = []
    for letters, axis in zip(LETTERS[layout], mapped, strict=True):
        shape = [sizes[c] for c in letters]
        if "I" in letters:
            shape[letters.index("X")] = kernel
        shape = [DEVICES] * (axis is not None) + shape
        arrays.append(drawn.integers(-1, 2, shape).astype(dtype))
    return arrays


def specs_of(sharded, mapped, layout, regime):
    """Along "d"; in some regimes the mapped axis lies along "m"."""
    return [
        PartitionSpec(
            *([None if regime in WHOLE_IN_M else "m"] * (axis is not None)),
            *("d" if c in along else None for c in letters),
        )
        for letters, along, axis in zip(
            LETTERS[layout], SHARDED[sharded], mapped, strict=True
        )
    ]


def pull(f, argument, x, w):
    """The output as cotangent, pulled back to one operand."""
    y, transposed = jax.vjp(f, x, w)
    return transposed(y)[argument]


quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def over_m(f, mesh, mapped):
    """Inside a `jax.shard_map` over "m" alone, which divides the mapped axis."""
    specs = tuple(PartitionSpec(None if axis is None else "m") for axis in mapped)
    made = PartitionSpec(None if mapped == (None, None) else "m")

    def part(*operands):
        # One that does not vary over the devices would have its cotangents summed.
        if mapped != (None, None):
            zero = 0 * jax.lax.axis_index("m")
            operands = [a + zero.astype(a.dtype) for a in operands]
        return f(*operands)

    return jax.shard_map(
        part, mesh=mesh, in_specs=specs, out_specs=made, axis_names={"m"}
    )


@pytest.mark.parametrize(tuple(FACTORS), ROWS)
def test_as_on_one_device(lowering, sharded, mapped, made, regime, layout, dtype):
    if jax.device_count() < 2 * DEVICES:
        pytest.skip("needs 8 devices")
    x, w = LETTERS[layout]
    f = functools.partial(
        jconvt.conv_transpose,
        stride=2,
        dimension_numbers=(x, w, x),
        lowering=lowering,
    )
    if made != "output" and dtype != "int32":  # integers have no gradients
        argument = ("input gradient", "weight gradient").index(made)
        f = functools.partial(pull, f, argument)
    if mapped != (None, None):
        f = jax.vmap(f, mapped)
    kernel = 2 if lowering == "matmul" else 4
    arrays = arrays_of(mapped, layout, dtype, kernel)
    kinds = tuple(
        AxisType.Explicit if axis in EXPLICIT[regime] else AxisType.Auto
        for axis in "md"
    )
    mesh = jax.make_mesh((2, DEVICES), ("m", "d"), axis_types=kinds)
    desired = quick_jit(f)(*arrays)
    if regime.startswith("shard_map"):
        f = over_m(f, mesh, mapped)
    with jax.set_mesh(mesh):
        placed = [
            jax.device_put(a, NamedSharding(mesh, spec))
            for a, spec in zip(
                arrays, specs_of(sharded, mapped, layout, regime), strict=True
            )
        ]
        found = quick_jit(f)(*placed)
    assert found.dtype == desired.dtype == dtype
    wide = [np.asarray(a, np.complex128) for a in (found, desired)]
    np.testing.assert_allclose(*wide, rtol=TOLERANCES.get(dtype, 1e-6))
