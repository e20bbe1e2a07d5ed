"""Relative links to files of the repository, wherever the text with them is shown.

README, CHANGELOG and CONTRIBUTING are included in pages, and notebooks are linked into
the site, while their own links count from where they are. Such a link leads to the page
that shows the file, or offers the file itself.
"""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "notebooks": "start/notebooks.md",
    "benchmarks/results": "benchmarks.md",
}
"""A file, or a folder and the Markdown in it -> the page that shows it."""

_LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:|[#/])([^)\s#]+)(#[^)\s]*)?\)")


def relinked(text: str, folder: Path, docname: str) -> str:
    """`text` of a file in `folder` with its links as they are from a page."""

    def link(found: re.Match[str]) -> str:
        words, path, fragment = found[1], found[2], found[3] or ""
        target = (folder / path).resolve()
        if not target.exists():  # a page to come, or code that looks like a link
            return found[0]
        shown = _shown(target)
        if shown.is_dir():
            return words
        if target == ROOT / "README.md":  # whose sections are on several pages
            fragment = ""
        relative = os.path.relpath(shown, (DOCS / docname).parent)
        return f"[{words}]({relative}{fragment})"

    return _LINK.sub(link, text)


def _shown(target: Path) -> Path:
    if target.is_relative_to(DOCS):
        return target
    if target.suffix == ".ipynb":
        return DOCS / target.relative_to(ROOT)
    for file, page in PAGES.items():
        below = ROOT / file in target.parents and target.suffix == ".md"
        if below or target == ROOT / file:
            return DOCS / page
    return target


def read_page(app: Sphinx, docname: str, content: list[str]) -> None:
    """A page or notebook, at its place in the repository."""
    del app
    content[0] = relinked(content[0], (DOCS / docname).parent.resolve(), docname)


def read_included(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """A file that a page includes, at its place in the repository."""
    del parent
    folder = (DOCS / path).resolve().parent
    content[0] = relinked(content[0], folder, app.env.docname)


def setup(app: Sphinx) -> dict[str, bool]:
    """Enter the hooks."""
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
