"""`python -m jconvt bench`: who races, that all compute the same, what is printed."""

import dataclasses
import json

import jax
import pytest

import jconvt
from jconvt.__main__ import main
from jconvt._lowerings.table import LOWERINGS

WORDS = ("bench", "2,3,5", "3,2,3", "--stride", "2", "--seconds", "1e-9")
RACES = ("forward", "forward and gradients")


@pytest.fixture(autouse=True)
def nothing_is_timed(monkeypatch):
    """Each contender has run once before, which is enough here."""

    def race(runs, *, seconds):
        assert seconds == 1e-9
        return {name: 1.0 + i for i, name in enumerate(runs)}

    monkeypatch.setattr("jconvt._shell.race.race", race)


def bench(capsys, *words, status=0):
    assert main((*WORDS, *words)) == status
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_all_that_can_serve_race(capsys):
    found = json.loads(bench(capsys, "--json"))
    refused = [
        n
        for n in LOWERINGS
        if any(note.startswith(f"{n} is") for note in found["notes"])
    ]
    explained = jconvt.explain((2, 3, 5), (3, 2, 3), stride=2).candidates
    assert refused == [c.lowering for c in explained if c.refusal is not None]
    assert "matmul" in refused
    racing = ["auto", *(n for n in LOWERINGS if n not in refused), "native"]
    for what in RACES:
        assert list(found["seconds"][what]) == racing
    assert found["disagree"] == []


def test_the_tables(capsys):
    text = bench(capsys, "--contenders", "auto,phases,native")
    assert text.startswith("(2, 3, 5) with weight (3, 2, 3) -> (2, 2, 11), float32\n")
    assert "\nmedians of at least 5 turns in 1e-09 s, contenders in turn" in text
    assert (
        "\n\nforward        ms  / auto\n"
        "auto     1000.000    1.00\n"
        "phases   2000.000    2.00\n"
        "native   3000.000    3.00\n\n"
    ) in text
    assert "\n\nauto is " in text


def test_who_computes_something_else_is_not_timed(capsys, monkeypatch):
    row = LOWERINGS["phases"]

    def lower(*arguments):
        return row.lower(*arguments) * 1.001

    monkeypatch.setitem(LOWERINGS, "phases", dataclasses.replace(row, lower=lower))
    words = ("--contenders", "auto,phases,native", "--json")
    found = json.loads(bench(capsys, *words, status=1))
    assert found["disagree"] == ["phases"]
    assert "phases is not timed forward: its results differ." in found["notes"]
    assert list(found["seconds"]["forward"]) == ["auto", "native"]


@pytest.mark.parametrize(
    "words",
    [
        ("--dtype", "bfloat16"),
        ("--data-format", "NWC"),
        ("--padding", "4", "--groups", "1"),
        ("--padding", "CIRCULAR"),
    ],
    ids=" ".join,
)
def test_layers_of_all_kinds(capsys, words):
    shapes = ("bench", "2,5,4", "4,2,3")
    if words[0] != "--data-format":
        shapes = ("bench", "2,4,5", "4,2,3")
    words = (*shapes, "--stride", "2", "--seconds", "1e-9", *words, "--json")
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["disagree"] == []
    reasons = {"CIRCULAR": "no periodic borders", "4": "a negative padding"}
    why = next((r for w, r in reasons.items() if w in words[6:]), None)
    assert ("native" in found["seconds"]["forward"]) == (why is None)
    assert why is None or any(why in note for note in found["notes"])


def test_who_does_not_run_is_told_and_left_out(capsys, monkeypatch):
    """No memory, for one: the others race on."""

    def lower(*arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no memory\nat all")

    row = dataclasses.replace(LOWERINGS["phases"], lower=lower)
    monkeypatch.setitem(LOWERINGS, "phases", row)
    found = json.loads(bench(capsys, "--contenders", "auto,phases", "--json"))
    for what in RACES:
        note = f"phases did not run {what}: RESOURCE_EXHAUSTED: no memory"
        assert note in found["notes"]
        assert list(found["seconds"][what]) == ["auto"]


def test_integers_have_no_gradients(capsys):
    found = json.loads(bench(capsys, "--dtype", "int32", "--json"))
    assert list(found["seconds"]) == ["forward"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--contenders auto,abacus", "`contenders` must be of auto, lhs_dilation, "),
        ("--contenders matmul", "`lowering`='matmul' cannot serve this geometry"),
        ("--dtype abacus", "bench: `dtype` must be a dtype; got 'abacus'."),
        ("--dtype float64", "`dtype` float64 needs JAX_ENABLE_X64=1 to be set."),
        ("--seconds 0", "--seconds: must be seconds, more than 0 and less than an h"),
        ("--seconds soon", "--seconds: must be seconds, more than 0 and less than"),
    ],
)
def test_what_is_refused(capsys, words, message):
    try:
        status = main((*WORDS, *words.split()))
    except SystemExit as exit:
        status = exit.code
    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert message in captured.err
    assert captured.err.count("\n") == 1
