"""One device's share of a spatial axis: what it reads, and which outputs it makes.

An axis of ``D*n`` elements lies on D devices, n on each, and its output in shares of
L. Device c reads the elements that reach its outputs (notation of
`jconvt._call.geometry`)::

    outputs      o = c*L, ..., (c+1)*L - 1         at full positions o + low
    elements     ceil((c*L + low - e + 1)/s) to floor(((c+1)*L - 1 + low)/s)

To the n of its own it adds, on all devices alike, `before` and `after` elements of its
neighbours, so that its window begins at element ``c*n - before``, whose full position
is ``s*(c*n - before)``. There its outputs begin at::

    c*L + low - s*(c*n - before) = low + s*before + c*(L - s*n)

Where the output has as many elements as s times the input (SAME, CAUSAL, CIRCULAR, most
layers that double a size), L = s*n and that is one crop for all devices. Otherwise the
crop leaves what any of them needs, and each slices its own share out of it.

Elements outside of the array are zero, or the array's other end where it is periodic:
the wrap before the first element moves all positions up by s for each. No jax import.
"""

from dataclasses import dataclass

from jconvt._call.geometry import Axis


@dataclass(frozen=True, slots=True)
class Share:
    """A device's work along one spatial axis.

    Attributes:
      before: elements of the devices before it that it reads.
      after: elements of the devices after it.
      crop: (low, high) of its window's full output.
      drift: by how many outputs its share begins further on than its predecessor's,
        within what the crop leaves.
      begin: where the first device's share begins there.
      outputs: its length.
    """

    before: int
    after: int
    crop: tuple[int, int]
    drift: int
    begin: int
    outputs: int


def share_of(
    axis: Axis, wrap: tuple[int, int], elements: int, outputs: int, devices: int
) -> Share:
    """The share of each device, of so many elements and outputs."""
    s, e, periodic = axis.stride, axis.extent, any(wrap)
    low = axis.low - s * wrap[0]
    starts = [c * outputs + low for c in range(devices)]
    first = [-((e - 1 - start) // s) for start in starts]
    last = [(start + outputs - 1) // s for start in starts]
    before = max(0, *(c * elements - i for c, i in enumerate(first)))
    after = max(0, *(i + 1 - (c + 1) * elements for c, i in enumerate(last)))
    if not periodic:
        # Further elements are zero for every device.
        before, after = (
            min(halo, (devices - 1) * elements) for halo in (before, after)
        )
    drift = outputs - s * elements
    back = min(0, (devices - 1) * drift)
    crop = low + s * before + back
    kept = outputs + (devices - 1) * abs(drift)
    full = (elements + before + after - 1) * s + e
    return Share(before, after, (crop, full - crop - kept), drift, -back, outputs)
