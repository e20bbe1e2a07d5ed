"""The filters of `winograd`: exact, local, and no larger than their bound."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from jconvt._call.geometry import Axis, Geometry
from jconvt._lowerings.patches.filters import PAIRS, combine
from jconvt._lowerings.winograd import is_paired, paired_axes

FILTERS = pytest.mark.parametrize(
    ("taps", "chosen"), PAIRS.items(), ids=[f"{taps}_taps" for taps in PAIRS]
)


@FILTERS
def test_a_product_is_saved_for_all_taps_but_one(taps, chosen):
    split, prepare, join = map(np.shape, chosen)
    assert split == (taps + 1, taps + 1)
    assert prepare == (taps + 1, taps)
    assert join == (2, taps + 1)


@FILTERS
def test_exact(taps, chosen):
    """Output o is the sum of d(o + t)*g(t): the coefficient of each d*g, in rationals.

    Both sides are bilinear, so equal coefficients are equality for all numbers.
    """
    split, prepare, join = ([[*map(Fraction, row)] for row in rows] for rows in chosen)
    for o, element, tap in itertools.product((0, 1), range(taps + 1), range(taps)):
        coefficient = sum(
            join[o][p] * split[p][element] * prepare[p][tap] for p in range(taps + 1)
        )
        assert coefficient == (element == o + tap), (o, element, tap)


@FILTERS
def test_coefficients_are_exact_in_binary(taps, chosen):
    """Sums of whole numbers stay exact: powers of two and their multiples alone."""
    for factor in itertools.chain.from_iterable(itertools.chain(*chosen)):
        assert Fraction(factor) in (-1, 0, Fraction(-1, 2), Fraction(1, 2), 1)


@FILTERS
def test_local(taps, chosen):
    """No product leads from an element to an output whose sum does not contain it.

    A coefficient that cancels would not do: infinity minus infinity does not.
    """
    for o, p, element in itertools.product((0, 1), *[range(taps + 1)] * 2):
        if chosen.join[o][p] and chosen.split[p][element]:
            assert o <= element < o + taps, (o, p, element)


@FILTERS
def test_the_bound_of_rounding_errors(taps, chosen):
    """What `oracles.filtered` allows: in magnitude at most 4 times the taps."""
    split, prepare, join = (np.abs(rows) for rows in chosen)
    value = np.einsum("op,pe,pt->o", join, split, prepare)
    by_element = np.einsum("op,pe,pt->e", join, split, prepare)
    by_tap = np.einsum("op,pe,pt->t", join, split, prepare)
    for total in (value, by_element, by_tap):
        assert total.max() <= min(8, 4 * taps)


def test_axes_in_pairs_are_those_of_2_or_3_taps():
    """What the refusal says: kernel sizes from stride + 1 to 3*stride, undilated."""
    for k, s, low in itertools.product(range(1, 14), range(1, 5), range(2)):
        assert is_paired(Axis(k, s, 1, low, 0)) == (s < k <= 3 * s), (k, s)
    for k, s, d in ((3, 1, 2), (3, 2, 3), (5, 3, 2)):
        assert not is_paired(Axis(k, s, d, 0, 0)), (k, s, d)
    # A stride that the dilation divides leaves holes between neighbouring taps.
    assert is_paired(Axis(3, 2, 2, 0, 0))


def test_combine_is_the_weighted_sum():
    terms = [np.float64(n) for n in (3, 5, 7)]
    for row in itertools.product((-1, 0, 0.5, 1), repeat=3):
        if any(row):
            assert combine(row, terms) == np.dot(row, terms)


def test_combine_leaves_out_what_has_no_part():
    """0 times infinity is NaN."""
    assert combine((0, 1, -1), [np.inf, 5.0, 3.0]) == 2
    assert combine((0, 1, 0), [np.nan, 5.0, np.inf]) == 5


@pytest.mark.parametrize(
    ("kernel", "paired"),
    [
        ((4, 4), (True, True)),
        ((4, 4, 4), (False, True, True)),
        ((4, 4, 2), (True, True, False)),
        ((2, 4, 2), (False, True, False)),
    ],
)
def test_two_axes_are_paired_at_most(kernel, paired):
    """A program of 27 or 64 kernels takes up to two minutes to compile."""
    rank = len(kernel)
    geometry = Geometry(
        kernel_size=kernel, stride=(2,) * rank, dilation=(1,) * rank,
        crop=((0, 0),) * rank, groups=1,
    )  # fmt: skip
    assert paired_axes(geometry) == paired
