"""The race on a GPU, as it runs on a CPU: what races, its tables, and how it ends."""

import io
import json
import sys
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jconvt
from benchmarks import native
from benchmarks.cliffs.child import Child
from benchmarks.contenders import Prepared, jax_functions, jax_layers
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import contenders, layers, race, report, tuning, worker
from benchmarks.layers import Layer, zoo
from benchmarks.networks import descriptions, in_flax
from jconvt._shell import timing

SMALL = Layer(
    name="small",
    batch=2,
    in_channels=3,
    out_channels=4,
    spatial=(5, 4),
    kernel_size=(3, 4),
    stride=(2, 3),
    padding=(1, 0),
    output_padding=(1, 0),
    groups=1,
    dilation=(1, 1),
    source="made up",
)
GROUPED = Layer(
    name="grouped",
    batch=1,
    in_channels=4,
    out_channels=2,
    spatial=(6,),
    kernel_size=(3,),
    stride=(2,),
    padding=(3,),  # more than the kernel covers
    output_padding=(0,),
    groups=2,
    dilation=(1,),
    source="made up",
)
SETTINGS = race.Settings(layers={layer.name: layer for layer in (SMALL, GROUPED)})
NAMES = {
    f"gpu-my-gpu-8-gb-{mode}-{dtype}"
    for mode in ("forward", "train")
    for dtype in ("float32", "bfloat16")
}
DEVICE = "My GPU (8 GB)"
TINY = partial(descriptions.dcgan, batch=2, latent=6, width=2)
TORCH = {"torch", "torch NHWC"}
HERE = set(contenders.CONTENDERS) - (TORCH if find_spec("torch") is None else set())


@pytest.fixture(autouse=True)
def settings_of_libraries():
    """Each test leaves the precisions as they were."""
    precision = jax.config.jax_default_matmul_precision
    backends = []
    if find_spec("torch") is not None:
        import torch

        cudnn = torch.backends.cudnn
        backends = [(cudnn, "benchmark"), (cudnn.conv, "fp32_precision")]
        backends.append((torch.backends.cuda.matmul, "fp32_precision"))
    before = [getattr(*flag) for flag in backends]
    yield
    jax.config.update("jax_default_matmul_precision", precision)
    for flag, value in zip(backends, before, strict=True):
        setattr(*flag, value)


@pytest.fixture
def quick(monkeypatch):
    """One run for each turn of a race."""
    monkeypatch.setattr(timing, "TURN", 1e-9)


def answered(task):
    """What the worker answers, in this process."""
    events = io.StringIO()
    worker.answer(json.loads(json.dumps({**task, "without": []})), events)
    return json.loads(events.getvalue().splitlines()[-1])["done"]


def task(**changes):
    made = race.Settings(layers={"small": SMALL}, **changes)
    tasks = []

    def note(task):
        tasks.append(task)
        return {"seconds": {}, "lost": {}}

    list(race.tables(made, note))
    return tasks[0]


# The race -----------------------------------------------------------------------------


def test_a_race_on_the_cpu_writes_all_tables(tmp_path, quick):
    command.write(SETTINGS, answered, tmp_path, DEVICE)
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {f"{name}.{ending}" for name in NAMES for ending in ("md", "json")}
    for name in NAMES:
        data = json.loads((tmp_path / f"{name}.json").read_text())
        assert (data["missing"], data["lost"]) == ([], {})
        assert set(data["seconds"]["small"]) == HERE
        assert set(data["seconds"]["grouped"]) == HERE - {"flax", "torch NHWC"}
        assert min(min(row.values()) for row in data["seconds"].values()) > 0
        text = (tmp_path / f"{name}.md").read_text()
        assert DEVICE in text.splitlines()[0]
        assert "partial" not in text
        assert f"| layer | {data['base']} (ms) | jconvt |" in text
        assert "| jconvt over | rows |" in text
        assert ("highest" in text.splitlines()[2]) == ("float32" in name)


def test_a_race_that_is_cut_off_leaves_partial_tables(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(race, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def slow(task):
        assert task["budget"] == SETTINGS.seconds - now[0]
        now[0] += 100.0
        return {"seconds": {"jconvt": 1e-3, "native": 2e-3}, "lost": {}}

    found = command.write(SETTINGS, slow, tmp_path, DEVICE)
    assert [list(table.seconds) for table in found] == [
        ["small", "grouped"],
        ["small", "grouped"],
        ["small"],
        ["small"],
    ]
    whole, _, partial, _ = [report.as_result(t, SETTINGS, DEVICE) for t in found]
    assert partial.title == (
        "Forward, bfloat16, My GPU (8 GB) (partial: 1 of 2 layers)"
    )
    assert "partial" not in whole.title
    stored = json.loads((tmp_path / f"{partial.name}.json").read_text())
    assert stored["missing"] == ["grouped"]
    assert stored["base"] == "native"


def test_a_table_is_there_before_any_layer_is(tmp_path, monkeypatch):
    now = iter([0.0, 0.0, 541.0])
    monkeypatch.setattr(race, "time", SimpleNamespace(monotonic=lambda: next(now)))
    late = {"seconds": {"jconvt": 1.0}, "lost": {"native": "longer than 1 s"}}
    (first, *_) = command.write(SETTINGS, lambda task: late, tmp_path, DEVICE)
    result = report.as_result(first, SETTINGS, DEVICE)
    assert (first.seconds, first.lost) == ({}, {})
    assert "partial: 0 of 2 layers" in result.text()


def test_what_fails_or_differs_is_listed_and_the_others_race(monkeypatch, quick):
    def fails(layer, dtype, train):
        raise MemoryError("out of\nmemory")

    def differs(layer, dtype, train):
        made = contenders.CONTENDERS["jconvt"](layer, dtype, train)
        return Prepared(run=made.run, result=lambda: 1.1 * made.result())

    monkeypatch.setitem(contenders.CONTENDERS, "flax", fails)
    monkeypatch.setitem(contenders.CONTENDERS, "native", differs)
    found = answered(task())
    assert set(found["seconds"]) == HERE - {"flax", "native"}
    assert set(found["lost"]) == {"flax", "native"}
    assert "values off by" in found["lost"]["native"]
    table = race.Table(train=False, dtype="float32")
    table.seconds["small"], table.lost["small"] = found["seconds"], found["lost"]
    text = report.as_result(table, SETTINGS, DEVICE).text()
    assert "Without a time:" in text
    assert "- small, flax: MemoryError: out of memory" in text.splitlines()


def test_pytorch_without_the_device_does_not_race(monkeypatch, quick):
    monkeypatch.setattr(contenders, "torch_device", lambda: None)
    found = answered(task())
    assert set(found["seconds"]) == set(contenders.CONTENDERS) - TORCH
    assert found["lost"] == {}


def test_a_time_is_that_of_one_call(monkeypatch):
    monkeypatch.setattr(worker, "calls", lambda: 10)
    raced = SimpleNamespace(seconds={"jconvt": 0.5}, lost={})
    monkeypatch.setattr(worker, "race", lambda *_, **__: raced)
    assert answered(task())["seconds"] == {"jconvt": 0.05}


def test_a_run_queues_its_calls(monkeypatch):
    """All of them run: the compiled function calls back."""
    counted = []

    def forward(x, w, b):
        jax.debug.callback(lambda: counted.append(1), ordered=True)
        return x

    x = np.zeros((1, 1, 2, 2), np.float32)
    form = jax_functions.Form(forward=forward, operands=(x, x, x), cotangent=x)
    form.prepared(False, calls=3).run()
    jax.effects_barrier()
    assert len(counted) == 3


# Contenders ---------------------------------------------------------------------------

FORMS = {
    "jconvt": jax_functions.jconvt_first,
    "jconvt NHWC": jax_functions.jconvt_last,
    "native": jax_functions.native,
    "padded": jax_functions.padded,
    "flax": jax_layers.flax,
}


@pytest.mark.parametrize("precision", ["highest", "tf32"])
@pytest.mark.parametrize("name", FORMS)
def test_products_of_a_gpus_program_have_the_precision(name, precision):
    contenders.set_precision("float32", precision)
    function, arguments = FORMS[name](SMALL, "float32").task(train=True)
    traced = jax.jit(function).trace(*arguments)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    products = text.count("stablehlo.convolution") + text.count("stablehlo.dot_general")
    word = {"highest": "precision HIGHEST", "tf32": "precision HIGH>"}[precision]
    assert products >= 3
    assert text.count(word) == 2 * products


def test_bfloat16_has_the_default_precision():
    contenders.set_precision("float32", "highest")
    contenders.set_precision("bfloat16", "highest")
    assert jax.config.jax_default_matmul_precision is None


@pytest.mark.parametrize(
    ("precision", "in_torch"), [("highest", "ieee"), ("tf32", "tf32")]
)
def test_pytorch_has_the_same_precision(precision, in_torch):
    torch = pytest.importorskip("torch")
    contenders.set_precision("float32", precision)
    assert torch.backends.cudnn.conv.fp32_precision == in_torch
    assert torch.backends.cuda.matmul.fp32_precision == in_torch
    assert torch.backends.cudnn.benchmark


@pytest.mark.parametrize("layer", [SMALL, GROUPED], ids=lambda layer: layer.name)
def test_padded_dilates_by_lax_pad_alone(layer):
    forms = [f(layer, "float32") for f in (jax_functions.native, jax_functions.padded)]
    eqns = [jax.make_jaxpr(f.forward)(*f.operands).eqns for f in forms]
    convolutions = [
        next(e for e in found if e.primitive.name == "conv_general_dilated")
        for found in eqns
    ]
    dilations = [e.params["lhs_dilation"] for e in convolutions]
    assert dilations == [layer.stride, (1,) * layer.rank]
    pads = [[e for e in found if e.primitive.name == "pad"] for found in eqns]
    assert (len(pads[0]), len(pads[1])) == (0, 1)
    (pad,) = pads[1]
    inner = tuple(inner for *_, inner in pad.params["padding_config"])
    assert inner == (0, 0, *(s - 1 for s in layer.stride))
    one, other = (np.asarray(f.forward(*f.operands)) for f in forms)
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_both_forms_pad_alike():
    assert native.dilated_pads(SMALL) == [(1, 2), (3, 3)]


# Layers -------------------------------------------------------------------------------


def test_every_layer_of_the_zoo_races_with_a_larger_batch():
    found, batches = layers.layers(8), {layer.name: layer.batch for layer in zoo()}
    assert {name: layer.batch for name, layer in found.items()} == {
        name: 8 * batch for name, batch in batches.items()
    }
    assert tuple(found)[: len(layers.FIRST)] == layers.FIRST


@pytest.mark.parametrize(
    "layer", layers.layers(layers.LARGER).values(), ids=lambda layer: layer.name
)
def test_a_layer_fits_into_any_gpu(layer):
    """Its largest array is the input with its zeros, or the output."""
    inflated = [n * s for n, s in zip(layer.spatial, layer.stride, strict=True)]
    largest = max(
        layer.in_channels * np.prod(inflated, dtype=int),
        layer.out_channels * np.prod(layer.output_spatial, dtype=int),
    )
    assert 4 * layer.batch * largest < 2**30


# The process --------------------------------------------------------------------------

HANGS = """
import json, sys, time

print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    print(json.dumps({"trying": "hangs", "allowed": 0.2}), flush=True)
    time.sleep(60)
"""


def test_a_layer_is_given_up_when_the_time_is_over():
    child = Child((sys.executable, "-c", HANGS), insists=False)
    try:
        found = child.race({"budget": 0.1})
    finally:
        child.end()
    assert (found["seconds"], list(found["lost"])) == ({}, ["hangs"])


@pytest.mark.parametrize(
    ("seconds", "ended"), [({}, 1), ({"jconvt": 1.0}, 1), ({"a": 1.0, "b": 1.0}, 0)]
)
def test_a_worker_that_times_hardly_anything_is_replaced(seconds, ended):
    ends = []
    outcome = {"seconds": seconds, "lost": {}}
    child = SimpleNamespace(race=lambda task: outcome, end=lambda: ends.append(1))
    assert command._race(child)({}) == outcome
    assert len(ends) == ended


@pytest.mark.slow
def test_the_whole_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # which it sets
    monkeypatch.setattr(tuning, "NETWORKS", {"tiny": TINY})
    arguments = "--rows pix2pix-innermost --mode forward --dtypes float32 --tune 0.5"
    command.main([*arguments.split(), "--out", str(tmp_path)])
    assert jconvt.TuneReport.load(tmp_path / "gpu-cpu-tune-tiny.json").maps
    data = json.loads((tmp_path / "gpu-cpu-forward-float32.json").read_text())
    assert (data["missing"], data["lost"]) == ([], {})
    assert set(data["seconds"]["pix2pix-innermost"]) == HERE
    assert data["title"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--rows abacus", "--rows: 'abacus' is none of dcgan-up, unet-up"),
        ("--dtypes float32,int8", "'int8' is none of float32, bfloat16, float16"),
        ("--precision low", "argument --precision: invalid choice: 'low'"),
        ("--mode backward", "argument --mode: invalid choice: 'backward'"),
    ],
)
def test_an_error_is_one_clear_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as exit:
        command.main(arguments.split())
    assert exit.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err


# Tuning -------------------------------------------------------------------------------


def test_the_step_that_is_tuned_is_a_networks():
    network = TINY()
    step, arguments = tuning._step(network)
    loss, gradients = jax.jit(step)(*arguments)
    built = in_flax.build(network, in_flax.jconvt_up, in_flax.jconvt_conv)
    target = network.arrays()[1]
    np.testing.assert_allclose(loss, np.mean((built.output() - target) ** 2), rtol=1e-5)
    assert jax.tree.structure(gradients) == jax.tree.structure(arguments[0])


@pytest.mark.slow
def test_every_layer_of_a_network_is_in_its_report():
    ((name, found),) = tuning.reports({"tiny": TINY}, seconds=0.5)
    ups = [n for n in TINY().layers if isinstance(n, descriptions.Up)]
    assert name == "tiny"
    assert len({row.layer for row in found.maps}) == len(ups)


def test_the_networks_are_larger_than_those_of_a_cpu():
    usual = descriptions.networks()
    for name, make in tuning.NETWORKS.items():
        larger, smaller = make().inputs, usual[name].inputs
        assert [shape[1:] for shape in larger] == [shape[1:] for shape in smaller]
        assert larger[0][0] == 8 * smaller[0][0]
