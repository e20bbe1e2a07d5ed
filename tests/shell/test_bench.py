"""`python -m jconvt bench`: who races, that all compute the same, what is printed."""

import dataclasses
import json

import jax
import pytest

import jconvt
from jconvt.__main__ import main
from jconvt._lowerings.table import LOWERINGS

WORDS = ("bench", "2,3,5", "3,2,3", "--stride", "2", "--seconds", "1e-9")
MAPS = ("forward", "input gradient", "weight gradient")
RACES = (*MAPS, "forward and gradients")


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


LOSSES = {"phases": (1.0, 9.0, 9.0), "gather": (9.0, 1.0, 9.0), "auto": (2.0, 1.05, 1)}
"""Contender -> the seconds that it is said to need for each map."""


@pytest.fixture
def three_winners(monkeypatch):
    """A race has a winner for each map; auto is one, or nearly."""
    maps = iter(range(len(RACES)))

    def race(runs, *, seconds):
        at = next(maps) % len(MAPS)
        return {name: LOSSES.get(name, (5.0,) * 3)[at] for name in runs}

    monkeypatch.setattr("jconvt._shell.race.race", race)


@pytest.mark.usefixtures("three_winners")
def test_the_last_line_is_to_be_pasted(capsys):
    """Auto stays where it is nearly the fastest, and JAX's own form is no lowering."""
    line = bench(capsys).splitlines()[-1]
    assert line == "lowering=jconvt.Lowerings(forward='phases')"
    lowering = eval(line.removeprefix("lowering="), {"jconvt": jconvt})
    explained = jconvt.explain((2, 3, 5), (3, 2, 3), stride=2, lowering=lowering)
    assert explained.forward == "phases"


@pytest.mark.usefixtures("three_winners")
def test_the_winners_without_auto(capsys):
    found = json.loads(bench(capsys, "--contenders", "phases,native,gather", "--json"))
    assert jconvt.Lowerings.from_json(found["lowering"]) == jconvt.Lowerings(
        forward="phases", input_gradient="gather", weight_gradient="phases"
    )


@pytest.mark.usefixtures("three_winners")
def test_without_a_lowering_in_the_race_all_stay_automatic(capsys):
    text = bench(capsys, "--contenders", "native")
    assert text.endswith("\nlowering=jconvt.Lowerings()\n")


def test_one_more_contender(capsys):
    given = "forward=gather/features first, weight-gradient=phases"
    words = ("--contenders", "auto,native", "--json", "--lowering", given)
    found = json.loads(bench(capsys, *words))
    assert found["disagree"] == []
    for what in RACES:
        assert list(found["seconds"][what]) == ["auto", "native", "--lowering"]


@pytest.mark.parametrize("which", MAPS)
def test_each_race_runs_one_map(capsys, monkeypatch, which):
    """A wrong map disagrees in its own race and in that of all."""
    row = LOWERINGS["phases"]

    def lower(x, w, call, variant, made):
        return row.lower(x, w, call, variant, made) * (1.001 if made == which else 1)

    monkeypatch.setitem(LOWERINGS, "phases", dataclasses.replace(row, lower=lower))
    words = ("--contenders", "auto,phases", "--json")
    found = json.loads(bench(capsys, *words, status=1))
    racing = {what: list(found["seconds"][what]) for what in RACES}
    both = ["auto", "phases"]
    assert racing == dict.fromkeys(RACES, both) | {
        which: ["auto"],
        "forward and gradients": ["auto"],
    }


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
        ("--lowering matmul", "`lowering`='matmul' cannot serve this geometry"),
        ("--lowering forward=abacus", "`lowering.forward` must be one of auto, "),
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
