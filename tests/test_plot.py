"""`jconvt.plot`: what is drawn, read from the artists, against the definition."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import jconvt
import oracles
from jconvt import plot

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.colors import to_rgb  # noqa: E402

STYLES = ["default", "dark_background"]

# Sizes, options, and the crop that they mean.
CALLS = {
    "plain": (5, 3, {}, (0, 0)),
    "stride": (4, 3, {"stride": 2}, (0, 0)),
    "crop": (4, 4, {"stride": 2, "padding": 1}, (1, 1)),
    "output_padding": (4, 3, {"stride": 2, "padding": 1, "output_padding": 1}, (1, 0)),
    "output_size": (4, 3, {"stride": 3, "padding": 1, "output_size": 12}, (1, -1)),
    "dilation": (4, 3, {"stride": 2, "dilation": 3, "padding": (2,)}, (2, 2)),
    "holes": (3, 2, {"stride": 4, "padding": [(-2, -1)]}, (-2, -1)),
    "same": (4, 5, {"stride": 2, "padding": "SAME"}, (1, 2)),
    "causal": (4, 5, {"stride": 2, "padding": "CAUSAL"}, (0, 3)),
    "many phases": (3, 15, {"stride": 12, "padding": 4}, (4, 4)),
}
calls = pytest.mark.parametrize(
    ("size", "taps", "options", "crop"), CALLS.values(), ids=CALLS
)


@pytest.fixture(autouse=True)
def _close():
    # Examples of the docs, run earlier in the same process, leave figures open.
    pyplot.close("all")
    yield
    pyplot.close("all")


def defined(size, taps, options, crop):
    """How many products each output element sums, by the definition."""
    ones = np.ones((1, 1, size)), np.ones((1, 1, taps))
    stride, dilation = (options.get(name, 1) for name in ("stride", "dilation"))
    y = oracles.scatter(*ones, stride=(stride,), crop=(crop,), dilation=(dilation,))
    return y[0, 0].round().astype(int).tolist()


def cells(ax, kind):
    """The cells of one kind by their numbers: middle, row and face."""
    found = {}
    for patch in ax.patches:
        name, *numbers = (patch.get_gid() or "").split()
        if name == kind:
            x, y = patch.get_center()
            key = tuple(map(int, numbers)) if len(numbers) > 1 else int(numbers[0])
            found[key] = (x, y, patch.get_facecolor())
    return found


# The overlap map ----------------------------------------------------------------------


@calls
def test_overlap_of_one_axis_is_the_definition(size, taps, options, crop):
    ax = plot.overlap(size, taps, **options)
    expected = defined(size, taps, options, crop)
    assert [bar.get_height() for bar in ax.patches] == expected
    assert [bar.get_center()[0] for bar in ax.patches] == list(range(len(expected)))
    assert ax.get_xlabel() == "output element"
    assert ax.get_ylabel() == "taps"


def test_overlap_of_two_axes_is_the_definition():
    options = {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2)}
    ax = plot.overlap((3, 4), (3, 2), output_padding=(1, 2), **options)
    x, w = np.ones((1, 1, 3, 4)), np.ones((1, 1, 3, 2))
    crop = ((1, 0), (0, -2))
    y = oracles.scatter(x, w, stride=(2, 3), crop=crop, dilation=(1, 2))[0, 0]
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), y)
    assert image.get_clim() == (0, y.max())


def test_overlap_counts_what_a_periodic_input_adds_twice():
    ax = plot.overlap(4, 6, stride=2, padding="CIRCULAR")
    assert [bar.get_height() for bar in ax.patches] == [3] * 8


# The scatter diagram ------------------------------------------------------------------


@calls
def test_scatter_draws_every_tap_where_it_adds(size, taps, options, crop):
    ax = plot.scatter(size, taps, **options)
    stride, dilation = (options.get(name, 1) for name in ("stride", "dilation"))
    drawn = cells(ax, "tap")
    places = {key: x for key, (x, _, _) in drawn.items()}
    assert places == {
        (i, t): i * stride + t * dilation for i in range(size) for t in range(taps)
    }
    rows = {(i, y) for (i, _), (_, y, _) in drawn.items()}
    assert len(rows) == size
    assert sorted(rows) == sorted(rows, key=lambda row: row[1])

    expected = defined(size, taps, options, crop)
    outputs = cells(ax, "output")
    assert [outputs[o][0] - crop[0] for o in sorted(outputs)] == list(
        range(len(expected))
    )
    for o, (x, _, face) in outputs.items():
        above = [
            tap for place, _, tap in drawn.values() if place == x and tap[3] == 1.0
        ]
        assert len(above) == expected[o]
        assert bool(face[3]) == bool(above)
        assert all(tap == face for tap in above)


@calls
def test_scatter_gives_each_phase_a_colour(size, taps, options, crop):
    ax = plot.scatter(size, taps, **options)
    stride = options.get("stride", 1)
    colours = {
        o % stride: face[:3]
        for o, (_, _, face) in cells(ax, "output").items()
        if face[3]
    }
    assert len(set(colours.values())) == len(colours)
    for (_, _), (x, _, face) in cells(ax, "tap").items():
        phase = (round(x) - crop[0]) % stride
        assert colours.get(phase, face[:3]) == face[:3]
    entries = {
        text.get_text(): patch.get_facecolor()[:3]
        for text, patch in zip(
            ax.get_legend().get_texts(), ax.get_legend().get_patches(), strict=True
        )
    }
    for phase, colour in colours.items():
        assert entries[f"phase {phase}"] == pytest.approx(colour)


@calls
def test_scatter_shades_the_crop_and_fades_what_is_in_it(size, taps, options, crop):
    ax = plot.scatter(size, taps, **options)
    stride, dilation = (options.get(name, 1) for name in ("stride", "dilation"))
    full = (size - 1) * stride + dilation * (taps - 1) + 1
    shaded = {
        p.get_gid(): (p.get_x() + 0.5, p.get_width())
        for p in ax.patches
        if p.get_gid().startswith("crop")
    }
    low, high = crop
    expected = {"crop low": (0, low), "crop high": (full - high, high)}
    assert shaded == {gid: span for gid, span in expected.items() if span[1] > 0}
    for x, _, face in cells(ax, "tap").values():
        assert (face[3] == 1.0) == (low <= x < full - high)


def test_scatter_dilates_the_input():
    ax = plot.scatter(3, 4, stride=3)
    dilated = cells(ax, "dilated")
    assert sorted(dilated) == list(range(7))
    assert [p for p, (_, _, face) in dilated.items() if face[3]] == [0, 3, 6]
    assert [x for x, _, _ in cells(ax, "input").values()] == [2, 3, 4]
    ends = [line.get_xdata().tolist() for line in ax.lines]
    assert ends == [[2, 0], [3, 3], [4, 6]]


def test_scatter_marks_what_is_appended():
    ax = plot.scatter(3, 3, stride=3, padding=1, output_size=9)
    widths = {
        int(p.get_gid().split()[1]): p.get_linewidth()
        for p in ax.patches
        if p.get_gid().startswith("output")
    }
    assert len(widths) == 9
    plain, thick = widths[0], widths[8]
    assert thick > plain
    assert [o for o, width in widths.items() if width == thick] == [7, 8]


def test_scatter_names_the_elements_of_a_periodic_input():
    ax = plot.scatter(4, 4, stride=3, padding="CIRCULAR")
    names = [label.get_text() for label in ax.get_yticklabels()]
    rows = [f"$x_{{{i}}}\\cdot w$" for i in (3, 0, 1, 2, 3)]
    assert names == ["input", "dilated input", "output", *rows]


def test_scatter_leaves_out_text_that_has_no_room():
    assert plot.scatter(3, 3).texts
    assert not plot.scatter(40, 9, stride=8).texts


# The comparison of lowerings ----------------------------------------------------------


def drawn(ax, label):
    """The marks of one label: lowering -> value."""
    names = [text.get_text() for text in ax.get_yticklabels()]
    (line,) = (line for line in ax.lines if line.get_label() == label)
    points = zip(line.get_ydata(), line.get_xdata(), strict=True)
    return {names[round(float(y))]: float(x) for y, x in points}


@pytest.mark.parametrize("quantity", ["milliseconds", "multiply_adds", "bytes"])
@pytest.mark.parametrize("kernel", [2, 4], ids=["no overlap", "overlap"])
def test_lowerings_draws_what_explain_says(kernel, quantity):
    found = jconvt.explain(
        (2, 8, 9, 9), (8, 4, kernel, kernel), stride=2, platform="cpu"
    )
    ax = plot.lowerings(found, quantity=quantity)
    serving = [c for c in found.candidates if c.refusal is None]
    picks = {
        "forward": found.forward,
        "input gradient": found.input_gradient,
        "weight gradient": found.weight_gradient,
    }
    for i, (slot, pick) in enumerate(picks.items()):
        expected = {c.lowering: getattr(c.estimates[i], quantity) for c in serving}
        assert drawn(ax, slot) == pytest.approx(expected)
        assert drawn(ax, f"_picked {slot}") == pytest.approx({pick: expected[pick]})
    useful = [line for line in ax.lines if line.get_label() == "useful"]
    assert len(useful) == (quantity == "multiply_adds")
    assert all(x == found.useful_multiply_adds for u in useful for x in u.get_xdata())
    refused = [c.lowering for c in found.candidates if c.refusal is not None]
    faint = [t.get_text() for t in ax.get_yticklabels() if t.get_alpha() is not None]
    assert faint == refused
    assert len(ax.texts) == len(refused)


def test_lowerings_draws_times_where_there_are_estimates_of_time():
    shapes = (1, 4, 9), (4, 2, 4)
    labels = {
        platform: plot.lowerings(
            jconvt.explain(*shapes, platform=platform)
        ).get_xlabel()
        for platform in ("cpu", "tpu")
    }
    assert labels == {
        "cpu": "estimated time on a CPU of two cores (ms)",
        "tpu": "executed multiply-adds",
    }


def test_lowerings_of_a_symbolic_batch():
    (n,) = jax.export.symbolic_shape("n")
    found = jconvt.explain((n, 4, 9), (4, 2, 4), platform="cpu")
    ax = plot.lowerings(found, quantity="multiply_adds")
    assert "useful" not in [line.get_label() for line in ax.lines]


# Axes, styles, errors -----------------------------------------------------------------

PICTURES = {
    "overlap": lambda **ax: plot.overlap(4, 3, stride=2, **ax),
    "overlap 2-d": lambda **ax: plot.overlap((4, 4), 3, stride=2, **ax),
    "scatter": lambda **ax: plot.scatter(4, 3, stride=2, padding=1, **ax),
    "lowerings": lambda **ax: plot.lowerings(
        jconvt.explain((1, 4, 9), (4, 2, 4), platform="cpu"),
        quantity="multiply_adds",
        **ax,
    ),
}
pictures = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


@pictures
def test_it_draws_on_the_axes_that_it_is_given(picture):
    figure, (left, right) = pyplot.subplots(1, 2)
    assert picture(ax=right) is right
    assert right.has_data()
    assert not left.has_data()
    assert pyplot.get_fignums() == [figure.number]


@pictures
def test_it_makes_a_figure_otherwise(picture):
    axes = picture(), picture()
    assert axes[0].figure is not axes[1].figure


@pictures
@pytest.mark.parametrize("style", STYLES)
def test_it_can_be_read_in_light_and_in_dark(picture, style):
    def contrast(colour, ground):
        return np.abs(np.dot(np.subtract(colour, ground), (0.299, 0.587, 0.114)))

    with pyplot.style.context(style):
        ax = picture()
        ax.figure.canvas.draw()
        ground = to_rgb(ax.figure.get_facecolor())
    labels = [*ax.get_xticklabels(), *ax.get_yticklabels(), ax.xaxis.label]
    faces = {tuple(p.get_center()): p.get_facecolor() for p in reversed(ax.patches)}
    for text in labels:
        assert contrast(to_rgb(text.get_color()), ground) > 0.5
    for line in ax.lines:
        assert contrast(to_rgb(line.get_color()), ground) > 0.25
    for patch in ax.patches:
        if not patch.get_facecolor()[3]:
            assert contrast(to_rgb(patch.get_edgecolor()), ground) > 0.5
    for text in ax.texts:
        *behind, alpha = faces.get(text.get_position(), (*ground, 1.0))
        if alpha == 1.0:
            assert contrast(to_rgb(text.get_color()), behind) >= 0.5
        else:
            assert contrast(to_rgb(text.get_color()), ground) > 0.5


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: plot.overlap((4, 4, 4), 3),
            ValueError,
            "plot.overlap: `input_size` and `kernel_size` must be for 1 or 2 spatial "
            "axes, without batch and channels; got (4, 4, 4) and 3. Draw one axis of "
            "several at a time.",
        ),
        (
            lambda: plot.scatter((4, 4), 3),
            ValueError,
            "plot.scatter: `input_size` and `kernel_size` must be for 1 spatial axis, "
            "without batch and channels; got (4, 4) and 3. Draw one axis of several at "
            "a time.",
        ),
        (
            lambda: plot.overlap((4, 4), (3,)),
            ValueError,
            "plot.overlap: `kernel_size` must hold 2 ints, one for each spatial axis; "
            "got 1: (3,).",
        ),
        (
            lambda: plot.scatter(0, 3),
            ValueError,
            "plot.scatter: `input_size` must be at least 1; got 0.",
        ),
        (
            lambda: plot.scatter(4, 3.0),
            TypeError,
            "plot.scatter: `kernel_size` must be an int or a tuple or list of 1 ints; "
            "got 3.0 of type float.",
        ),
        (
            lambda: plot.overlap(4, 3, stride=2, output_padding=2),
            ValueError,
            "plot.overlap: `output_padding` must be smaller than `stride` or "
            "`dilation` on every spatial axis; on axis 0 got output_padding 2, stride "
            "2, dilation 1.",
        ),
        (
            lambda: plot.overlap(4, 3, ax=[1]),
            TypeError,
            "plot.overlap: `ax` must be matplotlib axes, one, or None for a new "
            "figure; got list.",
        ),
        (
            lambda: plot.lowerings((1, 4, 9)),
            TypeError,
            "plot.lowerings: `explanation` must be what jconvt.explain returns; got "
            "tuple.",
        ),
        (
            lambda: plot.lowerings(jconvt.explain((1, 4, 9), (4, 2, 4)), quantity=1),
            TypeError,
            "plot.lowerings: `quantity` must be a string or None; got 1.",
        ),
        (
            lambda: plot.lowerings(jconvt.explain((1, 4, 9), (4, 2, 4)), quantity="x"),
            ValueError,
            "plot.lowerings: `quantity` must be one of milliseconds, multiply_adds, "
            "bytes; got 'x'.",
        ),
        (
            lambda: plot.lowerings(
                jconvt.explain((1, 4, 9), (4, 2, 4), platform="tpu"),
                quantity="milliseconds",
            ),
            ValueError,
            "plot.lowerings: `quantity` must not be 'milliseconds' here: times are "
            "estimated for a CPU alone; got an explanation for 'tpu'.",
        ),
        (
            lambda: plot.lowerings(jconvt.explain((0, 4, 9), (4, 2, 4))),
            ValueError,
            "plot.lowerings: `explanation` must hold estimates; got one of a call that "
            "computes nothing, (0, 4, 9) -> (0, 2, 12).",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == message
    assert not pyplot.get_fignums()


def test_matplotlib_is_imported_when_something_is_drawn():
    code = (
        "import sys, jconvt.plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        "sys.meta_path.insert(0, type('No', (), {'find_spec': staticmethod(\n"
        "    lambda name, path=None, target=None: no(name))}))\n"
        "def no(name):\n"
        "    if name == 'matplotlib': raise ModuleNotFoundError(name=name)\n"
        "jconvt.plot.overlap(4, 3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.endswith(
        "ImportError: plot.overlap: needs matplotlib; run: pip install 'jconvt[plot]'\n"
    )
