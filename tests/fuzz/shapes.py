"""Sizes and options of any magnitude, without arrays: exact arithmetic, or an error."""

import dataclasses
import time
from functools import partial
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st

import jconvt
import oracles
from fuzz.check import Wrong

SIZES = st.one_of(
    st.integers(0, 8),
    st.sampled_from(
        [2**e + more for e in (10, 20, 30, 31, 32, 40) for more in (-1, 0, 1)]
    ),
)
OPTIONS = st.one_of(
    st.integers(1, 5),
    st.sampled_from([10**3, 10**6, 2**30, 2**31 - 1, 2**31, 2**40, 2**63, 10**30]),
)
SLOW = 5.0
"""Seconds that no question without arrays may take."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """A call by its shapes."""

    batch: int
    channels: tuple[int, int]
    space: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    platform: str

    def line(self) -> str:
        """The call as Python."""
        return f"{self!r},"


@st.composite
def sizes(draw: st.DrawFn) -> Sizes:
    """Any sizes; mostly one number is absurd, so that the others matter."""
    rank = draw(st.integers(1, 3))

    def each(strategy: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(draw(strategy) for _ in range(rank))

    crops = st.integers(-3, 5) | st.sampled_from([10**6, -(10**6), 2**31, -(2**40)])
    return Sizes(
        draw(st.sampled_from([1, 2, 0, 2**16, 2**33])),
        draw(st.sampled_from([(1, 1), (2, 3), (2**10, 2**12), (2**20, 2**12)])),
        each(SIZES),
        each(st.integers(1, 5) | st.sampled_from([10**3, 2**20])),
        each(OPTIONS),
        each(OPTIONS),
        each(st.tuples(crops, crops)),
        draw(st.sampled_from(["cpu", "cuda", "tpu"])),
    )


def check(some: list[Sizes]) -> None:
    """A `Wrong` for the first that is answered falsely, slowly or by others."""
    for one in some:
        start = time.perf_counter()
        try:
            _check(one)
        except AssertionError as error:
            raise Wrong(one, str(error)) from None
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise Wrong(one, reason) from error
        seconds = time.perf_counter() - start
        if seconds > SLOW:
            raise Wrong(one, f"it took {seconds:.1f} seconds")


def _check(one: Sizes) -> None:
    out = oracles.cropped_size(
        one.space, one.kernel, one.stride, one.padding, one.dilation
    )
    x = (one.batch, one.channels[0], *one.space)
    w = (*one.channels, *one.kernel)
    options: dict[str, Any] = {
        "stride": one.stride, "dilation": one.dilation, "padding": one.padding
    }  # fmt: skip
    refused = any(m < 0 for m in out) or any(
        abs(v) >= 2**31
        for v in (
            *one.stride,
            *one.dilation,
            *(p for pair in one.padding for p in pair),
        )
    )
    try:
        shape = jconvt.output_shape(x, w, **options)
    except ValueError as error:
        if refused and str(error).startswith("output_shape: "):
            return
        raise
    assert not refused, "not refused"
    assert shape == (one.batch, one.channels[1], *out), f"shape {shape}"
    said = jconvt.explain(x, w, platform=one.platform, **options)
    assert said.output_shape == shape
    _check_abstractly(x, w, shape, options)


def _check_abstractly(
    x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...], options: dict[str, Any]
) -> None:
    """Output and gradients have their shapes, where JAX has arrays of such sizes."""
    if max(*x, *w, *y) >= 2**63:
        return
    f = partial(jconvt.conv_transpose, **options)
    arrays = [jax.ShapeDtypeStruct(shape, np.float32) for shape in (x, w, y)]

    def run(x: Any, w: Any, g: Any) -> Any:
        y, pull = jax.vjp(f, x, w)
        return y, *pull(g)

    made = jax.eval_shape(run, *arrays)
    assert [a.shape for a in made] == [y, x, w], made
