"""Temporaries of layers up to several GiB, as XLA allots them, against the budget.

The budget of `jconvt`: at most the temporaries of the native form and twice the largest
of input, weight and output, or 64 MiB. Layers are compiled, not run.
``python -m fuzz.memory`` prints a table of fixed layers,
``python -m fuzz.memory --seed 1 --seconds 300`` one of layers drawn at random.
"""

import argparse
import dataclasses
import itertools
import math
import random
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

import jconvt

SMALL = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Layer:
    """Shapes and options; `quick` ones are compiled in the tests."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    options: dict[str, Any]
    quick: bool = False

    @property
    def y(self) -> tuple[int, ...]:
        return jconvt.output_shape(self.x, self.w, **self.options)

    @property
    def largest(self) -> int:
        """Bytes of the largest of input, weight and output."""
        return 4 * max(map(math.prod, (self.x, self.w, self.y)))


UP = {"stride": 2, "padding": 1}
LAYERS = {
    "k4_s2_16MiB": Layer((16, 128, 32, 32), (128, 64, 4, 4), UP, quick=True),
    "k4_s2_256MiB": Layer((64, 128, 64, 64), (128, 64, 4, 4), UP, quick=True),
    "k4_s2_2GiB": Layer((128, 128, 128, 128), (128, 64, 4, 4), UP, quick=True),
    "k4_s2_4GiB_image": Layer((1, 64, 4096, 2048), (64, 32, 4, 4), UP, quick=True),
    "k3_s2_1GiB": Layer(
        (64, 256, 64, 128), (256, 128, 3, 3), {**UP, "output_padding": 1}, quick=True
    ),
    "k2_s2_4GiB": Layer((128, 256, 128, 128), (256, 128, 2, 2), {"stride": 2}),
    "k9_s4_one_out": Layer(
        (16, 56, 512, 512), (56, 1, 9, 9), {"stride": 4, "padding": 4}
    ),
    "k3_s1_2GiB": Layer((32, 256, 256, 256), (256, 64, 3, 3), {"padding": 1}),
    "depthwise_1GiB": Layer(
        (16, 256, 128, 128), (256, 1, 4, 4), {**UP, "groups": 256}, quick=True
    ),
    "groups_1GiB": Layer((16, 256, 128, 128), (256, 32, 4, 4), {**UP, "groups": 8}),
    "dilated_1GiB": Layer(
        (64, 64, 128, 128), (64, 64, 3, 3), {"stride": 2, "dilation": 3}
    ),
    "1d_k16_s8_2GiB": Layer(
        (64, 512, 4096), (512, 256, 16), {"stride": 8, "padding": 4}, quick=True
    ),
    "3d_k2_s2_2GiB": Layer((8, 64, 64, 64, 64), (64, 32, 2, 2, 2), {"stride": 2}),
    "3d_k4_s2_2GiB": Layer((8, 64, 64, 64, 64), (64, 32, 4, 4, 4), UP),
}


LAST = {"dimension_numbers": ("NHWC", "IOHW", "NHWC")}
VOLUME_LAST = {"dimension_numbers": ("NDHWC", "IODHW", "NDHWC")}
ONCE_OVER = {
    "classes_of_residues": Layer(
        (16, 45, 12, 128), (128, 512, 5, 5), {"stride": 4, **LAST}
    ),
    "groups": Layer(
        (4, 65, 107, 8), (8, 64, 8, 8), {"stride": 2, "padding": 3, "groups": 2, **LAST}
    ),
    "padded_products": Layer(
        (16, 13, 19, 66, 4), (4, 128, 3, 3, 3), {"padding": 1, **VOLUME_LAST}
    ),
    "rows_of_taps": Layer(
        (8, 64, 160, 160), (64, 1, 8, 8), {"stride": 2, "padding": 3, "groups": 64}
    ),
}
"""Layers of which a map took more than its budget, for each of the reasons."""


def _maps(layer: Layer, lowering: str) -> dict[str, tuple[Any, list[Any]]]:
    f = partial(jconvt.conv_transpose, **layer.options, lowering=lowering)
    x, w, g = (
        jax.ShapeDtypeStruct(shape, np.float32) for shape in (layer.x, layer.w, layer.y)
    )
    return {
        "forward": (f, [x, w]),
        "input gradient": (lambda w, g: jax.linear_transpose(
            lambda x: f(x, w), x)(g), [w, g]),
        "weight gradient": (lambda x, g: jax.linear_transpose(
            lambda w: f(x, w), w)(g), [x, g]),
    }  # fmt: skip


def temporaries(layer: Layer, lowering: str) -> dict[str, int]:
    """Bytes that XLA allots for temporaries, by map."""
    taken = {}
    for name, (function, arrays) in _maps(layer, lowering).items():
        compiled = jax.jit(function).lower(*arrays).compile()
        taken[name] = int(compiled.memory_analysis().temp_size_in_bytes)
    return taken


def budget(layer: Layer, slot: str) -> int:
    """Bytes of temporaries that a map may take."""
    function, arrays = _maps(layer, "lhs_dilation")[slot]
    native = jax.jit(function).lower(*arrays).compile().memory_analysis()
    return max(SMALL, int(native.temp_size_in_bytes) + 2 * layer.largest)


def drawn(seed: int) -> Iterator[tuple[str, Layer]]:
    """Layers of which input or output has 80 MB to 2 GB, of all ranks and layouts."""
    for number in itertools.count():
        layer = _draw(random.Random(f"{seed}-{number}"))
        multiply_adds = math.prod(layer.w) * math.prod(layer.x) / layer.w[0]
        if 80e6 < layer.largest < 2e9 and multiply_adds < 3e12:
            yield f"{number}: {layer.x} {layer.w} {layer.options}", layer


def _draw(rng: random.Random) -> Layer:
    rank = rng.choice((1, 2, 2, 2, 3))
    kernel = rng.choice((1, 2, 3, 4, 4, 5, 6, 8))
    stride = min(kernel, rng.choice((1, 2, 2, 2, 3, 4)))
    groups = 2 ** rng.choice((0, 0, 0, 0, 1, 3))
    inputs, outputs = (groups * 2 ** rng.randint(1, 7) for _ in range(2))
    if rng.random() < 0.15:  # depthwise
        groups = outputs = inputs
    batch, most = 2 ** rng.randint(0, 4), (2**18, 1024, 96)[rank - 1]
    size = tuple(int(2 ** rng.uniform(3, math.log2(most))) for _ in range(rank))
    options = {
        "stride": stride,
        "padding": rng.choice((0, max(0, (kernel - stride) // 2))),
        "groups": groups,
    }
    weight = (inputs, outputs // groups, *(kernel,) * rank)
    if rng.random() < 0.5:
        return Layer((batch, inputs, *size), weight, options)
    space = "DHW"[3 - rank :]
    numbers = (f"N{space}C", f"IO{space}", f"N{space}C")
    options["dimension_numbers"] = numbers
    return Layer((batch, *size, inputs), weight, options)


def table(layers: Iterable[tuple[str, Layer]]) -> None:
    """A row for each layer, in GiB."""
    print("| layer | largest array | forward | input gradient |", end=" ")
    print("weight gradient |")
    print("|---|--:|--:|--:|--:|")
    for name, layer in layers:
        cells = [f"{layer.largest / 2**30:.2f}"]
        for slot, taken in temporaries(layer, "auto").items():
            most = budget(layer, slot)
            over = "" if taken <= most else ", **over**"
            cells.append(f"{taken / 2**30:.2f} of {most / 2**30:.2f}{over}")
        print(f"| `{name}` |", " | ".join(cells), "|", flush=True)


def main() -> None:
    """The table of the fixed layers, or of random ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="draw layers; default: fixed ones")
    parser.add_argument("--seconds", type=float, default=300.0, help="about; of a draw")
    parsed = parser.parse_args()
    if parsed.seed is None:
        table(LAYERS.items())
        return
    end = time.monotonic() + parsed.seconds
    table(itertools.takewhile(lambda _: time.monotonic() < end, drawn(parsed.seed)))


if __name__ == "__main__":
    main()
