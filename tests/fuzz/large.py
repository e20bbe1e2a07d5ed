"""Two layers whose outputs are past 2^31, run: ``python -m fuzz.large`` (about 8 GiB).

One has more than 2^31 elements, of a byte each; the other more than 2^31 bytes. Every
element of the first is compared, and of the second the rows at both ends and those
around the 2^31st byte, each with the definition of the few input rows that reach them.
"""

import resource
import time
from collections.abc import Callable
from functools import partial

import jax
import numpy as np

import jconvt

LAST = 2**31 - 1


def elements() -> str:
    """Blocks of int8: each output is one product."""
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (2**15 + 1, 2**14), np.int8)
    w = rng.integers(-128, 128, (2, 2), np.int8)
    y = _run(x, w, stride=2)
    for a, b in np.ndindex(2, 2):
        if not np.array_equal(y[a::2, b::2], x * w[a, b]):
            raise AssertionError(f"elements {a}::2, {b}::2 are off")
    return f"{y.size:,} elements of int8, all equal"


def bytes_() -> str:
    """Overlapping float32 of small whole numbers, so that sums are exact."""
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, (2**14 + 8, 2**13)).astype(np.float32)
    w = rng.integers(-4, 5, (4, 4)).astype(np.float32)
    y = _run(x, w, stride=2, padding=1)
    middle = LAST // (4 * y.shape[1])
    for first in (0, middle - 4, y.shape[0] - 8):
        if not np.array_equal(y[first : first + 8], _rows(x, w, first, 8)):
            raise AssertionError(f"rows from {first} are off")
    return f"{y.nbytes:,} bytes of float32, rows at the ends and past 2^31 bytes equal"


def _run(x: np.ndarray, w: np.ndarray, **options: int) -> np.ndarray:
    f = jax.jit(partial(jconvt.conv_transpose, **options))
    return np.asarray(f(x[None, None], w[None, None]))[0, 0]


def _rows(x: np.ndarray, w: np.ndarray, first: int, count: int) -> np.ndarray:
    """Rows of the output with stride 2, 4 taps and padding 1, by the definition."""
    y = np.zeros((count, 2 * x.shape[1] + 2), np.float64)
    for row, (t, u) in (
        (row, taps) for row in range(count) for taps in np.ndindex(4, 4)
    ):
        i, odd = divmod(first + row + 1 - t, 2)
        if not odd and 0 <= i < len(x):
            y[row, u : u + 2 * x.shape[1] : 2] += w[t, u] * x[i].astype(np.float64)
    return y[:, 1:-1].astype(np.float32)


def main() -> None:
    """Run both and say what was seen."""
    for run in (elements, bytes_):
        _report(run)


def _report(run: Callable[[], str]) -> None:
    start = time.perf_counter()
    said = run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = time.perf_counter() - start
    print(f"{said}; {seconds:.0f} s, peak of the process {peak:.1f} GiB", flush=True)


if __name__ == "__main__":
    main()
