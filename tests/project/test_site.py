"""The site as source: a complete reference, and diagrams as their script draws them."""

import importlib
import importlib.util
import pkgutil
import re

import pytest

import jconvt
from pages import ROOT

DOCS = ROOT / "docs"
if not DOCS.exists():
    pytest.skip("needs the site of the repository", allow_module_level=True)

REFERENCE = "\n".join(page.read_text() for page in DOCS.glob("reference/*.md"))
MODULES = ["jconvt", *(
    f"jconvt.{module.name}"
    for module in pkgutil.iter_modules(jconvt.__path__)
    if not module.name.startswith("_")
)]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_reference_has_every_public_name(name):
    """By a directive for the module with all its members, or by one for each name."""
    members = rf"automodule:: {re.escape(name)}\n(?!   :no-members:)"
    if re.search(members, REFERENCE):
        assert importlib.import_module(name).__all__
        return
    found = set(
        re.findall(
            rf"(?:autoclass|autofunction|data):: {re.escape(name)}\.(\w+)\n", REFERENCE
        )
    )
    assert found == set(importlib.import_module(name).__all__)


def test_diagrams_are_what_the_script_draws():
    path = DOCS / "diagrams" / "draw.py"
    spec = importlib.util.spec_from_file_location("draw", path)
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    drawings = dict(draw.all_drawings())
    assert set(drawings) == set(DOCS.glob("diagrams/*.svg"))
    for file, svg in drawings.items():
        assert file.read_text() == svg, file.name


def test_every_diagram_is_on_a_page():
    pages = "\n".join(page.read_text() for page in DOCS.glob("**/*.md"))
    for file in DOCS.glob("diagrams/*.svg"):
        assert f"diagrams/{file.name}" in pages


@pytest.mark.parametrize(
    "name", ["deconvolution", "fractionally strided", "upsampling"]
)
def test_the_search_finds_other_names_of_the_operation(name):
    """On the first page, among the questions and in the reference."""
    for page in ("index.md", "start/faq.md", "reference/functions.md"):
        text = " ".join((DOCS / page).read_text().lower().split())
        assert name in text, page
