"""Every code block of README and of the site runs, and prints what it says it prints.

A page is one test case: its blocks run in order and share their names. Those of
``python`` and ``console`` run; of ``sh``, which install or take long, what they name
must exist; ``text`` is no code. A page that imports a package that is not installed is
skipped and says so.
"""

import sys
import types

import pytest

from jconvt._call.padding import DIALECTS
from pages import (
    PAGES,
    ROOT,
    Block,
    blocks,
    check_shell,
    needs,
    run_console,
    run_python,
)

NO_CODE = ("", "text")
README = ROOT / "README.md"


def names_of(page):
    return str(page.relative_to(ROOT))


@pytest.fixture
def dialects():
    """CONTRIBUTING adds one, which tests that run later must not find."""
    before = dict(DIALECTS)
    yield
    DIALECTS.clear()
    DIALECTS.update(before)


@pytest.mark.usefixtures("dialects")
@pytest.mark.parametrize("page", PAGES, ids=names_of)
def test_the_code_of_a_page_runs(page, capsys, monkeypatch):
    found = blocks(page)
    if page == README:  # `test_readme` gives the other ones what they need
        found = [b for b in found if b.language != "python" or b.has_prompt]
    for package in needs(found):
        pytest.importorskip(package, reason=f"the page imports {package}")
    module = types.ModuleType("page")  # which classes that a page defines belong to
    monkeypatch.setitem(sys.modules, "page", module)
    for block in found:
        if block.language == "python":
            run_python(block, vars(module))
        elif block.language == "console":
            run_console(block, capsys)
        elif block.language == "sh":
            check_shell(block)
        else:
            is_directive = block.language.startswith("{")
            assert is_directive or block.language in NO_CODE, block
            directive, _, _ = block.language.partition("}")
            assert "code" not in directive, "write it as a plain fenced block"


def test_no_page_left_a_dialect_behind():
    """It runs after the pages: what they add is removed."""
    assert list(DIALECTS)[-1] == "CIRCULAR_LOWER"


def block(code, language="python"):
    return Block(ROOT / "made-up.md", 7, language, code)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (">>> 1 + 1\n3\n", pytest.fail.Exception),
        (">>> unknown\n", pytest.fail.Exception),
        ("assert 1 == 2\n", AssertionError),
    ],
)
def test_wrong_python_fails(wrong, error):
    with pytest.raises(error):
        run_python(block(wrong), {})


def test_a_failure_names_page_and_line():
    with pytest.raises(pytest.fail.Exception, match=r'made-up\.md", line 9'):
        run_python(block(">>> 1\n1\n>>> 2\n3\n"), {})


@pytest.mark.parametrize(
    "wrong",
    [
        "make cofee\n",
        "pip install 'jconvt[cofee]'\n",
        "python -m benchmarks.cofee\n",
        "rm -r /\n",
    ],
)
def test_a_wrong_command_fails(wrong):
    with pytest.raises(AssertionError):
        check_shell(block(wrong, "sh"))


def test_a_wrong_answer_of_the_command_line_fails(capsys):
    wrong = "$ python -m jconvt shape 1,2,5 2,3,4\n1,3,9\n"
    with pytest.raises(pytest.fail.Exception, match="1,3,8"):
        run_console(block(wrong, "console"), capsys)


def test_imports_are_found_in_both_kinds_of_blocks():
    found = [block(">>> import torch.nn\n"), block("def f():\n    import keras\n")]
    assert needs(found) == ["keras", "torch"]
