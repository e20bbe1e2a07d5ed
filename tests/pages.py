"""Pages of Markdown and their code blocks, and what it means to run one."""

import ast
import contextlib
import doctest
import importlib.util
import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from jconvt.__main__ import main

ROOT = Path(__file__).parents[1]
COPIES = ROOT / "docs" / "results"  # made by a build of the site, and all tables
PAGES = sorted(
    [*ROOT.glob("*.md"), *(p for p in ROOT.glob("docs/**/*.md") if p.parent != COPIES)]
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

OPTIONAL = (
    "equinox",
    "flatbuffers",
    "haiku",
    "keras",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "optax",
    "torch",
)
"""Packages that a page may import: without them it is skipped."""

# Three backticks or more, and as many to close. Indented blocks are tables of formulas.
_FENCE = re.compile(r"^(`{3,})([^\n`]*)\n(.*?)^\1[ ]*$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    """Of its first line of code, counted from 1."""
    language: str
    code: str

    @property
    def has_prompt(self):
        return self.code.startswith(">>> ")


def blocks(page):
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start(3)) + 1, found[2].strip(), found[3])
        for found in _FENCE.finditer(text)
    ]


def needs(page_blocks):
    """The optional packages that Python blocks import."""
    imported = set()
    for block in page_blocks:
        if block.language != "python":
            continue
        code = block.code
        if block.has_prompt:
            examples = doctest.DocTestParser().get_examples(code)
            code = "".join(example.source for example in examples)
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    return [name for name in OPTIONAL if name in imported]


def run_python(block, names):
    """With prompts: as a doctest. Without: it must raise nothing."""
    if not block.has_prompt:
        source = "\n" * (block.line - 1) + block.code
        exec(compile(source, str(block.page), "exec"), names)
        return
    where = str(block.page.relative_to(ROOT))
    test = doctest.DocTestParser().get_doctest(
        block.code, names, where, where, block.line - 1
    )
    test.globs = names  # not a copy: later blocks see what this one defines
    said = []
    doctest.DocTestRunner(verbose=False, optionflags=FLAGS).run(
        test, out=said.append, clear_globs=False
    )
    if said:
        pytest.fail("".join(said), pytrace=False)


def run_console(block, capsys):
    """Lines ``$ python -m jconvt ...`` and, up to the next one, what they print."""
    for session in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        command, _, expected = session.partition("\n")
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "jconvt"], command
        with contextlib.suppress(SystemExit):  # after a help, or an error of argparse
            main(words[3:])
        printed = "".join(capsys.readouterr())
        checker = doctest.OutputChecker()
        if not checker.check_output(expected, printed, FLAGS):
            pytest.fail(f"{command}\nexpected: {expected}\ngot: {printed}")


def check_shell(block):
    """Commands that install or take long are not run: what they name must exist."""
    for line in block.code.splitlines():
        words = shlex.split(line, comments=True)
        while words and "=" in words[0]:  # variables of the environment
            del words[0]
        if words:
            assert words[0] in _COMMANDS, line
            _COMMANDS[words[0]](words[1:])


def _make(words):
    rules = re.findall(r"^([\w -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = " ".join(rules).split()
    for word in words:
        assert "=" in word or word in targets, f"make {word}"


def _pip(words):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert words[0] == "install"
    for word in words[1:]:
        name, _, extras = word.rstrip("]").partition("[")
        if name == project["name"] and extras:
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), word


def _python(words):
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]), words[1]
    else:
        assert (ROOT / words[0]).exists(), words[0]


_COMMANDS = {
    "cd": lambda words: None,
    "git": lambda words: None,
    "make": _make,
    "pip": _pip,
    "pre-commit": lambda words: None,
    "python": _python,
}
