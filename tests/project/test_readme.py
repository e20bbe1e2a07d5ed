"""README: its figures (and those of the benchmarks' page), its boxes, and its block
without a prompt.

`test_pages` runs the blocks that have one.
"""

import json
import re
from statistics import geometric_mean

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pages import ROOT, blocks, run_python

README = ROOT / "README.md"
TEXT = README.read_text()
RESULTS = ROOT / "benchmarks" / "results"
SECTIONS = dict(re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S))
BOXES = [title for title in SECTIONS if title.startswith("I ")]


def ratios(result, contender, base):
    """Times of one contender over another's, in the rows that both have."""
    rows = json.loads((RESULTS / f"{result}.json").read_text())["seconds"].values()
    return [r[contender] / r[base] for r in rows if contender in r and base in r]


def claims():
    """What README says, with the figures of the results."""
    train = ratios("train-float32", "jconvt", "torch")
    native = ratios("train-float32", "jconvt", "native")
    forward = ratios("forward-float32", "jconvt", "torch")
    flax = ratios("networks-train", "flax", "jconvt")
    torch = ratios("networks-train", "jconvt", "torch")
    assert len(train) == len(native) == len(forward)
    assert len(flax) == len(torch) == 4
    return [
        f"Over {len(train)} layers of published models, training takes "
        f"{geometric_mean(train):.2f} times as long as with PyTorch",
        f"1/{1 / geometric_mean(native):.0f} of the time of JAX's own form",
        f"output takes {geometric_mean(forward):.2f} times as long as with PyTorch",
        f"networks train {geometric_mean(flax):.1f} times as fast as with Flax's",
        f"slowest layer takes {max(train):.1f} times as long in training",
        f"the four networks {geometric_mean(torch):.1f} times",
    ]


def figures(text):
    return re.findall(r"\d+(?:[./]\d+)?", text)


def test_the_figures_are_those_of_the_results():
    """Each claim is there, and no figure that is in none of them."""
    why = " ".join(SECTIONS["Why"].split())
    claimed = claims()
    for claim in claimed:
        assert claim in why
    assert set(figures(re.sub("float32", "", why))) == set(figures(" ".join(claimed)))


def test_the_page_of_benchmarks_has_the_figures_of_the_results():
    """Its result, its means, and its table of networks."""
    page = " ".join((ROOT / "docs" / "benchmarks.md").read_text().split())

    def means(column, base):
        return [
            geometric_mean(ratios(f"{mode}-float32", column, base))
            for mode in ("forward", "train")
        ]

    output, training = (f"{100 * (1 - r):.0f} % less" for r in means("jconvt", "torch"))
    assert f"needs {output} time than PyTorch" in page
    assert f"and {training} for the output with all gradients" in page
    output, training = (f"{r:.0f}" for r in means("native", "jconvt"))
    assert f"JAX's own form takes {output} and {training} times as long" in page
    for base in ("torch", "torch NHWC"):
        output, training = (f"{r:.2f}" for r in means("jconvt NHWC", base))
        assert f"{output} and {training} of " in page
    file = RESULTS / "networks-train.json"
    for network, times in json.loads(file.read_text())["seconds"].items():
        cells = [f"{1000 * times[name]:.0f}" for name in ("jconvt", "torch", "flax")]
        assert f"| {network} | {' | '.join(cells)} |" in page


def test_the_first_screen():
    """What it is, the picture, and the two commands as others read them."""
    top = TEXT.split("\n## ")[0]
    assert "\n    make demo     # " in top
    assert "\n    make test     # " in top
    for picture in re.findall(r'<img src="([^"]*)"', top):
        assert (ROOT / picture).stat().st_size < 150_000
    for name in ("deconvolution", "upsampling", "fractionally strided"):
        assert name in top


@pytest.mark.parametrize("title", BOXES)
def test_a_box_is_ten_lines_at_most(title):
    lines = [s for s in SECTIONS[title].splitlines() if s and not s.startswith("```")]
    assert len(lines) <= 10


@pytest.mark.parametrize("title", BOXES)
def test_a_box_runs_without_the_others(title):
    """A reader copies one: it imports what it uses."""
    names = {}
    prompted = [b for b in blocks(README) if b.has_prompt and b.code in SECTIONS[title]]
    assert prompted
    for block in prompted:
        run_python(block, names)


def test_there_are_four_boxes():
    assert len(BOXES) == 4


def test_links_lead_to_files():
    found = re.findall(r'\]\(([^)#:]+)\)|src="([^"]+)"', TEXT)
    assert found
    for path in map("".join, found):
        assert (ROOT / path).exists(), path


def test_the_port_of_a_pytorch_generator():
    """A new user's port: at most ten lines, and the generator's own images."""
    torch = pytest.importorskip("torch", reason="the model that is ported is PyTorch's")
    found = blocks(README)
    (port,) = [b for b in found if b.language == "python" and not b.has_prompt]
    generator = torch.nn.Sequential(
        torch.nn.ConvTranspose2d(8, 6, 4, 1),
        torch.nn.ReLU(),
        torch.nn.ConvTranspose2d(6, 3, 4, stride=2, padding=1),
        torch.nn.Tanh(),
    )
    z = torch.randn(2, 8, 1, 1)
    names = {
        "generator": generator,
        "jax": jax,
        "jnp": jnp,
        "z": jnp.asarray(z.numpy()),
    }
    run_python(port, names)
    expected = generator(z).detach().numpy()
    np.testing.assert_allclose(names["images"], expected, rtol=1e-5, atol=1e-6)
