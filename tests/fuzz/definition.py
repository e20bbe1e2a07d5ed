"""What a call must give: the definition in float64, and how near to it is near enough.

The three maps are those of `oracles`; here each comes with a bound of its error, and
further derivatives are the same maps of other arrays. Nothing here uses jconvt.
"""

import math
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

import oracles
from fuzz.config import Config

IN_PARTS = ("phases", "space_to_batch")
"""Pinned, they add up several convolutions' results to an input gradient, each of which
a backend may round to 16 bits; see docs/accuracy.md."""


@dataclass(frozen=True)
class Expected:
    """A value and what bounds its error.

    Attributes:
      value: in float64, complex128 or int64.
      magnitude: the sum of the magnitudes of its terms.
      bound: the same as far as the formulation keeps it (minimal filtering mixes
        neighbouring elements).
      terms: how many they are.
      roundings: how often a sum is rounded to the dtype of the result.
    """

    value: np.ndarray
    magnitude: np.ndarray
    bound: np.ndarray
    terms: int
    roundings: int = 1

    def __add__(self, other: "Expected") -> "Expected":
        return Expected(
            self.value + other.value,
            self.magnitude + other.magnitude,
            self.bound + other.bound,
            self.terms + other.terms,
            self.roundings + other.roundings + 1,
        )


def _one_norm(array: np.ndarray) -> np.ndarray:
    return np.abs(array.real) + np.abs(array.imag)


class Definition:
    """The three maps of a config, and the bias."""

    def __init__(self, config: Config, filtered: bool = False) -> None:
        self.config, self.filtered = config, filtered
        full = oracles.full_size(
            config.space, config.kernel, config.stride, config.dilation
        )
        sizes = zip(config.low, full, config.out, strict=True)
        self._geometry = {
            "stride": config.stride,
            "crop": [(low, f - low - out) for low, f, out in sizes],
            "dilation": config.dilation,
            "groups": config.groups,
            "period": config.period,
        }

    def _map(self, made: str, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        if made == "g":
            return oracles.scatter(one, other, **self._geometry)
        if made == "x":
            space = self.config.space
            return oracles.gradient_of_input(one, other, space=space, **self._geometry)
        kernel = self.config.kernel
        return oracles.gradient_of_weight(one, other, kernel=kernel, **self._geometry)

    def _expected(
        self, made: str, terms: int, one: np.ndarray, other: np.ndarray
    ) -> Expected:
        one, other = oracles.widen(one), oracles.widen(other)
        value = self._map(made, one, other)
        if value.dtype == np.int64:
            nothing = np.zeros(value.shape)
            return Expected(value, nothing, nothing, terms)
        sizes = _one_norm(one), _one_norm(other)
        magnitude = bound = self._map(made, *sizes)
        if self.filtered and value.size:
            largest = math.prod(float(a.max(initial=0)) for a in sizes)
            bound = np.full(value.shape, 4**self.config.rank * terms * largest)
            terms *= 2
        return Expected(value, magnitude, bound, terms)

    def y(self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> Expected:
        """The output."""
        terms = w.shape[0] // self.config.groups * math.prod(w.shape[2:])
        product = self._expected("g", terms, x, w)
        if b is None:
            return product
        b = oracles.widen(b).reshape(-1, *[1] * self.config.rank)
        b = np.broadcast_to(b, product.value.shape)
        size = _one_norm(b) if b.dtype != np.int64 else np.zeros(b.shape)
        return product + Expected(b, size, size, 1, 0)

    def dx(self, g: np.ndarray, w: np.ndarray) -> Expected:
        """The input gradient."""
        terms = w.shape[1] * math.prod(w.shape[2:])
        entry = self.config.lowering_of("input_gradient")
        roundings = 2 if entry in IN_PARTS else 1
        return replace(self._expected("x", terms, g, w), roundings=roundings)

    def dw(self, g: np.ndarray, x: np.ndarray) -> Expected:
        """The weight gradient."""
        terms = x.shape[0] * math.prod(x.shape[2:])
        return self._expected("w", terms, g, x)

    def db(self, g: np.ndarray) -> Expected:
        """The bias gradient."""
        g = oracles.widen(g)
        axes = tuple(axis for axis in range(g.ndim) if axis != 1)
        size = _one_norm(g).sum(axes)
        return Expected(g.sum(axes), size, size, g.size // max(g.shape[1], 1))


def compare(
    actual: np.ndarray,
    expected: Expected,
    dtype: np.dtype,
    result: np.dtype,
    whole: bool,
) -> None:
    """An AssertionError unless `actual`, of `dtype`, is as near as its sum can promise.

    Sums are taken in the accumulator of `result`. Of whole numbers every partial sum is
    exact, if it fits, and so is the result.
    """
    assert actual.dtype == dtype, f"dtype {actual.dtype}, expected {dtype}"
    shape = expected.value.shape
    assert actual.shape == shape, f"shape {actual.shape}, expected {shape}"
    if jnp.issubdtype(dtype, jnp.integer):
        np.testing.assert_array_equal(actual, expected.value.astype(dtype))
        return
    value = expected.value
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        value = value.real  # as JAX transposes the promotion of a real operand
    info, narrow = jnp.finfo(dtype), jnp.finfo(result)
    info = info if info.bits < narrow.bits else narrow
    unit = float(info.eps) / 2
    sums = oracles.sum_error(expected.terms, oracles.accumulator(result))
    sums += oracles.sum_error(expected.terms, np.float64)
    # Filters have halves along each axis.
    parts = 1 if expected.bound is expected.magnitude else 2 ** len(shape)
    largest = float(expected.bound.max(initial=0)) * parts
    if whole and largest < 1 / unit:
        limit = np.zeros(shape)
    else:
        rounded = (1 + unit) ** expected.roundings - 1
        limit = sums * expected.bound + rounded * (
            expected.magnitude + sums * expected.bound
        )
        limit = limit + float(info.tiny) * (1 + expected.roundings)
    difference = np.abs(oracles.widen(actual) - value)
    far = ~(difference <= limit)  # a NaN is far from everything
    if far.any():
        at = tuple(map(int, np.unravel_index(np.argmax(far), shape)))
        raise AssertionError(
            f"{far.sum()} of {far.size} elements are off; the first, at {at}, is "
            f"{actual[at]} and should be {value[at]} within {limit[at]:.2e}"
        )
