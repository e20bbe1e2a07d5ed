"""The diagrams of the site: `python docs/diagrams/draw.py` writes them beside it.

They stand in the pages as inline SVG, so that text and lines have the page's own colour
in light and in dark; the four fills are legible on both. In a file of its own (README)
a drawing follows the colours of the system. Nothing but Python is needed.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from statistics import geometric_mean, quantiles

ROOT = Path(__file__).resolve().parents[2]

BLUE, ORANGE, GREEN, VIOLET = "#3b82f6", "#ea7317", "#16a34a", "#a855f7"
COLOURS = (BLUE, ORANGE, GREEN, VIOLET)
UNIT = 34
"""Pixels of a cell, and between neighbouring elements."""


class Drawing:
    """Elements of an SVG, and how large it is."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'role="img" class="diagram" style="max-width:{width}px" '
            f'font-family="inherit" font-size="14" fill="currentColor">',
            f"<title>{title}</title>",
            # `:root` is this element only where no page is around it.
            "<style>@media (prefers-color-scheme: dark) "
            "{ svg:root { color: #e6edf3 } } "
            "svg:root { font-family: sans-serif }</style>",
        ]

    def text(self, x: float, y: float, text: str, anchor: str = "middle") -> None:
        self.parts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>')

    def cell(
        self,
        x: float,
        y: float,
        text: str,
        colours: tuple[str, ...],
        dashed: bool = False,
    ) -> None:
        """A square, divided among its colours."""
        size = UNIT - 4
        for i, colour in enumerate(colours):
            part = size / len(colours)
            self.parts.append(
                f'<rect x="{x + 2 + i * part:.1f}" y="{y + 2}" width="{part:.1f}" '
                f'height="{size}" fill="{colour}" fill-opacity="0.35"/>'
            )
        dash = ' stroke-dasharray="3 3"' if dashed else ""
        self.parts.append(
            f'<rect x="{x + 2}" y="{y + 2}" width="{size}" height="{size}" '
            f'fill="none" stroke="currentColor" stroke-opacity="0.6"{dash}/>'
        )
        self.text(x + UNIT / 2, y + UNIT / 2 + 5, text)

    def line(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        colour: str,
        opacity: float = 1,
    ) -> None:
        faint = "" if opacity == 1 else f' stroke-opacity="{opacity}"'
        self.parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" '
            f'stroke-width="1.5"{faint}/>'
        )

    def box(self, x: float, y: float, width: float, text: str, colour: str) -> None:
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="30" rx="6" fill="{colour}" '
            f'fill-opacity="0.25" stroke="currentColor" stroke-opacity="0.6"/>'
        )
        self.text(x + width / 2, y + 20, text)

    def bar(self, x: float, y: float, length: float, colour: str) -> None:
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{length}" height="28" rx="3" '
            f'fill="{colour}" fill-opacity="0.8"/>'
        )

    def span(self, x1: float, x2: float, y: float, colour: str) -> None:
        """A horizontal bar behind a dot."""
        self.parts.append(
            f'<rect x="{x1}" y="{y - 6}" width="{x2 - x1:.1f}" height="12" rx="6" '
            f'fill="{colour}" fill-opacity="0.4"/>'
        )

    def dot(self, x: float, y: float, colour: str) -> None:
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="6" fill="{colour}"/>')

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """A vertical or horizontal line with a head."""
        self.line(x1, y1, x2, y2, "currentColor")
        dx, dy = (x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1)
        left = (x2 - 6 * dx - 4 * dy, y2 - 6 * dy - 4 * dx)
        right = (x2 - 6 * dx + 4 * dy, y2 - 6 * dy + 4 * dx)
        points = " ".join(f"{x},{y}" for x, y in (left, right, (x2, y2)))
        self.parts.append(f'<polygon points="{points}"/>')

    def __str__(self) -> str:
        return "\n".join([*self.parts, "</svg>", ""])


def scatter() -> Drawing:
    """Three elements, a kernel of four taps, stride 2, padding 1."""
    x, w, stride, padding = (3, 1, 2), (1, 2, 2, 1), 2, 1
    full = (len(x) - 1) * stride + len(w)
    left, step = 110, UNIT + 4
    picture = Drawing(
        left + full * UNIT + 10,
        6 * step + 14,
        "Copies of the kernel, added and cropped",
    )
    picture.text(left - 12, UNIT / 2 + 5, "input", "end")
    for i, value in enumerate(x):
        picture.cell(left + i * stride * UNIT, 0, str(value), (COLOURS[i],))
        picture.text(
            left - 12, (i + 1) * step + UNIT / 2 + 5, f"{value} × kernel", "end"
        )
        for t, tap in enumerate(w):
            at = left + (i * stride + t) * UNIT
            picture.cell(at, (i + 1) * step, str(value * tap), (COLOURS[i],))
    y = (len(x) + 1) * step + 6
    picture.text(left - 12, y + UNIT / 2 + 5, "sum", "end")
    picture.text(left - 12, y + step + UNIT / 2 + 5, "padding=1", "end")
    for o in range(full):
        reach = [i for i in range(len(x)) if 0 <= o - i * stride < len(w)]
        total = str(sum(x[i] * w[o - i * stride] for i in reach))
        colours = tuple(COLOURS[i] for i in reach)
        picture.cell(left + o * UNIT, y, total, colours)
        if padding <= o < full - padding:
            picture.cell(left + o * UNIT, y + step, total, colours)
    return picture


def phases() -> Drawing:
    """Which taps make which outputs: kernel 5, stride 2."""
    n, taps, stride = 4, 5, 2
    full = (n - 1) * stride + taps
    left, bottom = 80, 150
    picture = Drawing(left + full * UNIT + 10, bottom + 86, "Even and odd outputs")
    picture.text(left - 12, UNIT / 2 + 5, "input", "end")
    picture.text(left - 12, bottom + UNIT / 2 + 5, "output", "end")
    for i in range(n):
        at = left + (i * stride + (taps - 1) / 2) * UNIT
        for t in range(taps):
            to = left + (i * stride + t) * UNIT + UNIT / 2
            picture.line(at + UNIT / 2, UNIT, to, bottom, COLOURS[t % stride])
        picture.cell(at, 0, f"x{i}", ())
    for o in range(full):
        picture.cell(left + o * UNIT, bottom, str(o), (COLOURS[o % stride],))
    for r in range(stride):
        names = " ".join(f"w{t}" for t in range(r, taps, stride))
        picture.text(
            left + r * 5 * UNIT,
            bottom + 66,
            f'<tspan fill="{COLOURS[r]}">■</tspan> residue {r}: {names}',
            "start",
        )
    return picture


def causal() -> Drawing:
    """Kernel 4, stride 2: the outputs of an element see it and the one before."""
    n, taps, stride = 4, 4, 2
    left, bottom = 80, 120
    picture = Drawing(
        left + (n * stride + 2) * UNIT + 10,
        bottom + UNIT + 6,
        "No output sees a later input",
    )
    picture.text(left - 12, UNIT / 2 + 5, "input", "end")
    picture.text(left - 12, bottom + UNIT / 2 + 5, "CAUSAL", "end")
    for i in range(n):
        at = left + i * stride * UNIT
        for t in range(taps):
            to = at + t * UNIT + UNIT / 2
            picture.line(at + UNIT / 2, UNIT, to, bottom, COLOURS[i])
        picture.cell(at, 0, f"x{i}", (COLOURS[i],))
    for o in range((n - 1) * stride + taps):
        reach = [i for i in range(n) if 0 <= o - i * stride < taps]
        colours = tuple(COLOURS[i] for i in reach)
        kept = o < n * stride
        picture.cell(
            left + o * UNIT,
            bottom,
            str(o) if kept else "",
            colours if kept else (),
            not kept,
        )
    return picture


def gradients() -> Drawing:
    """Three arrays, and the map that makes each of the other two."""
    picture = Drawing(476, 150, "Three maps between three arrays")
    rows = (
        ("forward", "input, weight", "output", BLUE),
        ("input gradient", "cotangent, weight", "input's cotangent", ORANGE),
        ("weight gradient", "input, cotangent", "weight's cotangent", GREEN),
    )
    for i, (name, takes, gives, colour) in enumerate(rows):
        y = 8 + 48 * i
        picture.text(0, y + 20, takes, "start")
        picture.arrow(142, y + 15, 164, y + 15)
        picture.box(168, y, 122, name, colour)
        picture.arrow(294, y + 15, 316, y + 15)
        picture.text(324, y + 20, gives, "start")
    return picture


def call() -> Drawing:
    """What becomes of a call, and when."""
    stages = (
        (
            "what you wrote",
            BLUE,
            "_call/options, _call/fit",
            "checked, or an error",
        ),
        ("Call", BLUE, "_call/call", "static facts, no arrays"),
        (
            "one primitive",
            ORANGE,
            "_maps/primitive",
            "jit, vmap, grad and scan act on it",
        ),
        ("choice", GREEN, "_choice/choose", "the platform is known only here"),
        ("lowering", GREEN, "_lowerings", "convolutions and GEMMs for XLA"),
    )
    picture = Drawing(400, 56 * len(stages), "From a call to a program")
    for i, (name, colour, modules, what) in enumerate(stages):
        y = 4 + 56 * i
        picture.box(4, y, 140, name, colour)
        picture.text(160, y + 12, modules, "start")
        picture.text(160, y + 31, what, "start")
        if i + 1 < len(stages):
            picture.arrow(74, y + 31, 74, y + 54)
    return picture


def overlap() -> Drawing:
    """How many taps reach each output, with kernel 3 and with kernel 4, stride 2."""
    n, stride = 5, 2
    left = 150
    picture = Drawing(left + 12 * UNIT + 10, 2 * UNIT + 20, "Taps that reach an output")
    for row, taps in enumerate((3, 4)):
        y = row * (UNIT + 10)
        picture.text(left - 12, y + UNIT / 2 + 5, f"kernel {taps}, stride 2", "end")
        for o in range((n - 1) * stride + taps):
            count = sum(0 <= o - i * stride < taps for i in range(n))
            picture.cell(left + o * UNIT, y, str(count), (COLOURS[count - 1],))
    return picture


CONTENDERS = (
    ("jconvt", "jconvt", ORANGE),
    ("torch", "PyTorch", BLUE),
    ("onnxruntime", "ONNX Runtime", "currentColor"),
    ("flax", "Flax's layer", VIOLET),
    ("native", "JAX's own form", GREEN),
)
"""Column of the results, what the drawings call it, and its colour."""


def over_torch(result: str) -> dict[str, list[float]]:
    """Contender -> its times over PyTorch's, one for each layer that it can express."""
    file = ROOT / "benchmarks" / "results" / f"{result}.json"
    rows = json.loads(file.read_text())["seconds"].values()
    found = {
        name: [row[name] / row["torch"] for row in rows if name in row]
        for name, _, _ in CONTENDERS
    }
    return {name: ratios for name, ratios in found.items() if ratios}


def short(ratio: float) -> str:
    """A ratio in three digits."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"


def times() -> Drawing:
    """Times of training: the means of `benchmarks/results/train-float32.md`."""
    ratios = over_torch("train-float32")
    means = {name: geometric_mean(found) for name, found in ratios.items()}
    bars = [contender for contender in CONTENDERS if contender[0] in means]
    left, wide, step = 128, 220, 38
    picture = Drawing(400, 70 + step * len(bars), "Time of training, over PyTorch's")
    picture.text(0, 16, "Output and all gradients, PyTorch's time = 1", "start")
    for i, (name, label, colour) in enumerate(bars):
        y = 32 + step * i
        length = round(wide * means[name] / max(means.values()), 1)
        picture.text(left - 10, y + 19, label, "end")
        picture.bar(left, y, length, colour)
        picture.text(left + length + 8, y + 19, short(means[name]), "start")
    count, fewer = len(ratios["jconvt"]), len(ratios["flax"])
    y = 32 + step * len(bars)
    picture.text(
        0, y + 14, f"Means of {count} layers of published models on a", "start"
    )
    picture.text(
        0, y + 32, f"CPU of two cores; Flax can express {fewer} of them", "start"
    )
    return picture


def spread() -> Drawing:
    """Means over the layers, and between which times eight of ten layers are."""
    left, right, step = 122, 350, 32
    lowest, highest = 0.1, 200.0

    def at(ratio: float) -> float:
        part = math.log(ratio / lowest) / math.log(highest / lowest)
        return round(left + part * (right - left), 1)

    picture = Drawing(400, 414, "Time over PyTorch's: means and spread over layers")
    y = 16
    for result, title in (
        ("forward-float32", "Output"),
        ("train-float32", "Output and all gradients"),
    ):
        ratios = over_torch(result)
        rows = [contender for contender in CONTENDERS if contender[0] in ratios]
        picture.text(0, y, f"{title}, PyTorch's time = 1", "start")
        bottom = y + 8 + step * len(rows)
        for tick in (0.1, 1, 10, 100):
            x = at(tick)
            picture.line(
                x, y + 10, x, bottom, "currentColor", 1.0 if tick == 1 else 0.25
            )
            picture.text(x, bottom + 16, f"{tick:g}")
        for i, (name, label, colour) in enumerate(rows):
            middle = y + 26 + step * i
            mean = geometric_mean(ratios[name])
            picture.text(left - 10, middle + 5, label, "end")
            picture.text(400, middle + 5, short(mean), "end")
            if name != "torch":
                tenths = quantiles(ratios[name], n=10, method="inclusive")
                picture.span(at(tenths[0]), at(tenths[-1]), middle, colour)
            picture.dot(at(mean), middle, colour)
        y = bottom + 44
    picture.text(0, y - 2, "Dots: geometric means. Bars: eight of ten layers.", "start")
    return picture


def accuracy() -> Drawing:
    """The largest errors of the first table of `docs/accuracy.md`, by dtype."""
    lines = (ROOT / "docs" / "accuracy.md").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    names = [cell.strip() for cell in lines[first - 1].split("|")[2:-1]]
    table = {}
    for line in lines[first + 1 :]:
        if not line:
            break
        dtype, *cells = (cell.strip() for cell in line.split("|")[1:-1])
        table[dtype] = dict(zip(names, map(float, cells), strict=True))
    colours = dict(zip(("jconvt", "PyTorch", "JAX's own"), COLOURS, strict=False))
    return grouped_bars(
        "Largest error in units of rounding",
        table,
        colours,
        "Random layers on a CPU; the scale is logarithmic",
    )


def cycles() -> Drawing:
    """A TPU's estimated cycles over JAX's own form: training, by layer of the zoo."""
    left, right, step = 168, 350, 22
    lowest, highest = 0.1, 2.0
    found = {}
    for dtype in ("float32", "bfloat16"):
        file = ROOT / "benchmarks" / "results" / f"aot-tpu-{dtype}.json"
        for row, forms in json.loads(file.read_text())["readings"]["training"].items():
            auto, native = forms["auto"], forms["native"]
            if "loops" not in auto and "loops" not in native:
                ratio = auto["cycles"] / native["cycles"]
                found.setdefault(row, {})[dtype] = ratio

    def at(ratio: float) -> float:
        part = math.log(ratio / lowest) / math.log(highest / lowest)
        return round(left + min(1.0, max(0.0, part)) * (right - left), 1)

    bottom = 34 + step * len(found)
    picture = Drawing(400, bottom + 60, "A TPU's estimated cycles, over JAX's own form")
    picture.text(0, 16, "Training on a TPU v5e, JAX's own form = 1", "start")
    for tick in (0.1, 0.3, 1, 2):
        opacity = 1.0 if tick == 1 else 0.25
        picture.line(at(tick), 26, at(tick), bottom, "currentColor", opacity)
        picture.text(at(tick), bottom + 16, f"{tick:g}")
    for i, (row, ratios) in enumerate(found.items()):
        y = 40 + step * i
        picture.text(left - 10, y + 5, row, "end")
        for dtype, colour in (("float32", BLUE), ("bfloat16", ORANGE)):
            if dtype in ratios:
                picture.dot(at(ratios[dtype]), y, colour)
    for i, (dtype, colour) in enumerate((("float32", BLUE), ("bfloat16", ORANGE))):
        picture.dot(10 + 110 * i, bottom + 40, colour)
        picture.text(24 + 110 * i, bottom + 45, dtype, "start")
    picture.text(240, bottom + 45, "compiled, not run", "start")
    return picture


def fuzzed() -> Drawing:
    """How many random calls were compared, by what they were compared in."""
    file = ROOT / "tests" / "fuzz" / "results" / "runs.json"
    counts = {}
    for run in json.loads(file.read_text())["runs"]:
        for kind, count in run["counts"].items():
            counts[kind] = counts.get(kind, 0) + count
    rows = sorted(counts.items(), key=lambda row: -row[1])
    left, wide, step = 128, 200, 38
    picture = Drawing(400, 50 + step * len(rows), "Random calls compared, by kind")
    total = f"{sum(counts.values()):,}"
    picture.text(0, 16, f"{total} random calls compared, by kind", "start")
    for i, (kind, count) in enumerate(rows):
        y = 32 + step * i
        length = round(wide * count / rows[0][1], 1)
        picture.text(left - 10, y + 19, kind, "end")
        picture.bar(left, y, length, BLUE)
        picture.text(left + length + 8, y + 19, f"{count:,}", "start")
    return picture


def grouped_bars(
    title: str,
    table: dict[str, dict[str, float]],
    colours: dict[str, str],
    note: str,
) -> Drawing:
    """For each row a bar for each column, on a logarithmic scale from 1/2 on."""
    left, wide, step, gap = 128, 220, 32, 18
    high = step * len(colours) + gap
    most = max(number for row in table.values() for number in row.values())
    picture = Drawing(400, 56 + high * len(table), title)
    picture.text(0, 16, title, "start")
    for i, (name, row) in enumerate(table.items()):
        top = 32 + high * i
        picture.text(0, top + 19, name, "start")
        for j, (column, colour) in enumerate(colours.items()):
            y = top + step * j
            length = wide * math.log(2 * row[column]) / math.log(2 * most)
            picture.text(left + 20, y + 19, column, "end")
            picture.bar(left + 28, y, round(0.8 * length, 1), colour)
            end = round(left + 36 + 0.8 * length, 1)
            picture.text(end, y + 19, f"{row[column]:g}", "start")
    picture.text(0, 48 + high * len(table), note, "start")
    return picture


def all_drawings() -> Iterator[tuple[Path, str]]:
    """Files and what belongs in them."""
    explaining = (scatter, phases, causal, gradients, call, overlap)
    for draw in (*explaining, times, spread, accuracy, cycles, fuzzed):
        yield Path(__file__).parent / f"{draw.__name__}.svg", str(draw())


if __name__ == "__main__":
    for path, svg in all_drawings():
        path.write_text(svg)
