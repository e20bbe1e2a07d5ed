"""The functions' signatures, as the design has them; and the version.

`test_public_surface.py` holds the whole surface to a snapshot.
"""

import importlib.metadata
import importlib.resources
import inspect
import subprocess
import sys
from inspect import Parameter

import pytest

import jconvt

POSITIONAL, KEYWORD = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
REQUIRED = Parameter.empty

NUMBERS = {
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
}
HOW = {"precision": None, "preferred_element_type": None, "lowering": "auto"}
GENERAL = {
    **NUMBERS,
    "output_size": None,
    "groups": 1,
    "dilation": 1,
    "dimension_numbers": None,
}
ARRAYS = {"input": REQUIRED, "weight": REQUIRED, "bias": None}
SHAPES = {"input_shape": REQUIRED, "weight_shape": REQUIRED}
SEED = {**ARRAYS, **NUMBERS, "groups": 1, "dilation": 1}


def fixed(data_format):
    return SEED, {"output_size": None, "data_format": data_format, **HOW}


# Function -> what may be positional, and what is keyword-only, with the defaults.
SIGNATURES = {
    "conv_transpose1d": fixed("NCW"),
    "conv_transpose2d": fixed("NCHW"),
    "conv_transpose3d": fixed("NCDHW"),
    "conv_transpose": (ARRAYS, {**GENERAL, **HOW}),
    "output_shape": (SHAPES, {**GENERAL, "data_format": None, **HOW}),
}
RECORDS = ["Candidate", "Estimate", "Explanation"]
TUNING = ["tune", "Tuned", "TuneReport", "TunedMap"]
NAMES = ["__version__", *RECORDS, "Lowerings", "explain", *TUNING, *SIGNATURES]


def test_all_is_what_is_public():
    assert sorted(jconvt.__all__) == sorted(NAMES)
    modules = {n for n, v in vars(jconvt).items() if inspect.ismodule(v)}
    # Submodules are attributes once something imports them; `version` makes one name.
    visible = {n for n in dir(jconvt) if not n.startswith("_")} - modules - {"version"}
    assert visible == set(NAMES) - {"__version__"}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    positional, keyword = SIGNATURES[name]
    parameters = inspect.signature(getattr(jconvt, name)).parameters
    found = [(p.name, p.kind, p.default) for p in parameters.values()]
    assert found == [
        *((n, POSITIONAL, default) for n, default in positional.items()),
        *((n, KEYWORD, default) for n, default in keyword.items()),
    ]


def test_explain_takes_the_options_of_output_shape():
    options = dict(inspect.signature(jconvt.explain).parameters)
    assert options.pop("dtype").kind is KEYWORD
    assert options.pop("platform").kind is KEYWORD
    shape = inspect.signature(jconvt.output_shape).parameters
    assert [(p.name, p.kind, p.default) for p in options.values()] == [
        (p.name, p.kind, p.default) for p in shape.values()
    ]


def test_version():
    assert jconvt.__version__ == importlib.metadata.version("jconvt")
    assert jconvt.__version__[0].isdigit()


def test_typed():
    """The annotations are for callers too."""
    assert importlib.resources.files("jconvt").joinpath("py.typed").is_file()


@pytest.mark.parametrize(
    "name", ["initializers", "interop", "linen", "nnx", "sharding", "streaming"]
)
def test_a_module_that_is_not_imported_says_so(name):
    code = f"""
import jconvt
try:
    jconvt.{name}
except AttributeError as error:
    assert str(error).endswith("; `import jconvt.{name}` first"), error
    assert not hasattr(jconvt, "{name}")
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_slip_of_the_pen_has_a_suggestion():
    code = "import jconvt; jconvt.conv_transposed2d"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Did you mean: 'conv_transpose2d'?" in done.stderr
