"""The benchmarks: their arithmetic, their tables and their layers. Nothing is timed."""

import dataclasses
import json
import math
from functools import partial

import jax
import numpy as np
import pytest

import benchmarks.__main__
import jconvt
import jconvt.streaming
from benchmarks import linearity, networks, racing, report, streaming
from benchmarks.contenders import CONTENDERS, LOWERING_CONTENDERS, Unsupported
from benchmarks.layers import Layer, zoo
from benchmarks.networks import descriptions
from benchmarks.options import Options
from jconvt._shell import timing
from jconvt._shell.timing import race

TIMES = {
    "one": {"torch": 0.002, "jconvt": 0.001, "flax": 0.004},
    "two": {"torch": 0.004, "jconvt": 0.008},
    "three": {"jconvt": 0.001},
}

SMALL = Layer(
    name="small",
    batch=2,
    in_channels=4,
    out_channels=6,
    spatial=(5, 3),
    kernel_size=(3, 4),
    stride=(2, 3),
    padding=(1, 0),
    output_padding=(1, 0),
    groups=1,
    dilation=(1, 1),
    source="made up",
)

TINY_NETWORKS = [
    descriptions.dcgan(batch=2, latent=6, width=2),
    descriptions.unet(batch=1, channels=8, size=2, ups=2),
    descriptions.unet3d(batch=1, channels=4, size=1, ups=2),
    descriptions.hifigan(batch=1, channels=16, frames=3),
]


# Tables -------------------------------------------------------------------------------


def test_geometric_mean():
    assert report.geometric_mean([0.5, 2.0, 8.0]) == pytest.approx(2.0)
    assert math.isnan(report.geometric_mean([]))


def test_ratios_are_over_the_base_of_the_row():
    found = report.ratios(TIMES, "torch")
    assert found == {
        "one": {"jconvt": 0.5, "flax": 2.0},
        "two": {"jconvt": 2.0},
        "three": {},
    }


def test_race_table():
    assert report.race_table(TIMES, "torch").splitlines() == [
        "| layer | torch (ms) | jconvt | flax |",
        "| --- | ---: | ---: | ---: |",
        "| one | 2.00 | 0.50 | 2.00 |",
        "| two | 4.00 | 2.00 |  |",
        "| three |  |  |  |",
        "| **geometric mean** |  | 1.00 | 2.00 |",
        "| lowest |  | 0.50 | 2.00 |",
        "| highest |  | 2.00 | 2.00 |",
    ]


def test_columns_of_words_are_not_aligned_like_numbers():
    rows = [["one", "4 fprop", "", "1.5 (one)", "`a`"], ["two", "dgrad", "2", "-", ""]]
    made = report.markdown(["layer", "call", "n", "worst", "by"], rows)
    assert made.splitlines() == [
        "| layer | call | n | worst | by |",
        "| --- | --- | ---: | ---: | --- |",
        "| one | 4 fprop |  | 1.5 (one) | `a` |",
        "| two | dgrad | 2 | - |  |",
    ]
    assert report.markdown(["layer", "n"], []).splitlines()[1] == "| --- | ---: |"


def test_versus_counts_the_rows_that_both_have():
    assert report.versus(TIMES, "jconvt").splitlines() == [
        "| jconvt over | rows | **geometric mean** | lowest | highest |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| torch | 2 | 1.00 | 0.50 | 2.00 |",
        "| flax | 1 | 0.25 | 0.25 | 0.25 |",
    ]


def test_a_result_is_written_with_its_environment(tmp_path):
    pytest.importorskip("matplotlib")
    result = racing.as_result(TIMES, train=False, options=Options())
    files = result.write(tmp_path)
    assert [file.name for file in files] == [
        f"forward-float32.{ending}" for ending in ("md", "json", "svg")
    ]
    text, data = files[0].read_text(), json.loads(files[1].read_text())
    assert report.race_table(TIMES, "torch") in text
    assert report.versus(TIMES, "jconvt") in text
    assert data["seconds"] == TIMES
    assert {"date", "device", "jax", "jconvt"} <= set(data["environment"])
    assert f"jconvt {jconvt.__version__}" in text
    assert files[2].read_text().lstrip().startswith("<?xml")


def test_a_long_run_is_a_turn_by_itself(monkeypatch):
    """And a short one is repeated, after runs for nothing."""
    for seconds, plan in ((1.0, (0, 1)), (timing.TURN / 8, (5, 8))):
        monkeypatch.setattr(timing, "_turn", lambda *_, s=seconds: s)
        assert timing._plan(lambda: None) == plan


def test_the_first_contender_stands_in_for_a_base_that_did_not_run():
    result = racing.as_result(TIMES, train=True, options=Options(base="keras"))
    assert "| layer | torch (ms) |" in result.table


def test_slope_of_a_linear_time_is_0_and_of_a_square_1():
    layers = [dataclasses.replace(SMALL, batch=batch) for batch in (1, 2, 4)]
    times = {layer: {False: layer.batch, True: layer.batch**2} for layer in layers}
    assert linearity.slope(times, train=False) == pytest.approx(0)
    assert linearity.slope(times, train=True) == pytest.approx(1)


def test_race_runs_every_contender_in_turn():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = race(runs, seconds=0, rounds=3)
    assert set(times) == {"a", "b"}
    assert min(times.values()) > 0
    assert calls[-1] == "b"
    assert calls.count("a") > 3


# Layers -------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", zoo(), ids=lambda layer: layer.name)
def test_a_layer_of_the_zoo_has_the_shape_it_says(layer):
    shape = jconvt.output_shape(layer.input_shape, layer.weight_shape, **layer.options)
    assert layer.output_shape == shape
    assert layer.source


def test_the_zoo_has_each_name_once():
    names = [layer.name for layer in zoo()]
    assert len(names) == len(set(names)) > 20
    assert set(racing.QUICK.rows) <= set(names)
    assert set(racing.QUICK.contenders) <= set(CONTENDERS)


@pytest.mark.parametrize("train", [False, True], ids=["forward", "train"])
@pytest.mark.parametrize("name", CONTENDERS | LOWERING_CONTENDERS)
def test_a_contender_computes_the_layer(name, train):
    contender = (CONTENDERS | LOWERING_CONTENDERS)[name]
    for package in contender.packages:
        pytest.importorskip(package)
    reference = CONTENDERS["native"].prepare(SMALL, "float32", train).result()
    assert reference.shape == (SMALL.input_shape if train else SMALL.output_shape)
    try:
        found = contender.prepare(SMALL, "float32", train).result()
    except Unsupported:
        pytest.skip("it cannot express this layer")
    allowed = racing.tolerance(SMALL, "float32")
    assert racing.difference(found, reference, allowed) == ""


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([1.0, 2.0], ""),
        ([1.0, 2.02], ""),
        ([1.0, 2.1], "off by 0.1"),
        ([1.0, math.nan], "off by nan"),
        ([1.0], "shape (1,) in place of (2,)"),
    ],
)
def test_a_difference_is_noticed(found, message):
    noticed = racing.difference(np.array(found), np.array([1.0, 2.0]), tolerance=0.02)
    assert message in noticed
    assert bool(message) == bool(noticed)


def test_integers_are_exact_and_have_no_gradients():
    assert racing.tolerance(SMALL, "int8") == 0
    with pytest.raises(Unsupported):
        CONTENDERS["jconvt"].prepare(SMALL, "int8", True)
    results = [
        CONTENDERS[name].prepare(SMALL, "int8", False).result()
        for name in ("jconvt", "jconvt NHWC", "native")
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


# Networks -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("network", TINY_NETWORKS, ids=lambda network: network.name)
def test_the_builds_of_a_network_agree(network):
    made = networks.builds(network)
    assert made["jconvt"].output().shape == network.output_shape
    networks.check(network, made)
    for build in made.values():
        build.forward()
        before = build.output()
        build.step()
        assert np.any(build.output() != before)  # it learns
    if "torch" not in made:
        pytest.skip("Flax's builds agree; torch is not installed to compare with")


def test_builds_that_differ_are_refused():
    network = TINY_NETWORKS[0]
    build = networks.builds(network)["flax"]
    off = dataclasses.replace(build, output=lambda: build.output() * 1.01)
    with pytest.raises(AssertionError, match="output of off: off by"):
        networks.check(network, {"flax": build, "off": off})
    turned = [-gradient for gradient in build.gradients()]
    wrong = dataclasses.replace(build, gradients=lambda: turned)
    with pytest.raises(AssertionError, match="gradient 0 of wrong: off by"):
        networks.check(network, {"flax": build, "wrong": wrong})


def test_the_tolerance_of_a_gradient():
    """Against a sum in another order, whose terms all but cancel.

    That is the gradient of the last bias: one number, the sum over all positions.
    """
    network = TINY_NETWORKS[3]
    positions = math.prod(network.output_shape)
    terms = np.random.default_rng(0).normal(size=positions).astype("f") / positions
    terms -= terms.mean() - np.float32(1e-4) * np.abs(terms).mean()
    exact = math.fsum(map(float, terms))
    one, other = np.cumsum(terms)[-1], np.cumsum(terms[::-1])[-1]
    allowed = networks.gradient_tolerance(network) * np.abs(terms).sum()
    assert abs(exact) < 2e-4 * np.abs(terms).sum()
    assert max(abs(one - exact), abs(other - exact)) > 112 * 2**-23 * abs(exact)
    assert abs(float(one) - float(other)) <= allowed
    # The terms on the way to an output and back, and the root of 768 positions.
    assert (network.terms, positions) == (112, 768)
    expected = (224 + 768**0.5) * 2**-23
    assert networks.gradient_tolerance(network) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "inputs", "output"),
    [
        ("dcgan", 1, (16, 3, 64, 64)),
        ("unet", 5, (2, 32, 128, 128)),
        ("hifigan", 1, (1, 1, 64 * 256)),
        ("unet3d", 4, (1, 16, 32, 32, 32)),
    ],
)
def test_the_networks_that_are_raced(name, inputs, output):
    network = descriptions.networks()[name]
    assert len(network.inputs) == inputs
    assert network.output_shape == output


# Streams ------------------------------------------------------------------------------

TINY_STREAMS = {
    "sound": streaming.Streamed(
        in_channels=2,
        out_channels=3,
        kernel_size=(4,),
        stride=(2,),
        padding=("CAUSAL",),
        elements=128,
        source="made up",
    ),
    "video": streaming.Streamed(
        in_channels=2,
        out_channels=4,
        kernel_size=(2, 3, 3),
        stride=(1, 2, 2),
        padding=(0, "SAME", 1),
        groups=2,
        space=(2, 3),
        elements=128,
        source="made up",
    ),
}


def test_a_step_and_its_share():
    """Of a signal of 128 elements in 6.4 s, an element's share is 0.05 s."""
    sound = TINY_STREAMS["sound"]
    found = {"whole": 6.4, "1": 0.5, "2": 0.2, "4": 0.2, "8": 0.4, "16": 0.8, "32": 2.4}
    expected = {1: 10, 2: 2, 4: 1, 8: 1, 16: 1, 32: 1.5}
    assert streaming.shares(found, sound) == pytest.approx(expected)
    late = {"alone": 1.0, "early": 2.0, "late": 3.0, "scanned": 3.2}
    result = streaming.as_result({"sound": found | late}, {"sound": sound})
    assert "here it takes at most 1.50 times" in result.note
    lines = result.table.splitlines()
    assert "| sound | 6400.00 | 10.00 | 2.00 | 1.00 | 1.00 | 1.00 | 1.50 |" in lines
    assert lines[-1] == "| sound | 1 | 1000.00 | 2000.00 | 3000.00 | 1.50 | 0.50 |"


@pytest.mark.parametrize(("most", "states"), [(None, [0, 1, 2, 3, 4]), (2, [0, 1] * 2)])
def test_a_stream_goes_on_or_begins_again(most, states):
    seen = []

    def step(state, chunk):
        assert chunk == "chunk"
        seen.append(state)
        return state + 1, None

    run = streaming.stepping(step, 0, ("chunk",), most)
    for _ in states:
        run()
    assert seen == states


@pytest.mark.parametrize("layer", TINY_STREAMS.values(), ids=TINY_STREAMS)
def test_a_scan_takes_every_step(layer):
    x, w, b = layer.arrays()
    step = partial(jconvt.streaming.step, **layer.options)
    begin = jconvt.streaming.init(w.shape, batch=1, space=layer.space, **layer.options)
    state, chunks = streaming.scanning(step, begin, (x, w, b), 4)()
    after, whole = step(begin, x, w, b)
    pieces = np.concatenate(np.asarray(chunks), axis=2)
    np.testing.assert_allclose(pieces, whole, atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), state, after)


def test_streams_are_raced(monkeypatch):
    monkeypatch.setattr(streaming, "LAYERS", TINY_STREAMS)
    monkeypatch.setattr(streaming, "LATE", 2)
    (result,) = streaming.results(Options(seconds=0, rounds=1))
    lengths = [str(2**n) for n in range(6)]
    for times in result.data["seconds"].values():
        others = ["alone", "early", "late", "scanned"]
        assert list(times) == ["whole", *lengths, *others]
    assert list(result.data["seconds"]) == list(TINY_STREAMS)


@pytest.mark.parametrize("layer", streaming.LAYERS.values(), ids=streaming.LAYERS)
def test_the_layers_that_are_streamed(layer):
    """Their options fit their shapes, and a chunk's outputs add up to the whole's."""
    shape = (1, layer.in_channels, layer.elements, *layer.space)
    weight = (layer.in_channels, layer.out_channels // layer.groups, *layer.kernel_size)
    outputs = jconvt.output_shape(shape, weight, **layer.options)
    assert outputs[2] == layer.elements * layer.stride[0]
    assert layer.chunks[-1] * 4 == layer.elements
    assert layer.chunks[-1] >= streaming.PROMISED_FROM
    assert layer.usual in layer.chunks


# The command line ---------------------------------------------------------------------


def test_help(capsys):
    with pytest.raises(SystemExit) as exit:
        benchmarks.__main__.main(["--help"])
    assert exit.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"--{name}" in printed for name in benchmarks.__main__.TABLES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--rows abacus", "--rows: 'abacus' is none of dcgan-head, dcgan-mid"),
        ("--networks --rows dcgan-up", "'dcgan-up' is none of dcgan, unet"),
        ("--contenders abacus", "--contenders: 'abacus' is none of jconvt"),
        ("--base abacus", "--base: 'abacus' is none of jconvt, jconvt NHWC, torch"),
        ("--accuracy --contenders keras", "'keras' is none of native, torch"),
        ("--dtype float8", "argument --dtype: invalid choice"),
        ("--linearity --rows dcgan-up", "--rows has no meaning for --linearity"),
        ("--networks --dtype float64", "--dtype has no meaning for --networks"),
        ("--streaming --rows dcgan-up", "'dcgan-up' is none of encodec-1, hifigan-3"),
        ("--networks --linearity", "not allowed with argument"),
    ],
)
def test_an_error_is_one_clear_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as exit:
        benchmarks.__main__.main(arguments.split())
    assert exit.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_what_is_not_installed_is_named_and_left_out(capsys, monkeypatch):
    absent = dataclasses.replace(CONTENDERS["keras"], packages=("no_such_package",))
    monkeypatch.setitem(CONTENDERS, "keras", absent)
    assert list(racing.entrants(Options(contenders=("native", "keras")))) == ["native"]
    assert "not installed: no_such_package" in capsys.readouterr().err


def test_lowerings_race_where_they_are_asked_for():
    asked = [
        Options(contenders=("native",)),
        Options(contenders=("native",), lowerings=True),
        Options(contenders=("native", "jconvt:phases")),
    ]
    assert [list(racing.entrants(options)) for options in asked] == [
        ["native"],
        ["native", *LOWERING_CONTENDERS],
        ["native", "jconvt:phases"],
    ]
