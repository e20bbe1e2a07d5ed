"""CONTRIBUTING.md, the issue forms and the hooks say what is so."""

import ast
import itertools
import re
import shlex
import tomllib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import formulations
import jconvt
import oracles
from jconvt._call.padding import DIALECTS
from jconvt._lowerings.table import LOWERINGS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def section(title):
    """The text under a heading, up to the next."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


# The map ------------------------------------------------------------------------------


def first_line(path):
    path = path / "__init__.py" if path.is_dir() else path
    return ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]


def test_the_map_is_the_tree():
    """A row for each module and package of jconvt, with its docstring's first line."""
    package = ROOT / "jconvt"
    modules = [p for p in package.glob("*.py") if p.name != "__init__.py"]
    packages = [p.parent for p in package.glob("*/__init__.py")]
    tree = {p.name: first_line(p) for p in modules}
    tree |= {f"{p.name}/": first_line(p) for p in packages}
    rows = section("Map of the house").partition("**Beside the package**")[0]
    assert dict(re.findall(r"^- `(\S+)` (.*)$", rows, re.MULTILINE)) == tree


def test_the_map_has_what_is_beside_the_package():
    rows = section("Map of the house").partition("**Beside the package**")[2]
    named = re.findall(r"^- `(\S+)/` ", rows, re.MULTILINE)
    assert all((ROOT / name).is_dir() for name in named)
    code = {p.parts[len(ROOT.parts)] for p in ROOT.glob("[a-z]*/**/*.py")}
    built = {"build", "dist"}
    assert code - built - {"jconvt"} <= set(named)


def test_one_call_can_be_followed():
    """Ten stops, in order; each file that is named defines what is named with it."""
    text = section("Follow one call")
    assert re.findall(r"^(\d+)\. ", text, re.MULTILINE) == [
        str(i + 1) for i in range(10)
    ]
    stops = re.findall(r"`(\S+\.py)`\s+`(\w+)`", text)
    assert len(stops) >= 10
    for file, name in stops:
        body = ast.parse((ROOT / "jconvt" / file).read_text()).body
        assert name in {getattr(node, "name", None) for node in body}, (file, name)
    named = re.findall(r"`(\S+\.py)`", text)
    assert [file for file in named if not (ROOT / "jconvt" / file).exists()] == []


# Commands -----------------------------------------------------------------------------

TARGETS = set(
    re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
) | {"aot-gpu", "aot-tpu", "test-aot-gpu", "test-aot-tpu", "test-x64"}


def test_every_make_target_that_is_named_exists():
    named = set(re.findall(r"\bmake ([a-z][a-z0-9-]*)", TEXT))
    assert named <= TARGETS | {"alone"}
    assert {"test", "lint", "bench", "doctor"} <= named


def test_every_test_file_that_is_named_exists():
    named = re.findall(r"\btests/[\w/]*test_\w+\.py", TEXT)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_hooks_are_make_targets():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    entries = re.findall(r"^ +entry: (.*)$", hooks, re.MULTILINE)
    assert entries
    for entry in entries:
        program, target, *rest = shlex.split(entry)
        assert (program, target in TARGETS) == ("make", True)
        for argument in rest:
            assert argument.startswith("ARGS=")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any("pre-commit" in p for p in extras["optional-dependencies"]["dev"])


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_the_doctors_output(form):
    if form.stem == "config":
        return
    text = form.read_text()
    assert "`python -m jconvt doctor`" in text
    assert re.findall(r"^(?:name|description|body):", text, re.MULTILINE) == [
        "name:",
        "description:",
        "body:",
    ]


def test_the_forms_are_yaml():
    yaml = pytest.importorskip("yaml")
    for form in FORMS:
        assert isinstance(yaml.safe_load(form.read_text()), dict)


# The worked examples ------------------------------------------------------------------


def example(name):
    """What the code block after ``<!-- name -->`` defines."""
    (code,) = re.findall(
        rf"^<!-- {name} -->\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL
    )
    names = {"__name__": f"contributing_{name}"}
    exec(compile(code, f"CONTRIBUTING.md, {name}", "exec"), names)
    return names


@pytest.fixture
def spread_taps(monkeypatch):
    row = example("lowering")["LOWERING"]
    monkeypatch.setitem(LOWERINGS, row.name, row)
    return row


@pytest.mark.parametrize(
    ("case", "kind"),
    list(zip(formulations.CASES, itertools.cycle(formulations.LAYOUTS), strict=False)),
    ids=str,
)
def test_the_lowering_is_the_definition(spread_taps, case, kind):
    formulations.check(spread_taps.name, case, kind)


def test_the_lowering_serves_the_front_door(spread_taps):
    x, w = np.ones((2, 4, 5)), np.ones((4, 3, 4))
    found = jconvt.conv_transpose(x, w, stride=2, lowering="spread_taps")
    np.testing.assert_array_equal(found, jconvt.conv_transpose(x, w, stride=2))
    explanation = jconvt.explain(x.shape, w.shape, stride=2, lowering="spread_taps")
    assert explanation.forward == "spread_taps"
    assert explanation.candidates[-1].summary == spread_taps.summary
    x, w = jnp.asarray(x, jnp.bfloat16), jnp.asarray(w, jnp.bfloat16)
    assert jconvt.conv_transpose(x, w, lowering="spread_taps").dtype == jnp.bfloat16


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_the_dialect_is_causal_backwards(monkeypatch, stride):
    for name, rule in DIALECTS.items():
        monkeypatch.setitem(DIALECTS, name, rule)
    monkeypatch.setitem(DIALECTS, "ANTICAUSAL", None)  # which is undone afterwards
    example("dialect")
    random = np.random.default_rng(0)
    x, w = random.integers(-4, 5, (2, 3, 6)), random.integers(-4, 5, (3, 2, 4))
    found = jconvt.conv_transpose(x, w, stride=stride, padding="anticausal")
    assert found.shape == (2, 2, 6 * stride)
    expected = oracles.scatter(
        x[..., ::-1],
        w[..., ::-1],
        stride=(stride,),
        crop=(oracles.causal_crop(6, 4, stride, 1),),
        dilation=(1,),
    )
    np.testing.assert_array_equal(found, expected[..., ::-1])
    for n in range(6):
        changed = x.copy()
        changed[..., n] += 1
        other = jconvt.conv_transpose(changed, w, stride=stride, padding="ANTICAUSAL")
        differs = np.any(found != other, axis=(0, 1))
        assert not differs[(n + 1) * stride :].any(), "an earlier input is seen"
