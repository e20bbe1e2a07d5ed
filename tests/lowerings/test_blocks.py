"""Blocks of an axis read what the scatter says; no arrays."""

import itertools

import pytest

from jconvt._call.geometry import Axis
from jconvt._lowerings.patches.blocks import blocks


def trimmed(k, s, d):
    """Axes with crops at, near and between the ends of what is left after trimming."""
    last = d * (k - 1)
    for low, high in itertools.product({0, min(1, last), last // 2, last}, repeat=2):
        yield Axis(k, s, d, low, high)


AXES = [
    axis
    for k, s, d in itertools.product((1, 2, 3, 4, 7), (1, 2, 3, 4, 6), (1, 2, 3, 4))
    for axis in trimmed(k, s, d)
]


def every():
    """An axis, its input size, and its blocks where they may begin."""
    for axis, n in itertools.product(AXES, range(1, 4)):
        if axis.output_size(n) > 0:
            for shift in {0, axis.low % axis.stride}:
                yield axis, n, blocks(axis, n, shift)


def pairs_of(axis, n, output):
    """The (element, tap) pairs of the definition."""
    for i, t in itertools.product(range(n), range(axis.kernel_size)):
        if i * axis.stride + t * axis.dilation - axis.low == output:
            yield i, t


def read(found, n, output):
    """The (element, tap) pairs that a block reads for an output, without its zeros."""
    block, residue = divmod(output + found.crop[0], found.stride)
    (kind,) = (c for c in found.classes if residue in c.residues)
    tap = kind.first_tap + kind.residues.index(residue)
    for m in range(kind.taps):
        place = kind.start + block + m * kind.spacing
        assert 0 <= place < n + sum(found.pad)
        if 0 <= place - found.pad[0] < n:
            yield place - found.pad[0], tap + (kind.taps - 1 - m) * kind.tap_step


def test_each_output_reads_its_pairs():
    for axis, n, found in every():
        for output in range(axis.output_size(n)):
            pairs = sorted(read(found, n, output))
            assert pairs == sorted(pairs_of(axis, n, output)), (axis, n, output)


def test_blocks_are_whole_strides_around_the_output():
    for axis, n, found in every():
        low, high = found.crop
        assert found.count * axis.stride == low + axis.output_size(n) + high
        assert 0 <= low < axis.stride
        assert 0 <= high < 2 * axis.stride


def test_residues_of_a_class_read_the_same_elements():
    for axis, n, found in every():
        assert sorted(r for c in found.classes for r in c.residues) == [
            *range(axis.stride)
        ]
        reads = [(c.taps, c.tap_step, c.spacing, c.start) for c in found.classes]
        assert len(set(reads)) == len(reads), (axis, n)


def test_spans_are_the_residues_in_order():
    for _, _, found in every():
        residues = [
            of.residues[first : first + length] for of, first, length in found.spans
        ]
        assert [*itertools.chain(*residues)] == [*range(found.stride)]
        assert {span.of for span in found.spans} == {*found.classes}
        for (of, first, length), (other, then, _) in itertools.pairwise(found.spans):
            assert (other, then) != (of, first + length), "one span, not two"


@pytest.mark.parametrize(
    ("shift", "residues"), [(0, [(0,), (1,)]), (1, [(0, 1)])], ids=["first", "early"]
)
def test_where_blocks_begin_decides_the_classes(shift, residues):
    """The example of the module: a kernel of 4, stride 2 and a crop of 1."""
    found = blocks(Axis(4, 2, 1, 1, 1), 5, shift)
    assert [c.residues for c in found.classes] == residues
    assert found.count == 5 + shift
