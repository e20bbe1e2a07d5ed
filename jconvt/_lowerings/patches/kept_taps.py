"""The taps that reach an output. No jax import."""

from collections.abc import Sequence

from jconvt._call.geometry import Axis


def keep_taps(
    axes: Sequence[Axis], size: Sequence[int]
) -> tuple[list[tuple[int, int]], list[Axis]]:
    """The taps, from and to, that reach an output, and the axes without the others."""
    kept = [_kept(axis, n) for axis, n in zip(axes, size, strict=True)]
    return kept, [
        Axis(
            stop - start,
            axis.stride,
            axis.dilation,
            axis.low - start * axis.dilation,
            axis.high - (axis.kernel_size - stop) * axis.dilation,
        )
        for axis, (start, stop) in zip(axes, kept, strict=True)
    ]


def _kept(axis: Axis, n: int) -> tuple[int, int]:
    # Tap t reaches positions from t*d - low to (n - 1)*s + t*d - low.
    out, s, d = axis.output_size(n), axis.stride, axis.dilation
    taps = [
        t
        for t in range(axis.kernel_size)
        if (n - 1) * s + t * d >= axis.low and t * d - axis.low < out
    ]
    return (taps[0], taps[-1] + 1) if taps else (0, 1)
