"""The notebooks as they are committed; `make notebooks` executes them."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
if not NOTEBOOKS:
    pytest.skip("needs the notebooks of the repository", allow_module_level=True)

LARGEST = 300_000
"""Bytes: a picture or two, small enough to be read with the history."""


@pytest.fixture(params=NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def path(request):
    return request.param


def cells(path):
    return json.loads(path.read_text())["cells"]


def test_they_are_numbered():
    assert [int(path.stem.split("-")[0]) for path in NOTEBOOKS] == list(range(1, 9))


def test_it_was_executed_from_top_to_bottom_without_a_complaint(path):
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    kinds = {(output["output_type"], output.get("name")) for output in outputs}
    assert kinds <= {("stream", "stdout"), ("display_data", None)}


def test_it_tells_a_story_with_a_picture(path):
    first, *_ = cells(path)
    assert first["source"][0].startswith("# ")
    formats = {
        kind
        for cell in cells(path)
        for output in cell.get("outputs", ())
        for kind in output.get("data", ())
    }
    assert formats & {"image/png", "image/jpeg", "image/svg+xml"}


def test_every_picture_is_described(path):
    """For those who cannot see it; else a screen reader spells the name of a file."""
    for cell in cells(path):
        data = [output.get("data", ()) for output in cell.get("outputs", ())]
        if any(kind.startswith("image/") for kinds in data for kind in kinds):
            image = cell["metadata"]["mystnb"]["image"]
            assert len(image["alt"].split()) > 8
            assert image.get("classes", "wide") == "wide"  # the rule of site.css


def test_it_is_small_and_names_no_machine(path):
    assert path.stat().st_size < LARGEST
    lines = []
    for cell in cells(path):
        lines += cell["source"]
        lines += [
            t for output in cell.get("outputs", ()) for t in output.get("text", ())
        ]
    text = "".join(lines)
    for place in ("/tmp/", "/home/", "/work/", "site-packages"):
        assert place not in text


def test_its_page_has_a_small_picture_of_it(path):
    docs = FOLDER.parent / "docs"
    small = docs / "diagrams" / "thumbnails" / f"{path.stem}.webp"
    assert small.stat().st_size < 15_000
    page = (docs / "start" / "notebooks.md").read_text()
    assert f"(../diagrams/thumbnails/{small.name})" in page
    assert f"(../../notebooks/{path.name})" in page
