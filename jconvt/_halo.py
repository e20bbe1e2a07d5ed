"""One device's share of a spatial axis: what it reads, and which outputs it makes.

An axis of ``D*n`` input elements lies on D devices, n on each, and its ``D*L`` outputs,
L on each. Device c needs these elements (notation of `jconvt._call.geometry`)::

    outputs      o = c*L, ..., (c+1)*L - 1         at full positions o + low
    elements     ceil((c*L + low - e + 1)/s) to floor(((c+1)*L - 1 + low)/s)

The halo is `before` elements of the preceding devices and `after` elements of the
following ones, the same numbers on all devices. So the extended input of device c
begins at element ``c*n - before``, at full position ``s*(c*n - before)``. Relative to
that, its outputs begin at::

    c*L + low - s*(c*n - before) = low + s*before + c*(L - s*n)

If the output is s times as long as the input (SAME, CAUSAL, CIRCULAR, most layers that
double a size), then L = s*n, and this is the same crop for all devices. Otherwise the
crop keeps the outputs that any device needs, and each slices its own out of them.

Elements outside of the array are zero, or those of its other end if it is periodic.
Each element of the wrap before the first moves all positions up by s. No jax import.
"""

from dataclasses import dataclass

from jconvt._call.geometry import Axis


@dataclass(frozen=True, slots=True)
class Share:
    """What each device reads and computes along one spatial axis.

    Device c slices its share out of the cropped output, from ``begin + c*drift`` on.

    Attributes:
      before: elements that it reads of the devices before it.
      after: elements that it reads of the devices after it.
      crop: (low, high) of the full output of its extended input.
      drift: how far the slice moves from one device to the next, in outputs; 0: no
        slice is needed.
      begin: where the slice of the first device begins.
      outputs: the length of a slice.
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
    """The share of each of the `devices`, which have so many elements and outputs."""
    s, e, periodic = axis.stride, axis.extent, any(wrap)
    low = axis.low - s * wrap[0]
    starts = [c * outputs + low for c in range(devices)]
    first = [-((e - 1 - start) // s) for start in starts]
    last = [(start + outputs - 1) // s for start in starts]
    before = max(0, *(c * elements - i for c, i in enumerate(first)))
    after = max(0, *(i + 1 - (c + 1) * elements for c, i in enumerate(last)))
    if not periodic:
        # Elements further away than the whole array are zero for every device.
        before, after = (
            min(halo, (devices - 1) * elements) for halo in (before, after)
        )
    drift = outputs - s * elements
    back = min(0, (devices - 1) * drift)
    crop = low + s * before + back
    kept = outputs + (devices - 1) * abs(drift)
    full = (elements + before + after - 1) * s + e
    return Share(before, after, (crop, full - crop - kept), drift, -back, outputs)
