"""The public surface is frozen: a change of it is a change of `public_surface.txt`."""

import difflib
import doctest
import inspect
import json
import pkgutil
import re
import subprocess
import sys

import pytest

import jconvt
import surface

PUBLIC = surface.public()
CLASSES = {name: made for name, made in PUBLIC.items() if isinstance(made, type)}
RECORDS = [
    *("jconvt.Candidate", "jconvt.Estimate", "jconvt.Explanation"),
    "jconvt.streaming.State",
    *("jconvt.TuneReport", "jconvt.Tuned", "jconvt.TunedMap"),
]
KINDS = ["jconvt.nnx.StreamState"]
"""Kinds of Flax's variables: only the name is ours, and a user does not make them."""
CALLS = {
    **{name: made for name, made in PUBLIC.items() if name not in CLASSES},
    **{
        f"{name}.{method}": value
        for name, made in CLASSES.items()
        for method, value in surface.members(made).items()
        if not isinstance(value, property) and method not in surface.PROTOCOL
    },
}
FUNCTIONS = [name for name in CALLS if name in PUBLIC]
PROPERTIES = {
    f"{name}.{member}": value
    for name, made in CLASSES.items()
    for member, value in surface.members(made).items()
    if isinstance(value, property)
}


def test_the_surface_is_the_committed_one():
    committed = surface.SNAPSHOT.read_text().splitlines()
    found = surface.surface().splitlines()
    difference = "\n".join(
        difflib.unified_diff(committed, found, "committed", "found", lineterm="")
    )
    assert not difference, (
        f"the public surface changed:\n{difference}\nIf that is wanted, `make surface` "
        "writes it anew; docs/stability.md says what may change when."
    )


def test_no_module_is_public_but_those():
    found = {m.name for m in pkgutil.iter_modules(jconvt.__path__)}
    visible = {f"jconvt.{name}" for name in found if not name.startswith("_")}
    assert visible == set(surface.MODULES) - {"jconvt"}


# The snapshot sees what changes -------------------------------------------------------


def example(x: int, *rest: str, y: "float" = 1.5, **options: bool) -> list[int]:
    """Adds.

    Args:
      x: a number.

    Example:
      >>> 1 + 1
      2

      >>> 1 + 2
      3

    A source.
    """


def test_a_signature_is_as_written():
    """The canary: names, order, kinds, annotations and defaults are all in it."""
    assert surface.parameters(example) == {
        "x": ": int",
        "*rest": ": str",
        "y": ": 'float' = 1.5",
        "**options": ": bool",
    }


def test_a_docstring_is_without_its_example():
    assert surface.promises(example).split("\n") == [
        *("Adds.", "", "Args:", "  x: a number.", "", "A source.")
    ]


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in KINDS])
def test_the_written_signature_is_that_of_calls(name):
    """What is parsed is what Python does: same names, same order, same kinds."""
    given = inspect.signature(PUBLIC[name]).parameters
    own = list(surface.parameters(PUBLIC[name]))
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    names = [stars.get(p.kind, "") + p.name for p in given.values()]
    # Flax adds these to every Linen module, and a drop-in has the fields of its base.
    flax = [n for n in names if n not in own]
    assert not flax or name.startswith("jconvt.linen.")
    assert [n for n in names if n in own] == [n for n in own if n != "*"]
    keywords = [n for n, p in given.items() if p.kind is p.KEYWORD_ONLY]
    star = next((i for i, n in enumerate(own) if re.match(r"\*(?!\*)", n)), len(own))
    own_keywords = own[star + 1 :]
    assert [n for n in keywords if n not in flax] == own_keywords


# Docstrings ---------------------------------------------------------------------------


def sections(made):
    """Heading -> the lines under it."""
    found = {"": []}
    heading = ""
    for line in inspect.getdoc(made).splitlines():
        if re.fullmatch(r"[A-Z][a-z]+:", line):
            heading = line[:-1]
            found[heading] = []
        elif line.startswith("  ") or not line:
            found[heading].append(line)
        else:
            heading = ""
            found[heading].append(line)
    return found


def entries(lines):
    """What a section explains: ``a, b: ...`` is both."""
    heads = [line[2:].split(":")[0] for line in lines if re.match(r"  \S", line)]
    return [name.strip() for head in heads for name in head.split(",")]


def described(name, made):
    """The class whose docstring has the arguments: itself, or what it says it is as."""
    other = re.search(r"^As `(\w+)`", inspect.getdoc(made), re.MULTILINE)
    if other is None:
        return made
    return PUBLIC[f"{name.rpartition('.')[0]}.{other[1]}"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_of_a_function(name):
    """Sections in this order, an entry for each parameter, an example, errors."""
    made = CALLS[name]
    found = sections(made)
    wanted = ["", "Args", "Returns", "Raises", "Example"]
    assert [s for s in found if s in wanted] == wanted
    assert found[""][0].endswith(".")
    parameters = [p for p in surface.parameters(made) if p != "*"]
    assert entries(found["Args"]) == parameters
    assert set(entries(found["Raises"])) <= {
        *("TypeError", "ValueError", "ImportError")
    }
    assert ">>> " in "\n".join(found["Example"])


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in KINDS])
def test_docstring_of_a_class(name):
    """Constructor arguments as Args, or as Attributes where they are fields."""
    made = CLASSES[name]
    told = described(name, made)
    assert surface.parameters(told) == surface.parameters(made)
    found = sections(told)
    explained = entries(found.get("Args", []))
    if "Args" not in found:
        explained = entries(found["Attributes"])
    parameters = [p for p in surface.parameters(made) if p != "*"]
    # Fields that a drop-in has from its base are explained too.
    assert [e for e in explained if e in parameters] == parameters
    if name not in RECORDS:  # which a user does not make
        assert ">>> " in "\n".join(sections(made)["Example"])
    if name not in [*RECORDS, "jconvt.interop.PortedLayer"]:
        assert "Raises" in found


@pytest.mark.parametrize("name", [name for name in CALLS if name not in FUNCTIONS])
def test_docstring_of_a_method(name):
    made = inspect.unwrap(CALLS[name])
    found = sections(made)
    assert found[""][0].endswith(".")
    parameters = [p for p in surface.parameters(made) if p != "*"]
    assert entries(found.get("Args", [])) == parameters
    returns = inspect.signature(made).return_annotation
    assert ("Returns" in found) == (returns is not None)


@pytest.mark.parametrize("name", PROPERTIES)
def test_docstring_of_a_property(name):
    assert inspect.getdoc(PROPERTIES[name]).splitlines()[0].endswith(".")


@pytest.mark.parametrize("name", [*CALLS, *CLASSES])
def test_everything_is_annotated(name):
    made = CALLS.get(name) or CLASSES[name]
    for parameter, written in surface.parameters(made).items():
        assert parameter == "*" or written.startswith(": "), parameter
    if name in CALLS:
        signature = inspect.signature(inspect.unwrap(made))
        assert signature.return_annotation is not inspect.Signature.empty


NEEDS = {
    "to_nnx": "Flax",
    "to_linen": "Flax",
    "from_flax": "Flax",
    "to_flax": "Flax",
    "to_torch": "PyTorch",
    "from_keras": "Keras",
    "from_equinox": "Equinox",
    "to_equinox": "Equinox",
    "from_onnx": "onnx",
    "from_onnx_model": "onnx",
    "to_onnx": "onnx",
}


@pytest.mark.parametrize(("door", "package"), NEEDS.items())
def test_docstring_of_a_door_says_what_it_needs(door, package):
    (made,) = (made for name, made in CALLS.items() if name.endswith(f".{door}"))
    assert f"  ImportError: {package} is not installed." in sections(made)["Raises"]


def test_examples_are_part_of_the_suite(pytestconfig):
    """As doctests; the root's `conftest.py` leaves out those without their package."""
    assert pytestconfig.option.doctestmodules
    assert "jconvt" in pytestconfig.getini("testpaths")


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_is_found(name):
    """A decorator that hid a docstring from doctest would hide its example too."""
    made = inspect.unwrap(PUBLIC[name])
    module = inspect.getmodule(made)
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {test.name: test.examples for test in finder.find(module)}
    written = "\n".join(sections(made).get("Example", [])).count(">>> ")
    examples = found.get(f"{module.__name__}.{made.__qualname__}", [])
    assert len(examples) == written


ARRAYS = {  # of which the docstring gives the axes: annotations
    "ArrayLike",
    "ArrayLike | None",
    "jax.Array",
    "jax.Array | None",
    "Shape",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_of_an_array_gives_its_axes(name):
    """Such as ``(N, C_in, *S)``."""
    made = CALLS[name]
    written = "\n".join(sections(made)["Args"])
    for parameter, annotation in surface.parameters(made).items():
        if annotation.removeprefix(": ").split(" = ")[0] in ARRAYS:
            (entry,) = re.findall(
                rf"^  {parameter}: (.*(?:\n    .*)*)", written, re.MULTILINE
            )
            assert re.search(r"``\(.*\)``|of the shape of", entry), parameter


# Imports, each in a fresh interpreter -------------------------------------------------

OPTIONAL = {
    *("flax", "torch", "keras", "tensorflow", "haiku", "equinox", "onnx"),
    *("onnxruntime", "mindspore", "matplotlib", "optax", "rich", "skimage"),
    *("hypothesis", "pytest"),
}

# Hides packages as if they were not installed; an import that fails is an error that
# names what is missing.
HIDE = """
import sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *rest):
        hidden = name.partition(".")[0] in {hidden!r}
        return None if hidden else self.finder.find_spec(name, *rest)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


def run(code, hidden=()):
    """Top-level packages that the code has imported, in the end."""
    code = HIDE.replace("{hidden!r}", repr(sorted(hidden))) + code
    code += "\nimport json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_import_brings_no_framework():
    assert not run("import jconvt") & OPTIONAL


def test_calls_bring_no_framework():
    code = """
import jax, jconvt, numpy as np
x, w = np.ones((1, 2, 5), "f"), np.ones((2, 3, 4), "f")
jax.grad(lambda w: jconvt.conv_transpose1d(x, w, stride=2).sum())(w)
jconvt.explain(x.shape, w.shape, stride=2)
"""
    assert not run(code) & OPTIONAL


DOORS = """
import jax, numpy as np
import jconvt, jconvt.initializers, jconvt.interop as interop, jconvt.sharding
state = {"weight": np.ones((2, 3, 4), "f"), "bias": np.ones(3, "f")}
layer = interop.from_mindspore(state, stride=2)
x = np.ones((1, 2, 5), "f")
y = layer.apply(x)

def same(array):
    np.testing.assert_allclose(array, y, rtol=1e-6)

def needs(package, door, *arguments):
    try:
        door(*arguments)
    except ImportError as error:
        assert package in str(error).lower(), error
    else:
        raise AssertionError(f"{door.__name__} did without {package}")
"""

WITHOUT = """
import importlib
same(interop.from_torch(state, stride=2).apply(x))
haiku = {"w": np.ones((4, 3, 2), "f"), "b": np.ones(3, "f")}
interop.from_haiku(haiku, stride=2).apply(np.ones((1, 5, 2), "f"))
jconvt.initializers.torch_uniform()(jax.random.key(0), (2, 3, 4))
for flavour in ("nnx", "linen"):
    needs("flax", importlib.import_module, f"jconvt.{flavour}")
needs("flax", layer.to_nnx)
needs("flax", layer.to_linen)
needs("flax", interop.from_flax, object())
needs("flax", interop.to_flax, layer)
needs("torch", interop.to_torch, layer)
needs("keras", interop.from_keras, object())
needs("equinox", interop.from_equinox, object())
needs("equinox", interop.to_equinox, layer)
needs("onnx", interop.from_onnx, object(), state["weight"])
needs("onnx", interop.from_onnx_model, "model.onnx")
needs("onnx", interop.to_onnx, layer)
import jconvt.plot
needs("matplotlib", jconvt.plot.overlap, 5, 4)
from jconvt.__main__ import main
for command in ("shape", "explain"):
    assert main([command, "1,2,5", "2,3,4", "--stride", "2"]) == 0
assert main(["demo"]) == 2
"""


def test_without_any_optional_package():
    """All that needs none works, and what needs one says which."""
    assert not run(DOORS + WITHOUT, OPTIONAL) & OPTIONAL


# What each door does with its package alone -> what that package itself needs of them.
ALONE = {
    "flax": (
        """
from flax import nnx
import jconvt.linen, jconvt.nnx
same(layer.to_nnx()(x))
module, variables = layer.to_linen()
same(module.apply(variables, x))
same(interop.from_flax(interop.to_flax(layer)).apply(x.swapaxes(1, 2)).swapaxes(1, 2))
""",
        {"optax", "rich"},
    ),
    "torch": ("same(interop.from_torch(interop.to_torch(layer)).apply(x))", set()),
    "equinox": (
        "same(interop.to_equinox(layer)(x[0])[None])\n"
        "same(interop.from_equinox(interop.to_equinox(layer)).apply(x))",
        set(),
    ),
    "onnx": (
        "(found,) = interop.from_onnx_model(interop.to_onnx(layer)).values()\n"
        "same(found.apply(x))",
        set(),
    ),
    "keras": (
        """
import keras
up = keras.layers.Conv1DTranspose(3, 4, strides=2)
last = x.swapaxes(1, 2)
expected = up(last)
np.testing.assert_allclose(interop.from_keras(up).apply(last), expected, rtol=1e-5)
""",
        {"rich"},
    ),
    "matplotlib": (
        "import jconvt.plot\n"
        "bars = jconvt.plot.overlap(5, 4, stride=2).patches\n"
        "assert [bar.get_height() for bar in bars][:4] == [1, 1, 2, 2]",
        set(),
    ),
    "haiku": (
        """
import haiku
up = haiku.transform(lambda x: haiku.Conv1DTranspose(3, 4, stride=2)(x))
last = x.swapaxes(1, 2)
params = up.init(jax.random.key(0), last)
expected = up.apply(params, None, last)
(own,) = params.values()
found = interop.from_haiku(own, stride=2).apply(last)
np.testing.assert_allclose(found, expected, rtol=1e-5)
""",
        set(),
    ),
}


@pytest.mark.parametrize("package", ALONE)
def test_with_one_optional_package(package):
    pytest.importorskip(package, reason=f"the doors of {package} need it")
    code, needed = ALONE[package]
    imported = run(DOORS + code, OPTIONAL - {package} - needed)
    assert imported & OPTIONAL <= {package} | needed
    assert package in imported
