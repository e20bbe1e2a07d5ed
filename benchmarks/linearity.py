"""Whether time grows in proportion to work: one layer at several sizes."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks import charts
from benchmarks.contenders.jax_functions import jconvt_first
from benchmarks.layers import Layer
from benchmarks.options import MODES, Options
from benchmarks.progress import track
from benchmarks.report import Result, markdown, milliseconds
from jconvt._shell.timing import race

BATCHES = [2**n for n in range(5)]
IMAGES = [(2**n, 2**m) for n in range(4, 9) for m in (n, n + 1)][:-1]
"""From 16x16 to 256x256, twice the pixels at each step."""

Times = Mapping[str, Mapping[Layer, Mapping[bool, float]]]
"""What grows -> layer -> mode -> seconds."""


def results(options: Options) -> Iterator[Result]:
    """One table and its chart."""
    series = {
        "batch": [_layer(f"{n} of 64x64", n, (64, 64)) for n in BATCHES],
        "pixels": [_layer(f"1 of {h}x{w}", 1, (h, w)) for h, w in IMAGES],
    }
    seconds = 1.0 if options.seconds is None else options.seconds
    times = {
        grows: {
            layer: _times(layer, seconds)
            for _, layer in track(grows, {layer.name: layer for layer in layers})
        }
        for grows, layers in series.items()
    }
    yield _result(times)


def _layer(name: str, batch: int, spatial: tuple[int, int]) -> Layer:
    return Layer(
        name=name,
        batch=batch,
        in_channels=64,
        out_channels=32,
        spatial=spatial,
        kernel_size=(4, 4),
        stride=(2, 2),
        padding=(1, 1),
        output_padding=(0, 0),
        groups=1,
        dilation=(1, 1),
        source="made up",
    )


def _times(layer: Layer, seconds: float) -> dict[bool, float]:
    form = jconvt_first(layer, "float32")
    runs = {MODES[train]: form.prepared(train).run for train in MODES}
    found = race(runs, seconds=seconds)
    return {train: found[name] for train, name in MODES.items()}


def _result(times: Times) -> Result:
    title = "Time per output element, 64 to 32 channels, kernel 4, stride 2, padding 1"
    rows = [
        [grows, layer.name, str(_elements(layer))]
        + [text for t in found.values() for text in _texts(t, layer)]
        for grows, layers in times.items()
        for layer, found in layers.items()
    ]
    rows += [
        [grows, "slope", "", *(text for s in slopes.values() for text in ("", s))]
        for grows, layers in times.items()
        for slopes in [{train: f"{slope(layers, train):.2f}" for train in MODES}]
    ]
    head = ["grows", "images", "output elements"]
    head += [
        f"{name} ({unit})" for name in MODES.values() for unit in ("ms", "ns each")
    ]
    return Result(
        name="linearity",
        title=title,
        note="jconvt, float32. The slope is that of time per element over elements, "
        "both as logarithms: 0 where time grows as the work, below 0 where a fixed "
        "cost fades, 1 where it grows with the square.",
        table=markdown(head, rows),
        data={
            "points": [
                {
                    "grows": grows,
                    "batch": layer.batch,
                    "spatial": layer.spatial,
                    "output_elements": _elements(layer),
                    "seconds": {MODES[train]: t for train, t in found.items()},
                }
                for grows, layers in times.items()
                for layer, found in layers.items()
            ]
        },
        chart=lambda path: charts.lines(
            path,
            {
                f"output elements, as {grows} grows": _panel(layers)
                for grows, layers in times.items()
            },
            title,
            "ns per output element",
        ),
    )


def _texts(seconds: float, layer: Layer) -> tuple[str, str]:
    return milliseconds(seconds), f"{seconds / _elements(layer) * 1e9:.2f}"


def _panel(
    layers: Mapping[Layer, Mapping[bool, float]],
) -> dict[str, charts.Points]:
    elements = [_elements(layer) for layer in layers]
    return {
        f"{name}, slope {slope(layers, train):.2f}": (
            elements,
            [found[train] / _elements(layer) * 1e9 for layer, found in layers.items()],
        )
        for train, name in MODES.items()
    }


def slope(layers: Mapping[Layer, Mapping[bool, float]], train: bool) -> float:
    """The slope of time per element over elements, both as logarithms."""
    elements = np.log([_elements(layer) for layer in layers])
    times = np.log([found[train] for found in layers.values()])
    return float(np.polyfit(elements, times - elements, 1)[0])


def _elements(layer: Layer) -> int:
    return math.prod(layer.output_shape)
