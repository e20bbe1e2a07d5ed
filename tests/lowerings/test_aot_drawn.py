"""Random layers compiled for a TPU: what is drawn, compiled and said of it."""

import argparse
import json

import pytest

from benchmarks.aot import hlo
from benchmarks.aot.drawn import __main__ as drawn
from benchmarks.aot.drawn import report
from benchmarks.aot.drawn.entries import MAP_NAMES, entries, forward
from benchmarks.aot.drawn.sample import MOST_IMAGES, problem_of_form, sample
from benchmarks.aot.forms import AUTO, NATIVE
from benchmarks.aot.reading import BYTES_A_CYCLE, cycles_of
from jconvt._call.problem import Map
from jconvt._choice.choose import choose, entry_for

SEED = 31
FOUND = {n: form for n in range(60) if (form := sample(SEED, n)) is not None}


def test_what_is_drawn_varies_and_is_small():
    assert {n: f for n in range(60) if (f := sample(SEED, n)) is not None} == FOUND
    forms = FOUND.values()
    assert {form.dtype for form in forms} == {"float32", "bfloat16"}
    assert {form.layout for form in forms} == {"first", "last"}
    assert {form.layer.rank for form in forms} == {1, 2, 3}
    assert max(form.layer.batch for form in forms) <= MOST_IMAGES
    for form in forms:
        problem = problem_of_form(form)
        assert problem.dtype == form.dtype
        assert problem.features_first == (form.layout == "first")


@pytest.mark.parametrize("map_name", MAP_NAMES)
def test_the_choice_is_among_the_forms_that_are_compiled(map_name):
    which = MAP_NAMES[map_name]
    for form in FOUND.values():
        found = list(entries(form, map_name))
        problem = problem_of_form(form)
        chosen = entry_for(which, problem, choose(which, "tpu", problem))
        assert len(found) == len(set(found))
        assert chosen in found
        assert found[:2] == [NATIVE, AUTO]
        assert ("role_swapped" in found) == (which == Map.WEIGHT)


def test_an_entry_pins_its_map_alone():
    form = FOUND[min(FOUND)]
    pinned = forward(form, "weight-gradient", "role_swapped").keywords["lowering"]
    assert pinned.to_json() == {
        "forward": "auto",
        "input_gradient": "auto",
        "weight_gradient": "role_swapped",
    }


@pytest.mark.parametrize(
    ("type", "size"),
    [
        ("f32[]", 4),
        ("f32[3,5]{1,0}", 60),
        ("f32[3,5]{1,0:T(8,128)}", 4 * 8 * 128),
        ("f32[3,5]{0,1:T(8,128)S(1)}", 4 * 8 * 128),
        ("bf16[16,200,3]{1,2,0:T(4,128)(2,1)}", 2 * 16 * 4 * 256),
        ("f32[64]{0:T(128)}", 512),
        ("token[]", 0),
    ],
)
def test_stored_bytes_have_the_padding_of_tiles(type, size):
    (found,) = hlo.instructions(f"  %a = {type} reshape(%b)")
    assert found.stored_bytes == size


def test_what_has_no_estimate_is_counted_by_its_bytes():
    assert cycles_of(1000, 0) == 1000
    assert cycles_of(1000, 10**6) == pytest.approx(1000 + 2e6 / BYTES_A_CYCLE)


def line(number, map_name, readings):
    return {
        "seed": SEED,
        "number": number,
        "map": map_name,
        "readings": {e: {"cycles": c, "moved": m} for e, (c, m) in readings.items()},
    }


def test_the_report_compares_the_present_choice(tmp_path):
    number, form = next(iter(FOUND.items()))
    problem = problem_of_form(form)
    chosen = entry_for(Map.OUTPUT, problem, choose(Map.OUTPUT, "tpu", problem))
    half = int(1000 * BYTES_A_CYCLE / 2)
    given = {NATIVE: (4000, 0), AUTO: (1, 0), chosen: (1000, half), "other": (500, 0)}
    (row,) = report.rows([line(number, "forward", given)])
    assert (row.choice, row.best) == (chosen, "other")
    assert row.over_best == pytest.approx(4, rel=1e-3)
    assert row.over_native == pytest.approx(0.5, rel=1e-3)
    text = report.text([line(number, "forward", given)])
    assert report.describe(form) in text
    assert "| Forward | " in text
    missing = {name: v for name, v in given.items() if name != chosen}
    assert list(report.rows([line(number, "forward", missing)])) == []
    lost = {k: v for k, v in line(number, "forward", given).items() if k != "readings"}
    assert list(report.rows([lost])) == []


class Compiles:
    """Stands for the process that compiles: it answers, and remembers the tasks."""

    def __init__(self):
        self.tasks = []

    def race(self, task):
        self.tasks.append((task["number"], task["map"]))
        return {"readings": {NATIVE: {"cycles": 7, "moved": 0}}, "lost": {}}


def test_a_search_goes_on_where_it_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(drawn, "_facts", lambda: {"libtpu": "1"})
    monkeypatch.setattr(drawn.itertools, "count", lambda first, step: [*FOUND][:2])
    out = tmp_path / "build" / "drawn.jsonl"
    given = argparse.Namespace(
        seed=SEED, first=0, step=1, seconds=60, out=out, kept=tmp_path / "kept"
    )
    first, second = Compiles(), Compiles()
    drawn.search(given, first)
    assert first.tasks == [(n, m) for n in [*FOUND][:2] for m in MAP_NAMES]
    lines = out.read_text().splitlines()
    out.write_text("\n".join(lines[:-2]) + '\n{"interr')
    drawn.search(given, second)
    assert second.tasks == first.tasks[-2:]
    assert json.loads(lines[0])["libtpu"] == "1"
    drawn.search(argparse.Namespace(**vars(given) | {"seconds": 0}), second)
    assert len(second.tasks) == 2
