"""Random and hostile data."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax import numpy as jnp

from benchmarks.layers import Layer

Array = np.ndarray[Any, Any]
Shapes = dict[str, tuple[int, ...]]
Kind = Callable[[np.random.Generator, Shapes, Any], dict[str, Array]]
"""From shapes and dtype to float64 arrays, to be rounded to the dtype."""


def _normal(rng: np.random.Generator, shapes: Shapes, dtype: Any) -> dict[str, Array]:
    """standard normal."""
    del dtype
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def _sums(rng: np.random.Generator, shapes: Shapes, dtype: Any) -> dict[str, Array]:
    """uniform between 0 and 1, so that sums grow and nothing cancels."""
    del dtype
    return {name: rng.random(shape) for name, shape in shapes.items()}


def _neighbours(
    rng: np.random.Generator, shapes: Shapes, dtype: Any
) -> dict[str, Array]:
    """neighbours in channels or batch cancel but for a thousandth."""
    del dtype
    # Equal along the axes over which a map sums, but for the sign of the other operand:
    # the output sums over input channels, its gradients over output channels and batch.
    alternating = {"input": [0], "weight": [0, 1], "cotangent": []}
    made = {}
    for name, shape in shapes.items():
        one = rng.standard_normal((1, 1, *shape[2:]))
        noise = 1 + 1e-3 * rng.standard_normal(shape)
        place = np.ix_(*map(np.arange, shape))
        sign = (-1.0) ** sum(place[axis] for axis in alternating[name])
        made[name] = one * noise * sign
    return made


def _cancelling(
    rng: np.random.Generator, shapes: Shapes, dtype: Any
) -> dict[str, Array]:
    """the same with the channels in random order."""
    made = _neighbours(rng, shapes, dtype)
    channels = rng.permutation(shapes["weight"][0])
    per_group = rng.permutation(shapes["weight"][1])
    groups = shapes["cotangent"][1] // len(per_group)
    outputs = np.concatenate([per_group + i * len(per_group) for i in range(groups)])
    return {
        "input": made["input"][:, channels],
        "weight": made["weight"][channels][:, per_group],
        "cotangent": made["cotangent"][:, outputs],
    }


def _wide(rng: np.random.Generator, shapes: Shapes, dtype: Any) -> dict[str, Array]:
    """of magnitudes from 2^-20 to 2^20 (float16: from 2^-5 to 2^5), of either sign."""
    most = 5 if dtype == np.float16 else 20
    return {
        name: rng.choice([-1, 1], shape) * 2 ** rng.uniform(-most, most, shape)
        for name, shape in shapes.items()
    }


def _subnormal(
    rng: np.random.Generator, shapes: Shapes, dtype: Any
) -> dict[str, Array]:
    """normal, scaled so that products are an 8th of the smallest normal number."""
    scale = np.sqrt(float(jnp.finfo(dtype).tiny)) / np.sqrt(8)
    return {name: scale * a for name, a in _normal(rng, shapes, dtype).items()}


def _integers(rng: np.random.Generator, shapes: Shapes, dtype: Any) -> dict[str, Array]:
    """of the whole range of int8."""
    del dtype
    return {
        name: rng.integers(-128, 128, shape).astype(np.float64)
        for name, shape in shapes.items()
    }


KINDS: dict[str, Kind] = {
    "normal": _normal,
    "sums": _sums,
    "neighbours": _neighbours,
    "cancellation": _cancelling,
    "wide range": _wide,
    "subnormal": _subnormal,
    "integers": _integers,
}


def kinds_for(dtype: Any) -> list[str]:
    """The kinds of data for a dtype."""
    if np.issubdtype(dtype, np.integer):
        return ["integers"]
    return [kind for kind in KINDS if kind != "integers"]


def arrays(layer: Layer, kind: str, dtype: Any) -> dict[str, Array]:
    """Input, weight and cotangent of a dtype; the same every time."""
    shapes = {
        "input": layer.input_shape,
        "weight": layer.weight_shape,
        "cotangent": layer.output_shape,
    }
    made = KINDS[kind](np.random.default_rng(0), shapes, dtype)
    return {name: np.asarray(array).astype(dtype) for name, array in made.items()}
