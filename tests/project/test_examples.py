"""The examples run, and do what they say."""

import importlib.util
import re
import sys
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from configurations import is_about_jit, mixes_dtypes

FOLDER = Path(__file__).parents[2] / "examples"
if not FOLDER.exists():
    pytest.skip("needs the examples of the repository", allow_module_level=True)


@cache
def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def found(pattern, text):
    """The number that a line of output has in this place."""
    return float(re.search(pattern, text)[1])


@pytest.fixture(scope="module")
def example():
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices")
    return load("sharded_volume")


def make_mesh(devices):
    return jax.make_mesh(
        (devices,),
        ("slabs",),
        axis_types=(AxisType.Auto,),
        devices=jax.devices()[:devices],
    )


@is_about_jit
def test_eight_devices_train_as_one_does(example):
    eight, one = (list(example.train(make_mesh(n), 32, steps=3)) for n in (8, 1))
    np.testing.assert_allclose(eight, one, rtol=1e-4)
    assert eight[0] > eight[1] > eight[2]


def test_no_device_sees_more_than_its_share_and_its_neighbours_edges(example):
    mesh, size = make_mesh(8), 32
    volume = example.load(mesh, size)
    weights = example.initial(jax.random.key(0))
    text = example.compiled_step(mesh, weights, volume, 0.1).as_text()
    assert "all-gather" not in text
    assert "all-to-all" not in text
    # One element of the coarse and two of the finer input, forward and back.
    edges = re.findall(r"= f32\[([\d,]+)\]\S* collective-permute\(", text)
    assert {int(edge.split(",")[2]) for edge in edges} == {1}
    slab = size**3 // 8 * example.FEATURES
    sizes = [
        np.prod([int(n) for n in sizes.split(",") if n], dtype=int)
        for sizes in re.findall(r"f32\[([\d,]+)\]", text)
    ]
    assert max(sizes) < 4 * slab


@is_about_jit
def test_the_command(example, capsys):
    example.main(["--size", "32", "--steps", "2"])
    first, *steps = capsys.readouterr().out.splitlines()
    assert first == "volume 131,072 bytes, of which a device holds 16,384"
    assert [line.split()[:2] for line in steps] == [["step", "0"], ["step", "1"]]
    with pytest.raises(SystemExit):
        example.main(["--size", "40"])
    assert "--size must be a multiple of 32" in capsys.readouterr().err


@mixes_dtypes  # optax does
def test_a_codec_decodes_in_chunks_as_it_does_at_once():
    pytest.importorskip("optax")
    codec = load("streaming_codec")
    sound = codec.vowel(0.1)
    decoder, frames, losses = codec.fit(sound, steps=8)
    assert losses[-1] < losses[0]
    whole, chunks = codec.whole(decoder, frames), codec.stream(decoder, frames)
    assert whole.shape == (1, 1, len(sound))
    np.testing.assert_allclose(chunks, whole, atol=1e-5)


@mixes_dtypes
def test_the_command_of_the_codec(capsys, tmp_path):
    pytest.importorskip("optax")
    pytest.importorskip("matplotlib").use("Agg")
    picture = tmp_path / "spectrogram.png"
    arguments = ["--seconds", "0.1", "--steps", "2", "--picture", str(picture)]
    load("streaming_codec").main(arguments)
    error, difference = capsys.readouterr().out.splitlines()
    assert error.startswith("error of the sound, as a part of its energy: ")
    assert found(r"differs by (\S+) at most", difference) < 1e-5
    assert picture.read_bytes().startswith(b"\x89PNG")


@mixes_dtypes
def test_a_vocoder_is_ported_and_learns(capsys):
    pytest.importorskip("optax")
    pytest.importorskip("torch")
    arguments = ["--channels", "16", "--frames", "6", "--steps", "4"]
    load("hifi_gan").main(arguments)
    samples, trained = capsys.readouterr().out.splitlines()
    assert samples.startswith("(2, 1, 384) samples ")
    assert found(r"differ by (\S+) at most", samples) < 1e-5
    assert found(r"-> (\S+)", trained) < found(r"loss (\S+)", trained)


@mixes_dtypes
def test_a_flax_model_is_swapped_and_restored(capsys):
    pytest.importorskip("optax")
    pytest.importorskip("orbax.checkpoint")
    load("flax_swap").main(["--size", "16", "--features", "4", "--steps", "3"])
    flax, changed, restored, ours = capsys.readouterr().out.splitlines()
    assert changed == "changed: ups.0 ups.1"
    assert found(r"differs by (\S+) at most", restored) < 1e-5
    assert found(r"-> (\S+),", ours) < found(r"loss (\S+)", flax)


def test_gradients_of_single_examples_stay_on_their_devices():
    if jax.device_count() < 4:
        pytest.skip("needs 4 devices")
    example = load("sharded_decoder")
    by_count = []
    for count in (1, 4):
        with jax.set_mesh(example.make_mesh(count)):
            batch = jax.device_put(example.pictures(8, 16), jax.P("batch"))
            weights = jax.device_put(example.initial(), jax.P())
            values, each = jax.jit(example.gradients)(weights, batch)
            assert jax.typeof(each.second).sharding.spec[0] == "batch"
            by_count.append([np.asarray(part) for part in (values, *each)])
    for one, four in zip(*by_count, strict=True):
        np.testing.assert_allclose(four, one, rtol=1e-4, atol=1e-5)
    _, *parts = by_count[0]
    squares = sum((part**2).reshape(8, -1).sum(axis=1) for part in parts)
    assert squares.max() < 0.5**2 + 1e-4


@is_about_jit
def test_the_step_is_stored_for_four_platforms(capsys):
    pytest.importorskip("flatbuffers")
    load("sharded_decoder").main(["--size", "16", "--examples", "8", "--steps", "2"])
    _, trained, stored, again = capsys.readouterr().out.splitlines()
    assert trained.startswith("loss ")
    assert stored.endswith(" bytes for cpu, cuda, rocm, tpu")
    assert found(r"differ by (\S+) at most", again) < 1e-5
