"""The page of what each part of the choice brings, from times that are made up."""

import json

import pytest

from benchmarks import ablation, candidates, fit
from jconvt._call.problem import Map
from jconvt._choice.choose import candidates as formulations
from jconvt._choice.choose import estimate
from jconvt._choice.turned import is_turned


@pytest.fixture(scope="module")
def rows():
    """Every candidate of some layers, with its own estimate as its time."""
    found = []
    for name, problem in fit.random_problems(seed=3, count=4):
        for which in Map:
            if is_turned(which, problem):
                continue
            times = {
                f: estimate(which, problem, f) for f in formulations(which, problem)
            }
            found += candidates.rows_of(name, problem, which, times)
    return json.loads(json.dumps(found))


@pytest.fixture
def file(rows, tmp_path):
    path = tmp_path / "times.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def part(name):
    (found,) = [p for p in ablation.parts() if p.name == name]
    return found


def test_without_the_lowering_that_is_chosen_the_next_best_is(file):
    rows = ablation.read([file])
    layer = rows[0]["layer"]
    mine = [r for r in rows if r["layer"] == layer and r["slot"] == Map.OUTPUT]
    pick = min(mine, key=lambda row: row["seconds"])
    others = [row for row in mine if row["lowering"] != pick["lowering"]]
    found = ablation.lost(
        mine, Map.OUTPUT, part(f"lowering `{pick['lowering']}`"), fitted={}
    )
    least = min(row["seconds"] for row in others)
    assert found.changed == 1
    assert found.ratios == [pytest.approx(least / pick["seconds"])]


def test_without_a_lowering_that_no_candidate_has_nothing_changes(file):
    mine = [row for row in ablation.read([file]) if row["slot"] == Map.OUTPUT]
    found = ablation.lost(mine, Map.OUTPUT, part("lowering `role_swapped`"), fitted={})
    assert found.changed == 0
    assert set(found.ratios) == {1.0}


def test_without_a_count_the_others_are_fitted_again(monkeypatch):
    """Here the count is all that tells the two candidates apart."""
    asked = []

    def solve(rows):
        asked.append([row["features"] for row in rows])
        return {"calls": 1.0, "cut": 1.0}

    monkeypatch.setattr(ablation, "solve", solve)
    mine = [
        {"layer": "a", "features": {"calls": 1, "cut": 9}, "seconds": 3.0, "best": 1.0},
        {"layer": "a", "features": {"calls": 2, "cut": 0}, "seconds": 1.0, "best": 1.0},
    ]
    fitted = {"calls": 1.0, "cut": 1.0}
    found = ablation.lost(mine, Map.OUTPUT, part("count `cut`"), fitted)
    assert asked == [[{"calls": 1, "cut": 0}, {"calls": 2, "cut": 0}]]
    assert found == (1, [3.0])


def test_the_page_has_a_row_for_each_part(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablation, "solve", lambda rows: ablation.RATES[Map.OUTPUT])
    ablation.main([str(file), "--out", str(tmp_path)])
    page = (tmp_path / "ablation.md").read_text()
    assert capsys.readouterr().out.strip() == page.strip()
    assert all(f"| {p.name} |" in page for p in ablation.parts())
