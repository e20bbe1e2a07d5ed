"""`python -m jconvt tune`: one layer, measured by a clock that is told the times."""

import json

import pytest

import jconvt
from jconvt.__main__ import main
from tuning import Clock, install

WORDS = ("tune", "2,3,5", "3,2,3", "--stride", "2")
PICK = "gather/features last"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    return install(monkeypatch, Clock(**{PICK: 0.5, "tuned": 0.9}))


def tune(capsys, *words, status=0):
    assert main((*WORDS, *words)) == status
    return capsys.readouterr()


def test_it_ends_with_the_line_to_paste(capsys):
    text = tune(capsys).out
    assert "layer 1: (2, 3, 5) with weight (3, 2, 3), stride (2,), float32" in text
    last = text.splitlines()[-1].removeprefix("lowering=")
    mine = jconvt.Lowerings(forward=PICK, input_gradient=PICK, weight_gradient=PICK)
    assert eval(last, {"jconvt": jconvt}) == mine


def test_json_and_a_file(capsys, tmp_path):
    path = tmp_path / "layer.json"
    text = tune(capsys, "--json", "--out", str(path), "--dtype", "bfloat16").out
    found = jconvt.TuneReport.from_json(json.loads(text))
    assert found == jconvt.TuneReport.load(path)
    assert {row.layer.split(", ")[-1] for row in found.maps} == {"bfloat16"}


def test_a_layout(capsys):
    words = ("2,5,3", "3,2,3", "--data-format", "NWC", "--json")
    assert main(("tune", *words)) == 0
    found = json.loads(capsys.readouterr().out)
    assert "layout" in found["maps"][0]["layer"]


def test_a_file_that_cannot_be_written_is_refused_before_measuring(capsys, clock):
    found = tune(capsys, "--out", "no/such/folder/layer.json", status=2)
    assert found.err.startswith("jconvt: tune: `out` must be a file in a folder that")
    assert clock.races == []
