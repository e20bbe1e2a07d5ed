"""The fit of the cost model's rates, on times that are made up. Nothing is timed."""

import json

import numpy as np
import pytest

from benchmarks import candidates, fit
from jconvt._call.problem import Map
from jconvt._choice.choose import Formulation
from jconvt._choice.choose import candidates as formulations
from jconvt._choice.cost import RATES, features
from jconvt._choice.turned import is_turned


def made_up(rates, count=1500, spread=0.0):
    """Rows of layers, each with one candidate that is exact and one that is not.

    A candidate has some of the features, in counts of 1 to a million. The second takes
    a hundred times as long as the best, and `spread` (as a logarithm) more than its
    rates say.
    """
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        counts = 10 ** rng.uniform(0, 6, (2, len(rates)))
        counts *= rng.random(counts.shape) < 0.2
        counts[:, rng.integers(len(rates))] = 1e3
        best, other = 1e-9 * counts @ list(rates.values())
        counts[1] *= 100 * best / other
        for row, seconds in zip(
            counts, (best, 100 * best * np.exp(spread)), strict=True
        ):
            named = dict(zip(rates, row, strict=True))
            rows.append({"features": named, "seconds": seconds, "best": best})
    return rows


def true_rates():
    """Within the fit's bounds, none of them its start but that of loops, held there."""
    rng = np.random.default_rng(1)
    factors = np.exp(rng.choice([-2, -1, 1, 2], len(fit._START)))
    found = zip(fit._START.items(), factors, strict=True)
    return {name: start * factor for (name, start), factor in found} | {
        fit._HELD: fit._START[fit._HELD]
    }


def assert_near(found, rates, rtol):
    assert list(found) == list(rates)
    np.testing.assert_allclose(list(found.values()), list(rates.values()), rtol)


@pytest.mark.parametrize("slot", Map)
def test_each_feature_has_a_start(slot):
    assert list(fit._START) == list(RATES[slot])


def test_known_rates_are_found():
    rates = true_rates()
    assert_near(fit.solve(made_up(rates)), rates, 0.02)


def test_candidates_far_behind_weigh_little():
    """Their times are three times what the rates say."""
    rates = true_rates()
    assert_near(fit.solve(made_up(rates, spread=np.log(3))), rates, 0.2)


def test_single_wild_times_weigh_little():
    """One in a hundred layers was timed beside something else, a thousandfold."""
    rates = true_rates()
    rows = made_up(rates, count=3000)
    for row in rows[::200]:
        row["seconds"] *= 1000
        row["best"] *= 1000
    assert_near(fit.solve(rows), rates, 0.05)


def test_the_rate_of_loops_is_held():
    start = fit._START[fit._HELD]
    found = fit.solve(made_up(true_rates() | {fit._HELD: 5 * start}, count=200))
    assert found[fit._HELD] == pytest.approx(start, rel=1e-5)


def test_a_feature_that_no_row_has_keeps_its_start():
    rows = [row for row in made_up(true_rates()) if not row["features"]["swapped"]]
    assert fit.solve(rows)["swapped"] == pytest.approx(fit._START["swapped"])


def test_regret_is_the_time_of_the_pick_over_the_best():
    rows = [
        {"layer": name, "features": counts, "seconds": seconds, "best": 2.0}
        for name, counts, seconds in [
            ("right", {"calls": 1, "cut": 0}, 2.0),
            ("right", {"calls": 0, "cut": 9}, 5.0),
            ("wrong", {"calls": 5, "cut": 0}, 2.0),
            ("wrong", {"calls": 0, "cut": 1}, 3.0),
        ]
    ]
    assert fit.regrets(rows, {"calls": 1.0, "cut": 1.0}) == {"right": 1.0, "wrong": 1.5}


def test_a_few_candidates_are_the_best_of_each_lowering(monkeypatch):
    monkeypatch.setattr(candidates, "race", lambda runs, **_: dict.fromkeys(runs, 1.0))
    (_, problem), *_ = fit.random_problems(seed=42, count=5)
    whole = formulations(Map.WEIGHT, problem)
    found = candidates.measure(problem, Map.WEIGHT, 0, 1e9, few=True)
    assert sorted(f.lowering for f in found) == sorted({f.lowering for f in whole})
    assert len(found) < len(whole)
    guesses = {f: candidates.estimate(Map.WEIGHT, problem, f) for f in whole}
    for best in found:
        same = [guesses[f] for f in whole if f.lowering == best.lowering]
        assert guesses[best] == min(same)


def test_rows_are_read_back_as_they_were_collected(monkeypatch):
    """Through JSON: the layer, the map, the formulation, and so its counts."""
    asked = []

    def measure(problem, slot, seconds, within, few):
        works = formulations(slot, problem)
        asked.extend((slot, problem, f) for f in works if not f.by_group)
        return dict.fromkeys(works, 0.5)

    monkeypatch.setattr(candidates, "measure", measure)
    problems = dict(fit.random_problems(seed=1, count=6))
    rows = list(candidates.collect(problems.items(), seconds=0, within=1))
    rows = [json.loads(json.dumps(row)) for row in rows]
    assert list(map(candidates.read, rows)) == asked
    for row, (slot, problem, formulation) in zip(rows, asked, strict=True):
        assert isinstance(formulation, Formulation)
        assert not is_turned(slot, problem)
        work = formulations(slot, problem)[formulation]
        assert candidates.features_of(row) == features(slot, problem, work)
    assert {row["layer"] for row in rows} == set(problems)
    assert {slot for slot, _, _ in asked} == set(Map)
