"""The benchmark of `tune`: what is compared, and its tables. Nothing is timed."""

from types import SimpleNamespace

import jconvt
from benchmarks import tuning
from benchmarks.cliffs.draw import draw
from jconvt._call.problem import Map
from jconvt._choice.choose import choose, pinned

LINE = {
    "layer": vars(draw(1, 2).layer),
    "channels_last": draw(1, 2).channels_last,
}


def test_rows_are_networks_and_the_slowest_layers():
    rows = tuning.rows()
    modes = [mode for mode, _ in rows.values()]
    assert modes.count("networks") == len(tuning.networks())
    assert 0 < modes.count("layers") <= tuning.SLOWEST


def test_a_layer_is_measured_again(monkeypatch):
    problem = tuning.problem_of_layer(tuning.layer_of(LINE), not LINE["channels_last"])
    automatic = choose(Map.OUTPUT, "cpu", problem)
    picked = pinned(Map.OUTPUT, "lhs_dilation", problem)
    seen = []

    def tune(function, *arrays, seconds):
        seen.append((function(*arrays).shape, seconds))
        rows = [SimpleNamespace(map="forward", runs="lhs_dilation")]
        return SimpleNamespace(report=SimpleNamespace(maps=rows, spent_seconds=9.0))

    monkeypatch.setattr(
        tuning,
        "jconvt",
        SimpleNamespace(tune=tune, conv_transpose=jconvt.conv_transpose),
    )
    monkeypatch.setattr(tuning, "measure", lambda *_: {picked: 3.0, automatic: 2.0})
    assert automatic != picked
    assert tuning.of_layer(LINE, 7.0) == {
        "tuning": 9.0,
        "forward": 1.5,
        "forward, automatic": 1.0,
    }
    assert [seconds for _, seconds in seen] == [7.0]
    monkeypatch.setattr(tuning, "measure", lambda *_: {automatic: 2.0})
    assert tuning.of_layer(LINE, 7.0) == {"tuning": 9.0}


def test_the_tables():
    result = tuning.as_result(
        {"net": {"automatic": 0.5, "tuned": 0.25, "layers": 8.0, "tuning": 61.2}},
        {"1-2": {"tuning": 20.0, "forward": 1.25, "forward, automatic": 2.0}},
        12.0,
    )
    assert "after tuning for 12 s" in result.note
    lines = result.table.splitlines()
    assert "| net | 8 | 61 | 500.00 | 0.50 |" in lines
    assert "| 1-2 | 1.25 | 2.00 |" in lines
