"""The search for slow layers: what it draws, keeps and reports. Nothing is timed."""

import dataclasses
import itertools
import json
import math
import sys
from types import SimpleNamespace

import pytest

import jconvt
from benchmarks.cliffs import __main__ as command
from benchmarks.cliffs import contenders, draw, lines, race, report, worker
from benchmarks.cliffs.child import Child
from benchmarks.layers import Layer
from jconvt._shell import timing

DRAWN = [draw.draw(3, number) for number in range(300)]
LAYERS = [drawn.layer for drawn in DRAWN]

SMALL = draw.Drawn(
    Layer(
        name="small",
        batch=2,
        in_channels=8,
        out_channels=4,
        spatial=(6, 5),
        kernel_size=(4, 4),
        stride=(2, 2),
        padding=(1, 1),
        output_padding=(0, 0),
        groups=1,
        dilation=(1, 1),
        source="drawn: made up",
    ),
    channels_last=False,
)
LAST = dataclasses.replace(SMALL, channels_last=True)

HERE = {"processor": "made up avx2", "isa": "avx2", "jax": "1", "torch": "2"}
TASK = {"seed": 0, "number": 7, "mode": "forward", "candidates": True, "budget": 20.0}


# The layers ---------------------------------------------------------------------------


def test_a_layer_depends_on_its_seed_and_number_alone():
    assert [draw.draw(3, number) for number in (250, 17)] == [DRAWN[250], DRAWN[17]]
    assert draw.draw(4, 17).layer != DRAWN[17].layer
    assert len(set(DRAWN)) == len(DRAWN)


def test_a_known_layer():
    """Fails where a change makes the results of older searches incomparable."""
    layer = draw.draw(0, 5).layer
    assert (layer.input_shape, layer.weight_shape) == KNOWN
    assert layer.groups == 2


KNOWN = ((1, 156, 4, 4), (156, 39, 4, 4))


def test_every_kind_is_drawn():
    kinds = {kind for layer in LAYERS for kind in _kinds(layer)}
    assert kinds == {*draw.GEOMETRIES, *draw.GROUPS}
    assert {layer.rank for layer in LAYERS} == {1, 2, 3}
    assert {drawn.channels_last for drawn in DRAWN} == {False, True}
    assert {layer.batch for layer in LAYERS} >= {1, 2, 4, 8, 16, 32}


def _kinds(layer):
    return layer.source.removeprefix("drawn: ").split(", ")


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("dilated", lambda a: max(a.dilation) > 1),
        ("output padding", lambda a: max(a.output_padding) > 0),
        ("unpadded", lambda a: max(a.padding) == 0 and max(a.kernel_size) > 1),
        ("anisotropic kernel", lambda a: len(set(a.kernel_size)) > 1),
        ("anisotropic stride", lambda a: len(set(a.stride)) > 1),
        ("kernel = stride", lambda a: a.kernel_size == a.stride),
        ("stride 1", lambda a: set(a.stride) == {1}),
        ("long kernel", lambda a: max(a.kernel_size) > 512),
        ("hop", lambda a: max(a.stride) == 1024),
        ("half the channels", lambda a: a.in_channels == 2 * a.out_channels),
        ("power of two", lambda a: a.in_channels & (a.in_channels - 1) == 0),
        ("other channels", lambda a: a.in_channels & (a.in_channels - 1) > 0),
        ("many channels", lambda a: a.in_channels > 1000),
        ("multiplier", lambda a: 2 * a.groups == 2 * a.in_channels == a.out_channels),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_networks_have_is_drawn(name, has):
    found = sum(map(has, LAYERS))
    assert 0 < found < len(LAYERS), name


def test_layers_are_valid_and_within_bounds():
    for layer in LAYERS:
        assert draw.within_bounds(layer), layer
        shape = jconvt.output_shape(
            layer.input_shape, layer.weight_shape, **layer.options
        )
        assert shape == layer.output_shape
        arrays = (layer.input_shape, layer.weight_shape, shape)
        assert 4 * sum(map(math.prod, arrays)) <= 256 * 2**20
        assert max(layer.in_channels, layer.out_channels) <= 2048
        # PyTorch's rule
        for extra, stride, dilation in zip(
            layer.output_padding, layer.stride, layer.dilation, strict=True
        ):
            assert extra == 0 or extra < max(stride, dilation)


@pytest.mark.parametrize("kind", ["a group for each sample", "depthwise"])
def test_groups_are_what_their_kind_says(kind):
    found = [layer for layer in LAYERS if kind in _kinds(layer)]
    assert found
    for layer in found:
        if kind == "depthwise":
            assert layer.groups == layer.in_channels
        else:
            assert (layer.batch, layer.groups > 1) == (1, True)


def test_too_small_and_too_large_layers_are_outside():
    good = LAYERS[0]
    assert draw.within_bounds(good)
    for change in (
        {"spatial": (1,) * good.rank, "batch": 1, "in_channels": 1, "groups": 1},
        {"batch": 10**6},
        {"in_channels": 2 * draw.MOST_CHANNELS},
        {"padding": tuple(10**6 for _ in good.padding)},
    ):
        assert not draw.within_bounds(dataclasses.replace(good, **change))


# The contenders -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawn", "mode"), [(SMALL, "train"), (LAST, "forward")], ids=["first", "last"]
)
def test_every_contender_runs(drawn, mode):
    found = contenders.contenders(drawn, mode, with_candidates=True)
    choice = contenders.chosen(drawn, mode)
    assert {contenders.AUTO, contenders.NATIVE, choice} <= set(found)
    assert len(found) > 6
    named = [contenders.AUTO, contenders.TORCH, contenders.NATIVE, choice]
    for name in named:
        if name in found:
            assert found[name]()() is not None


def test_candidates_are_left_out_on_demand():
    found = contenders.contenders(SMALL, "train", with_candidates=False)
    apart = {contenders.AUTO, contenders.TORCH, contenders.NATIVE}
    assert set(found) <= apart


def test_candidates_of_training_change_the_gradients_alone():
    found = contenders.contenders(SMALL, "train", with_candidates=True)
    choice = contenders.chosen(SMALL, "train").split("; ")
    others = [name.split("; ") for name in found if "; " in name]
    assert {name[0] for name in others} == {choice[0]}
    changed = {tuple(map(str.__eq__, name, choice)) for name in others}
    assert changed >= {(True, True, True), (True, False, True), (True, True, False)}
    assert (True, False, False) in changed


# The race -----------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only while a contender runs."""
    now = SimpleNamespace(seconds=0.0)
    fake = SimpleNamespace(perf_counter=lambda: now.seconds)
    monkeypatch.setattr(race, "time", fake)
    monkeypatch.setattr(timing, "time", fake)
    return now


def made(clock, seconds, compile=1.0):
    """A contender that compiles in its first run, and counts its runs."""
    runs = []

    def run():
        clock.seconds += seconds if runs else seconds + compile
        runs.append(clock.seconds)

    return lambda: run, runs


def raced(entrants, **options):
    told = []
    options = {"always": ("a",), "budget": 100.0} | options
    times = race.race(
        {name: make for name, (make, _) in entrants.items()},
        announce=lambda name, allowed: told.append((name, allowed)),
        **options,
    )
    return times, told


def test_contenders_race_warm(clock):
    entrants = {"a": made(clock, 0.5), "b": made(clock, 0.25)}
    times, told = raced(entrants)
    assert times.seconds == pytest.approx({"a": 0.5, "b": 0.25})
    assert [name for name, _ in told] == ["a", "b", race.RACING]
    assert all(len(runs) > race.ROUNDS for _, runs in entrants.values())


def test_what_is_far_behind_runs_twice(clock):
    entrants = {"a": made(clock, 0.01), "b": made(clock, 0.21)}
    times, _ = raced(entrants)
    assert times.seconds["b"] == pytest.approx(0.21)
    assert len(entrants["b"][1]) == 2


def test_the_patience_is_by_the_best_so_far(clock):
    _, told = raced({"a": made(clock, 0.5), "b": made(clock, 0.25)})
    assert told[0] == ("a", race.PATIENCE)
    assert told[1] == ("b", race.COMPILE + 2 * race.FAR_BEHIND * 0.5)


def test_the_patience_is_at_most_half_the_budget(clock):
    _, told = raced({"a": made(clock, 0.5), "b": made(clock, 0.25)}, budget=8.0)
    assert told[1] == ("b", 4.0)


def test_a_very_long_first_call_is_the_only_one(clock):
    entrants = {"a": made(clock, 0.5), "b": made(clock, 6.0, compile=5.0)}
    times, _ = raced(entrants, budget=20.0)
    assert times.seconds == pytest.approx({"a": 0.5, "b": 11.0})
    assert len(entrants["b"][1]) == 1


def test_compiling_does_not_count_where_little_time_is_left(clock):
    entrants = {"a": made(clock, 0.1, compile=9.0)}
    times, _ = raced(entrants, budget=5.0)
    assert times.seconds == pytest.approx({"a": 0.1})


def test_late_candidates_are_not_tried(clock):
    entrants = {name: made(clock, 1.0, compile=10.0) for name in "bcda"}
    times, told = raced(entrants, budget=30.0)
    assert [name for name, _ in told] == ["b", "c", "a", race.RACING]
    assert times.untried == 1
    assert "d" not in times.seconds


def test_candidates_have_some_time_after_slow_contenders(clock):
    entrants = {"a": made(clock, 15.0)} | {n: made(clock, 2.0) for n in "bcd"}
    times, _ = raced(entrants, budget=20.0)
    assert list(times.seconds) == ["a", "b"]
    assert times.untried == 2


def test_the_race_keeps_to_its_budget(clock):
    entrants = {
        name: made(clock, seconds)
        for name, seconds in zip("abc", (4, 3, 2), strict=True)
    }
    times, _ = raced(entrants, budget=44.0)
    assert clock.seconds < 44
    assert times.seconds == pytest.approx({"a": 4, "b": 3, "c": 2})
    assert [len(entrants[name][1]) > 2 for name in "abc"] == [True, False, False]


def test_an_error_is_a_result(clock):
    def fails():
        raise RuntimeError("no such convolution")

    times, _ = raced({"a": made(clock, 0.5), "b": (fails, [])})
    assert times.lost == {"b": "RuntimeError: no such convolution"}
    assert list(times.seconds) == ["a"]


def test_nobody_runs(clock):
    del clock

    def fails():
        raise MemoryError

    times, _ = raced({"a": (fails, [])})
    assert (times.seconds, list(times.lost)) == ({}, ["a"])


# The process that is watched ----------------------------------------------------------

WORKER = """
import json, os, sys, time

def tell(**event):
    print(json.dumps(event), flush=True)

tell(ready=True)
for line in sys.stdin:
    task = json.loads(line)
    for name in ("good", "aborts", "hangs"):
        if name in task["without"]:
            continue
        tell(trying=name, allowed=0.2 if name == "hangs" else 20.0)
        if name == task["number"] == "aborts":
            os.abort()
        if name == task["number"] == "hangs":
            time.sleep(60)
    tell(done={"seconds": {"good": 1.0}, "lost": {}, "untried": 0, "chosen": ""})
"""


@pytest.fixture
def child():
    child = Child((sys.executable, "-c", WORKER))
    yield child
    child.end()


def test_a_worker_answers_several_tasks(child):
    for number in range(2):
        found = child.race({"number": number, "budget": 1.0})
        assert (found["seconds"], found["lost"]) == ({"good": 1.0}, {})


@pytest.mark.parametrize(
    ("name", "why"), [("aborts", "the process ended with"), ("hangs", "longer than")]
)
def test_a_lost_contender_is_left_out_and_the_layer_raced_again(child, name, why):
    found = child.race({"number": name, "budget": 1.0})
    assert found["seconds"] == {"good": 1.0}
    assert list(found["lost"]) == [name]
    assert why in found["lost"][name]
    assert child.race({"number": 0, "budget": 1.0})["lost"] == {}


def test_a_worker_that_does_not_start_gives_no_times():
    child = Child((sys.executable, "-c", "raise SystemExit(3)"))
    found = child.race({"number": 0, "budget": 1.0})
    assert found["seconds"] == {}
    assert "ended with 3" in next(iter(found["lost"].values()))


def test_the_worker_tells_what_it_does(monkeypatch, tmp_path):
    monkeypatch.setattr(worker, "draw", lambda seed, number: SMALL)
    monkeypatch.setattr(worker, "race", _no_race)
    path = tmp_path / "events"
    with path.open("w") as events:
        worker.answer({**TASK, "without": ["torch"]}, events)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert events[0] == {"trying": "auto", "allowed": 1.0}
    assert all(event.get("trying") != "torch" for event in events)
    done = events[-1]["done"]
    assert done["chosen"] == contenders.chosen(SMALL, "forward")
    assert done["seconds"] == {}


def _no_race(entrants, *, always, budget, announce):
    assert {"auto", "torch", "native"} < set(always)
    assert budget == TASK["budget"]
    for name in entrants:
        announce(name, 1.0)
    return race.Times()


# The file -----------------------------------------------------------------------------


def outcome(**seconds):
    return {"seconds": seconds, "lost": {}, "untried": 0, "chosen": ""}


def test_without_a_number_of_layers_a_search_has_no_end():
    parsed = command._parser().parse_args(["--mode", "both"])
    first = itertools.islice(command.tasks(parsed), 3)
    found = [(task["number"], task["mode"]) for task in first]
    assert found == [(0, "forward"), (0, "train"), (1, "forward")]


def test_a_search_goes_on_where_it_ended(tmp_path):
    out, asked = tmp_path / "build" / "cliffs.jsonl", []

    def pretend(task):
        asked.append((task["number"], task["mode"]))
        return outcome(auto=1.0)

    def search(*arguments):
        parsed = command._parser().parse_args(arguments)
        tasks = command.tasks(parsed)
        return command.search(tasks, pretend, out, seconds=parsed.seconds)

    assert search("--layers", "2", "--mode", "train") == 2
    assert search("--layers", "2") == 2
    assert search("--layers", "2") == 0
    assert asked == [(0, "train"), (1, "train"), (0, "forward"), (1, "forward")]
    assert search("--seed", "1", "--layers", "1") == 2
    assert search("--layers", "9", "--seconds", "0") == 0
    found = lines.read([out])
    assert len(found) == 6
    assert lines.layer_of(found[0]) == draw.draw(0, 0).layer
    assert {found[0][name] for name in ("mode", "seed")} == {"train", 0}


def test_another_environment_is_not_skipped():
    line = {**TASK, **HERE, "commit": "a"}
    assert lines.key(line) == lines.key(dict(line))
    for name in lines.WHERE:
        assert lines.key(line | {name: "other"}) != lines.key(line)


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "lines.jsonl"
    lines.append(path, {"number": 1})
    with path.open("a") as file:
        file.write('{"number": 2, "sec')
    assert lines.read([path, tmp_path / "none.jsonl"]) == [{"number": 1}]


@pytest.mark.parametrize(
    ("processor", "flags", "isa"),
    [
        ("made up avx512f", "", "avx512"),
        ("made up avx2", "", "avx2"),
        ("made up avx512f", "--xla_cpu_max_isa=AVX2 --other=1", "avx2"),
    ],
)
def test_the_vectors_are_those_that_xla_may_use(processor, flags, isa):
    assert lines._isa(processor, flags) == isa


# The report ---------------------------------------------------------------------------


def made_up(number, drawn=SMALL, commit="a", **seconds):
    chosen = "forward: gather"
    names = {"chosen": chosen, "best": "forward: winograd"}
    times = {names.get(name, name): value for name, value in seconds.items()}
    return {
        **TASK,
        **HERE,
        "number": number,
        "commit": commit,
        "layer": json.loads(json.dumps(dataclasses.asdict(drawn.layer))),
        "channels_last": drawn.channels_last,
        **outcome(**times),
        "chosen": chosen if "chosen" in seconds else "",
    }


MADE_UP = [
    made_up(0, auto=2.0, torch=1.0, native=8.0, chosen=2.0, best=1.0),
    made_up(1, auto=1.0, torch=2.0, native=2.0, chosen=1.0, best=8.0),
    made_up(2, LAST, auto=3.0, native=1.0),
    made_up(3, native=1.0),
]


def test_ratios_are_means_and_maxima():
    (group,) = report.summaries(MADE_UP)
    assert group["layers"] == 4
    assert group["ratios"] == {
        "over PyTorch": {"layers": 2, "mean": pytest.approx(1.0), "worst": 2.0},
        "over JAX's own form": {
            "layers": 3,
            "mean": pytest.approx((0.25 * 0.5 * 3) ** (1 / 3)),
            "worst": 3.0,
        },
        "choice over best candidate": {
            "layers": 2,
            "mean": pytest.approx(math.sqrt(2)),
            "worst": 2.0,
        },
    }


def test_the_worst_layers_come_first():
    (group,) = report.summaries(MADE_UP)
    assert [shown["seconds"] for shown in group["worst"]] == [3.0, 2.0, 1.0]
    assert [shown["better"] for shown in group["worst"]] == [
        "",
        "forward: winograd",
        "",
    ]
    many = [made_up(n, auto=1.0 + n, torch=1.0) for n in range(50)]
    assert len(report.worst(many)) == report.MOST_SHOWN


def test_processors_versions_and_modes_stand_apart():
    other = [
        MADE_UP[0] | {name: "other"} for name in ("processor", "isa", "jax", "mode")
    ]
    assert [group["layers"] for group in report.summaries([*MADE_UP, *other])].count(
        1
    ) == 4


def test_a_later_commit_replaces_an_earlier_one():
    later = made_up(0, commit="b", auto=1.0, torch=1.0)
    assert report.newest([MADE_UP[0], MADE_UP[1], later]) == [later, MADE_UP[1]]


@pytest.mark.parametrize("drawn", [SMALL, LAST, DRAWN[0], DRAWN[1], DRAWN[2]])
def test_a_layer_is_spelled_out_as_a_call(drawn):
    spelled = report.call(made_up(0, drawn))
    asked = spelled.replace("conv_transpose", "shape", 1)
    names = {"ones": lambda shape: shape, "shape": jconvt.output_shape}
    batch, channels, *space = drawn.layer.output_shape
    last = (batch, *space, channels)
    assert eval(asked, names) == (
        last if drawn.channels_last else (batch, channels, *space)
    )


def test_a_call_leaves_out_the_defaults():
    assert report.call(made_up(0)) == (
        "conv_transpose(ones((2, 8, 6, 5)), ones((8, 4, 4, 4)), stride=(2, 2), "
        "padding=(1, 1))"
    )


def test_a_report_is_written(tmp_path, capsys):
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    lost = MADE_UP[3] | {"lost": {"auto": "the process ended with -6"}, "jax": "0.9"}
    for file, found in zip(files, (MADE_UP[:3], [lost]), strict=True):
        for line in found:
            lines.append(file, line)
    report.main([*map(str, files), "--out", str(tmp_path / "out")])
    page = (tmp_path / "out" / "cliffs.md").read_text()
    assert page.strip() == capsys.readouterr().out.strip()
    assert "| made up avx2 | avx2 | 1 | forward | 3 | 1.00, worst 2.00 |" in page
    assert "| made up avx2 | avx2 | 0.9 | forward | 1 |  |  |  |" in page
    assert "- No time of auto for `conv_transpose(" in page
    assert "the process ended with -6." in page
    data = json.loads((tmp_path / "out" / "cliffs.json").read_text())
    assert [group["jax"] for group in data] == ["0.9", "1"]
