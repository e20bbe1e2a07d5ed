"""`python -m jconvt demo`: it runs, says what it should, and draws a picture."""

import importlib
import re
import subprocess
import sys

import numpy as np
import pytest

from jconvt import _demo
from jconvt.__main__ import main
from jconvt._demo import photos


@pytest.fixture
def packages():
    """Skips a test where a package of the demo is not installed."""
    for module in _demo.PACKAGES:
        pytest.importorskip(module)


def run_demo(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "jconvt", "demo", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def psnrs(printed):
    """The PSNR of bicubic and of the network, from what the demo printed."""
    match = re.search(r"PSNR +bicubic ([\d.]+) dB, network ([\d.]+) dB", printed)
    return float(match[1]), float(match[2])


# One test, not many on one fixture: parallel workers would each run the demo for it.
def test_it_runs_and_draws(packages, tmp_path):
    picture = tmp_path / "picture.png"
    run = run_demo("--steps", 3, "--output", picture)
    assert run.returncode == 0, run.stderr
    for line in (
        r"versions +jconvt \S+, jax \S+, flax \S+",
        r"device +\S.*, \d+ CPU cores",
        r"held out +astronaut",
        r"network +[\d,]+ weights, .*jconvt\.nnx\.ConvTranspose2d",
        r"trained +3 steps of \d+ patches, loss 0\.\d+",
        r"PSNR +bicubic .* dB, network .* dB \(.* dB\): luma, a border of 3 .*",
        r"train step +jconvt [\d.]+ ms, Flax [\d.]+ ms: Flax / jconvt = [\d.]+",
        r"photograph +jconvt [\d.]+ ms, Flax [\d.]+ ms: Flax / jconvt = [\d.]+",
        rf"picture +{re.escape(str(picture))}",
    ):
        assert re.search(f"^{line}$", run.stdout, re.MULTILINE), (line, run.stdout)

    difference = re.search(r"answers differ by (\S+) at most", run.stdout)[1]
    assert float(difference) < 1e-5
    bicubic, network = psnrs(run.stdout)
    assert network == pytest.approx(bicubic, abs=0.1)  # where the training starts

    from PIL import Image

    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert image.size == (1600, 900)
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 24)) > 10_000


@pytest.mark.slow
def test_the_network_learns(packages, tmp_path):
    run = run_demo("--steps", 150, "--output", tmp_path / "picture.png")
    bicubic, network = psnrs(run.stdout)
    assert bicubic == pytest.approx(27.35, abs=0.2)
    assert network > bicubic + 0.3


def test_without_its_packages_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(_demo, "find_spec", lambda module: None)
    assert main(["demo"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "pip install 'jconvt[demo]'" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "--steps: must be a positive int; got '0'"),
        (["--seconds", "soon"], "--seconds: must be a positive float; got 'soon'"),
        (["--seconds", "nan"], "--seconds: must be a positive float; got 'nan'"),
        (["--steps", "3", "--seconds", "3"], "not allowed with argument --steps"),
        (["--output", "picture.txt"], "must end in one of .png"),
        (["--output", "nowhere/at/all.png"], "is not a directory"),
    ],
)
def test_a_wrong_option_is_one_clear_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as exit:
        main(["demo", *arguments])
    assert exit.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_training_is_measured_in_steps_or_in_seconds(packages, monkeypatch):
    run = importlib.import_module("jconvt._demo.run")
    assert list(run._fractions(1.0, 4)) == [0, 0.25, 0.5, 0.75]
    clock = iter([100.0, 100.0, 101.0, 103.0, 104.5])
    monkeypatch.setattr(run.time, "perf_counter", lambda: next(clock))
    assert list(run._fractions(4.0, None)) == [0, 0.25, 0.75]


def random_image(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_psnr_of_a_known_error():
    truth = np.full((20, 20), 100, np.uint8)
    assert photos.psnr(truth + 10, truth) == pytest.approx(20 * np.log10(25.5))


def test_psnr_leaves_out_the_border_alone():
    truth = np.full((20, 20), 100, np.uint8)
    image = truth + 10
    image[:3] = image[-3:] = image[:, :3] = image[:, -3:] = 255
    assert photos.psnr(image, truth) == pytest.approx(20 * np.log10(25.5))
    image[3, 3] = 255
    assert photos.psnr(image, truth) < 27


def test_luma_is_the_y_of_ycbcr(packages):
    from PIL import Image

    image = random_image(30, 40, 3)
    y = np.asarray(Image.fromarray(image).convert("YCbCr"))[..., 0]
    assert np.max(np.abs(photos.luma(image).astype(int) - y)) <= 1


def test_recolour_changes_the_luma_and_nothing_else():
    image = random_image(30, 40, 3) // 2 + 64
    brightness = photos.luma(image) + np.uint8(20)
    changed = photos.recolour(brightness, image)
    np.testing.assert_array_equal(photos.luma(changed), brightness)
    np.testing.assert_array_equal(np.ptp(changed.astype(int) - image, axis=-1), 0)


def test_patches_of_small_and_large_lie_over_each_other():
    small = random_image(30, 40, 3)
    photo = photos.Photo(small, small.repeat(3, axis=0).repeat(3, axis=1))
    low, high = next(photos.patches([photo], count=20, size=8, seed=0))
    assert low.shape == (20, 8, 8, 1)
    assert low.dtype == high.dtype == np.float32
    np.testing.assert_array_equal(high, low.repeat(3, axis=1).repeat(3, axis=2))
    assert len(np.unique(low[:, 0, 0, 0])) > 1


def test_patches_repeat_with_their_seed():
    photo = photos.Photo(random_image(30, 40, 3), random_image(90, 120, 3))
    first, again, other = (
        next(photos.patches([photo], count=4, size=8, seed=seed))[0]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
