"""What stands elsewhere in the repository: copies of it, and links to it.

Sphinx reads files below its own folder, and does not resolve links to linked folders.
So notebooks and results are copied into it before they are read; git ignores the
copies. Relative links count from where a text stands in the repository, also in texts
that pages include. Such a link leads to the page that shows the file, or offers it.
"""

import os
import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

COPIES = {"notebooks": "notebooks", "results": "benchmarks/results"}
"""Folder of the site -> what it is a copy of."""

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "notebooks": "start/notebooks.md",
    "benchmarks/results": "benchmarks.md",
}
"""What the repository has -> the page that shows it."""

_LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:|[#/])([^)\s#]+)(#[^)\s]*)?\)")


def copy(app: Sphinx, config: Config) -> None:
    """The folders, made anew: nothing stays that is no longer there."""
    del app, config
    for name, source in COPIES.items():
        shutil.rmtree(DOCS / name, ignore_errors=True)
        ignored = shutil.ignore_patterns(".*", "*.json")
        shutil.copytree(ROOT / source, DOCS / name, ignore=ignored)


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
    for file, page in PAGES.items():
        if target == ROOT / file:
            return DOCS / page
    for name, source in COPIES.items():
        if target.is_relative_to(ROOT / source):
            copied = DOCS / name / target.relative_to(ROOT / source)
            return copied if copied.exists() else target
    return target


def _home(docname: str) -> Path:
    """The folder in the repository of what a page shows."""
    name = docname.split("/")[0]
    return ROOT / COPIES[name] if name in COPIES else (DOCS / docname).parent


def read_page(app: Sphinx, docname: str, content: list[str]) -> None:
    """A page, notebook or result."""
    del app
    content[0] = relinked(content[0], _home(docname), docname)


def read_included(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """A file that a page includes."""
    del parent
    folder = (DOCS / path).resolve().parent
    content[0] = relinked(content[0], folder, app.env.docname)


def setup(app: Sphinx) -> dict[str, bool]:
    """Enter the hooks."""
    app.connect("config-inited", copy)
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
