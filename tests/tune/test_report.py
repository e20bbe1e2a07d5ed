"""`TuneReport`: as text, for Rich, as JSON, as a file; reused, stale, refused."""

import dataclasses
import io
import json
import re

import jax
import jax.numpy as jnp
import pytest

import jconvt
from tuning import MAPS, Clock, install, lowerings_in

PICK = "gather/features last"
X, W = jnp.ones((2, 3, 5)), jnp.ones((3, 3, 3))


def up(x, w):
    return jconvt.conv_transpose1d(x, w, padding=1)


@pytest.fixture
def clock(monkeypatch):
    return install(monkeypatch, Clock(**{PICK: 0.5, "tuned": 0.9}))


@pytest.fixture
def report(clock):
    found = jconvt.tune(up, X, W, seconds=1000).report
    clock.races.clear()
    return found


def test_what_it_holds(report):
    assert report.device_kind == jax.devices()[0].device_kind
    assert report.jax_version == jax.__version__
    assert report.spent_seconds > 0
    assert (report.automatic_seconds, report.tuned_seconds) == (1.0, 0.9)
    layer = "(2, 3, 5) with weight (3, 3, 3), crop ((1, 1),), float32"
    explained = jconvt.explain(X.shape, W.shape, padding=1, platform="cpu")
    automatic = dict(
        zip(
            MAPS,
            (explained.forward, explained.input_gradient, explained.weight_gradient),
            strict=True,
        )
    )
    for row in report.maps:
        assert row.layer == layer
        assert row.automatic.split("/")[0] == automatic[row.map]
        assert (row.automatic_seconds, row.fastest_seconds) == (1.0, 0.5)
        assert (row.tried, row.candidates) == (3, 3)
    mine = jconvt.Lowerings(forward=PICK, input_gradient=PICK, weight_gradient=PICK)
    assert report.lowerings() == {layer: mine}


def test_layers_that_differ_never_read_alike(clock):
    def many(x, w):
        last = jnp.moveaxis(x, 1, 2)
        options = [
            {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"padding": "CIRCULAR"},
            {"precision": "highest"}, {"precision": ("highest", "high")},
            {"preferred_element_type": jnp.float32},
        ]  # fmt: skip
        found = [jconvt.conv_transpose(x, w, **named) for named in options]
        found.append(jconvt.conv_transpose(x, w[:, :1], groups=3))
        found.append(jconvt.conv_transpose1d(last, w, data_format="NWC"))
        found.append(
            jconvt.conv_transpose(x.astype(jnp.float32), w.astype(jnp.float32))
        )
        found.append(jconvt.conv_transpose(x, w))
        return found

    narrow = (X.astype(jnp.bfloat16), W.astype(jnp.bfloat16))
    found = jconvt.tune(many, *narrow, seconds=1e-9, derivatives=False).report
    assert len({row.layer for row in found.maps}) == len(found.maps) == 11


def test_as_text(report):
    layer = "layer 1: (2, 3, 5) with weight (3, 3, 3), crop ((1, 1),), float32"
    head = f"measured on {report.device_kind} with jax {jax.__version__}\n\n{layer}\n\n"
    text = str(report)
    assert text.startswith(head + "layer  map ")
    assert re.search(rf"1  forward  .* 1000.000  {PICK}  +500.000   50%", text)
    assert text.endswith("1000.000 ms automatic, 900.000 ms tuned (10% less)")


def test_for_rich(report):
    rich = pytest.importorskip("rich.console")
    console = rich.Console(file=io.StringIO(), width=200)
    console.print(report)
    text = console.file.getvalue()
    assert "layer 1: (2, 3, 5)" in text
    assert "(10% less)" in text
    for row in report.maps:
        assert row.map in text
        assert row.automatic in text


def test_there_and_back(report, tmp_path):
    text = json.dumps(report.to_json())
    assert jconvt.TuneReport.from_json(json.loads(text)) == report
    path = tmp_path / "tuned.json"
    report.save(path)
    assert jconvt.TuneReport.load(str(path)) == report


# Reused -------------------------------------------------------------------------------


def test_nothing_is_timed_twice(report, clock):
    tuned = jconvt.tune(up, X, W, report=report)
    assert clock.races == []
    assert tuned.report.maps == report.maps
    assert tuned.report.automatic_seconds == report.automatic_seconds
    assert lowerings_in(tuned, X, W) == lowerings_in(
        jconvt.tune(up, X, W, seconds=1000), X, W
    )


def test_only_new_layers_are_timed(report, clock):
    def two(x, w):
        return jconvt.conv_transpose1d(up(x, w), w, stride=2)

    tuned = jconvt.tune(two, X, W, report=report, seconds=1000)
    assert len(tuned.report.maps) == 6
    assert clock.races.count(("auto",)) == 3 + 2  # of maps, and of programs of several
    assert {row.runs for row in tuned.report.maps} == {PICK}


def test_the_counts_are_those_of_the_function(report):
    found = jconvt.tune(lambda x, w: up(up(x, w), w), X, W, report=report).report
    assert [row.count for row in found.maps] == [2, 0, 0]
    assert [row.count for row in report.maps] == [1, 0, 0]


@pytest.mark.parametrize("entry", ["no such", "matmul", "gather/no such"])
def test_an_entry_that_cannot_run_here_is_measured_anew(report, clock, entry):
    first = dataclasses.replace(report.maps[0], runs=entry)
    old = dataclasses.replace(report, maps=(first, *report.maps[1:]))
    tuned = jconvt.tune(up, X, W, report=old, seconds=1000)
    assert clock.races
    assert tuned.report.maps == report.maps


@pytest.mark.parametrize("name", ["device_kind", "jax_version"])
def test_a_stale_report_is_said_to_be_stale(report, clock, name):
    old = dataclasses.replace(report, **{name: "another"})
    with pytest.warns(UserWarning, match=r"`report` is stale: .*another") as caught:
        tuned = jconvt.tune(up, X, W, report=old, seconds=1000)
    assert caught[0].filename == __file__
    assert clock.races
    assert getattr(tuned.report, name) == getattr(report, name)


# Refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "error", "message"),
    [
        (
            {"function": 3},
            TypeError,
            "tune: `function` must be callable; got 3 of type",
        ),
        ({"seconds": "1"}, TypeError, "tune: `seconds` must be a number; got '1'"),
        ({"seconds": True}, TypeError, "tune: `seconds` must be a number; got True"),
        ({"seconds": 0}, ValueError, "tune: `seconds` must be more than 0; got 0"),
        ({"seconds": float("nan")}, ValueError, "must be more than 0; got nan"),
        ({"derivatives": 1}, TypeError, "tune: `derivatives` must be a bool; got 1"),
        ({"report": "r.json"}, TypeError, "TuneReport.load reads a file"),
    ],
)
def test_errors(named, error, message):
    function = named.pop("function", up)
    with pytest.raises(error, match=re.escape(message)):
        jconvt.tune(function, X, W, **named)


def test_it_is_not_called_while_jax_traces():
    with pytest.raises(ValueError, match="tune: `arguments` must be arrays"):
        jax.jit(lambda x: jconvt.tune(up, x, W)(x, W))(X)


def test_static_arguments_are_hashable():
    with pytest.raises(TypeError, match=r"must be hashable; got \{1\}"):
        jconvt.tune(lambda x, w, _: up(x, w), X, W, {1})


def test_an_error_of_the_function_is_its_own():
    with pytest.raises(ZeroDivisionError):
        jconvt.tune(lambda x: 1 / 0, X)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (3, TypeError, "`report` must be a dict, such as to_json gives; got 3"),
        ({}, ValueError, "missing or unknown: automatic_seconds, device_kind"),
    ],
)
def test_what_is_no_report(given, error, message):
    with pytest.raises(error, match=f"TuneReport.from_json: .*{message}"):
        jconvt.TuneReport.from_json(given)


def test_what_is_no_row_of_a_report(report):
    given = report.to_json()
    given["maps"][0]["more"] = 1
    with pytest.raises(ValueError, match="missing or unknown: more"):
        jconvt.TuneReport.from_json(given)


def test_a_file_that_is_no_report(tmp_path):
    path = tmp_path / "tuned.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"`path` must be a file that TuneReport.save"):
        jconvt.TuneReport.load(path)
