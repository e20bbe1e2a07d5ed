"""A checkout on the path, the wheel and the sdist: version, contents, imports."""

import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import jconvt

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = f"jconvt-{jconvt.__version__}"


def run(*command, cwd=None, **environment):
    """What a command prints; it must succeed."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(*arguments, path, cwd=None):
    """Python in a process of its own: `path` comes first, and no working directory."""
    return run(sys.executable, "-P", *arguments, cwd=cwd, PYTHONPATH=str(path))


def files_under(folder):
    """Paths of the files in a folder, without the caches of Python and of tools."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and not {"__pycache__", ".hypothesis", ".ruff_cache"} & {*path.parts}
    }


# A checkout ---------------------------------------------------------------------------


def test_a_checkout_has_its_own_version_whatever_is_installed(tmp_path):
    """Also where the metadata of another version are found first."""
    metadata = tmp_path / "jconvt-9.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: jconvt\nVersion: 9.9\n"
    )
    code = """
import importlib.metadata, jconvt
print(importlib.metadata.version("jconvt"), jconvt.__version__, jconvt.__file__)
"""
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    init = str(ROOT / "jconvt/__init__.py")
    assert python("-c", code, path=path).split() == ["9.9", jconvt.__version__, init]


def test_a_checkout_that_is_not_installed():
    """As if no package had metadata."""
    code = """
import importlib.metadata, sys
def missing(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = missing
import jconvt
from jconvt.__main__ import main
main(["shape", "1,2,5", "2,3,4"])
main(["--version"])
"""
    printed = python("-c", code, path=ROOT)
    assert printed.startswith("1,3,8\n")
    assert printed.endswith(f"\n{jconvt.__version__}\n")


# Without Flax, and with one that is broken --------------------------------------------

# What a Flax of that kind holds -> the error that must show.
FLAX = {
    "something it needs is missing": (
        "import a_package_that_flax_needs",
        "ModuleNotFoundError: No module named 'a_package_that_flax_needs'",
    ),
    "something it needs is older": (
        "from json import a_newer_name",
        "ImportError: cannot import name 'a_newer_name'",
    ),
    "a part is missing": ("", "ImportError: cannot import name "),
    "it fails": ("raise RuntimeError('of Flax')", "RuntimeError: of Flax"),
}


@pytest.mark.parametrize("flavour", ["nnx", "linen"])
@pytest.mark.parametrize("how", FLAX)
def test_what_is_wrong_inside_flax_is_told_as_it_is(tmp_path, how, flavour):
    body, error = FLAX[how]
    (tmp_path / "flax").mkdir()
    (tmp_path / "flax/__init__.py").write_text(body)
    code = f"""
try:
    import jconvt.{flavour}
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""
    printed = python("-c", code, path=f"{tmp_path}{os.pathsep}{ROOT}")
    assert printed.startswith(error)


WITHOUT_FLAX = """
import sys
sys.modules["flax"] = None  # as if it were not installed
import jax, numpy as np
import jconvt, jconvt.initializers, jconvt.sharding
from jconvt.interop import from_torch
assert jconvt.output_shape((1, 2, 5), (2, 3, 4), stride=2) == (1, 3, 12)
assert jconvt.explain((1, 2, 5), (2, 3, 4), stride=2).output_shape == (1, 3, 12)
for rank in (1, 2, 3):
    x, w = np.ones((1, 2) + (5,) * rank, "f"), np.ones((2, 3) + (4,) * rank, "f")
    door = getattr(jconvt, f"conv_transpose{rank}d")
    y = jax.jit(lambda x, w: door(x, w, stride=2))(x, w)
    dx = jax.grad(lambda x: door(x, w, stride=2).sum())(x)
    z = jconvt.conv_transpose(x, w, stride=2)
    np.testing.assert_array_equal(y, z)
    assert y.shape == (1, 3) + (12,) * rank and dx.shape == x.shape
x, w = np.ones((1, 2, 5), "f"), np.ones((2, 3, 4), "f")
y = jconvt.conv_transpose1d(x, w, stride=2)
np.testing.assert_array_equal(from_torch({"weight": w}, stride=2).apply(x), y)
jconvt.initializers.torch_uniform()(jax.random.key(0), w.shape)
mesh = jax.make_mesh((1,), ("space",), axis_types=(jax.sharding.AxisType.Auto,))
shares = jax.shard_map(
    lambda x: jconvt.sharding.conv_transpose(
        x, w, mesh_axes=("space",), stride=2, padding=1
    ),
    mesh=mesh,
    in_specs=jax.P(None, None, "space"),
    out_specs=jax.P(None, None, "space"),
)
np.testing.assert_array_equal(shares(x), y[..., 1:-1])
assert not [n for n, m in sys.modules.items() if n.split(".")[0] == "flax" and m]
for flavour in ("nnx", "linen"):
    try:
        __import__(f"jconvt.{flavour}")
    except ImportError as error:
        assert error.name == "flax" and error.__suppress_context__
        print(error)
"""


def test_all_but_the_layers_works_without_flax():
    assert python("-c", WITHOUT_FLAX, path=ROOT).splitlines() == [
        f"jconvt.{flavour} needs Flax, which is not installed: `pip install flax`. The "
        "functions of jconvt itself work without it."
        for flavour in ("nnx", "linen")
    ]


# Names that `jconvt` itself lacks -----------------------------------------------------


def test_the_hints_know_all_that_the_modules_hold():
    """Each module's own list, without what `jconvt` itself has under that name too."""
    for module, names in jconvt._MODULES.items():
        held = set(importlib.import_module(f"jconvt.{module}").__all__)
        assert held - set(jconvt.__all__) == set(names), module
        assert len(names) == len(set(names))
    public = {m.name for m in pkgutil.iter_modules(jconvt.__path__)}
    assert {name for name in public if name[0] != "_"} == set(jconvt._MODULES)


LAYERS = "jconvt.nnx and jconvt.linen"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ConvTranspose2d", f"; it is in {LAYERS}: `import jconvt.nnx`"),
        ("ConvTranspose", f"; it is in {LAYERS}: `import jconvt.nnx`"),
        ("replace_conv_transpose", "; it is in jconvt.nnx: `import jconvt.nnx`"),
        ("from_torch", "; it is in jconvt.interop: `import jconvt.interop`"),
        ("conv2d_transpose", ". Did you mean: 'conv_transpose2d'?"),
        ("conv_transpose_2d", ". Did you mean: 'conv_transpose2d'?"),
        ("deconvolution", ". Did you mean: 'conv_transpose'?"),
        ("deconv2d", ". Did you mean: 'conv_transpose2d'?"),
        ("functional", ". Did you mean: 'conv_transpose'?"),
        ("expalin", ". Did you mean: 'explain'?"),
        ("nxn", ". Did you mean: 'nnx'?"),
        ("Conv3DTranspose", f". Did you mean: 'ConvTranspose3d', in {LAYERS}?"),
        ("form_torch", ". Did you mean: 'from_torch', in jconvt.interop?"),
        ("abacus", ""),
    ],
)
def test_a_name_that_is_elsewhere_or_misspelt(name, hint):
    with pytest.raises(AttributeError) as caught:
        getattr(jconvt, name)
    assert str(caught.value) == f"module 'jconvt' has no attribute {name!r}{hint}"
    assert caught.value.name == name
    assert not hasattr(jconvt, name)


def test_a_traceback_suggests_once():
    """Python adds suggestions of its own to an AttributeError that has an object."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import jconvt; jconvt.conv_transposed2d"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.stderr.count("Did you mean") == 1


# The wheel and the sdist --------------------------------------------------------------


def build(folder, *targets, source=ROOT):
    """The built file, by hatchling itself: no network, and no environment is made."""
    pytest.importorskip("hatchling")
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, *targets, cwd=source)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(tmp_path_factory.mktemp("wheel"), "-t", "wheel")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build(tmp_path_factory.mktemp("sdist"), "-t", "sdist")


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder into which pip has installed the wheel, without its dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index")
    pip += ("--no-deps", "--disable-pip-version-check", "--root-user-action=ignore")
    run(*pip, "--target", folder, wheel)
    return folder


def test_the_wheel_holds_the_package_alone(wheel):
    assert wheel.name == f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = {name for name in names if name.startswith(f"{NAME}.dist-info/")}
    assert names - about == files_under("jconvt")
    assert {"jconvt/py.typed", "jconvt/_lowerings/patches/__init__.py"} <= names
    assert {name.removeprefix(f"{NAME}.dist-info/") for name in about} == {
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"),
    }


def test_the_metadata_of_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"{NAME}.dist-info/METADATA").decode()
    found = Parser().parsestr(text)
    assert (found["Name"], found["Version"]) == ("jconvt", jconvt.__version__)
    assert found["Metadata-Version"] == "2.4"
    assert found["Requires-Python"] == PROJECT["requires-python"]
    needs = {need for need in found.get_all("Requires-Dist") if "extra ==" not in need}
    assert needs == set(PROJECT["dependencies"])
    assert set(found.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert found.get_payload().startswith((ROOT / "README.md").read_text()[:100])


def test_with_an_address_no_link_of_the_description_is_relative(tmp_path, monkeypatch):
    """A package index shows README, and has none of the files beside it."""
    address = "https://example.org/owner/jconvt"
    monkeypatch.setenv("JCONVT_ADDRESS", f"{address}/")
    made = build(tmp_path, "-t", "wheel")
    with zipfile.ZipFile(made) as archive:
        text = archive.read(f"{NAME}.dist-info/METADATA").decode()
    found = Parser().parsestr(text)
    urls = found.get_all("Project-URL")
    assert f"Source, {address}" in urls
    assert len(urls) == 4
    description = found.get_payload()
    readme = (ROOT / "README.md").read_text()
    pattern = r'\]\(([^)]*)\)|src="([^"]*)"'
    links = ["".join(pair) for pair in re.findall(pattern, description)]
    assert len(links) == len(re.findall(pattern, readme)) > 10
    assert all(link.startswith("https://") for link in links)
    tag = f"v{jconvt.__version__}"
    for where, path in (("raw", "docs/diagrams/times.svg"), ("blob", "CHANGELOG.md")):
        assert f"{address}/{where}/{tag}/{path}" in links
    for whole in (f"{address}/blob/{tag}/", f"{address}/raw/{tag}/"):
        description = description.replace(whole, "")
    assert description == readme


def test_the_sdist_holds_the_tests_too(sdist):
    with tarfile.open(sdist) as archive:
        names = {member.name.removeprefix(f"{NAME}/") for member in archive}
        about = archive.extractfile(f"{NAME}/PKG-INFO").read()
    assert about.startswith(b"Metadata-Version: 2.4\n")
    for folder in ("jconvt", "tests", ".github", ".ci"):
        assert {n for n in names if n.startswith(f"{folder}/")} == files_under(folder)
    single = {"pyproject.toml", "README.md", "LICENSE", "conftest.py", "Makefile"}
    single |= {"hatch_build.py"}
    single |= {"PKG-INFO", ".readthedocs.yaml", "CITATION.cff", "CHANGELOG.md"}
    assert single | {"CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md"} <= names


def test_the_sdist_makes_the_same_wheel(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    unpacked = tmp_path / "unpacked" / NAME
    again = build(tmp_path / "made", "-t", "wheel", source=unpacked)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()
    assert python("-m", "jconvt", "--version", path=unpacked) == (
        f"{jconvt.__version__}\n"
    )


def test_the_installed_wheel_answers_at_a_shell(installed, tmp_path):
    """By both names: the command that pip made, and `python -m jconvt`."""
    command = str(installed / "bin" / "jconvt")
    version = run(command, "--version", cwd=tmp_path, PYTHONPATH=str(installed))
    assert version == f"{jconvt.__version__}\n"
    words = ("-m", "jconvt", "shape", "1,64,16,16", "64,32,4,4", "--stride", "2")
    printed = python(*words, path=installed, cwd=tmp_path)
    assert printed.startswith("1,32,34,34\n")


def test_the_installed_wheel_computes(installed, tmp_path):
    code = """
import importlib.metadata, numpy as np
import jconvt, jconvt.linen, jconvt.nnx, jconvt.interop, jconvt.plot
y = jconvt.conv_transpose2d(
    np.arange(4.0, dtype="f").reshape(1, 1, 2, 2), np.ones((1, 1, 2, 2), "f"), stride=2
)
print(*np.asarray(y).astype(int).ravel())
print(importlib.metadata.version("jconvt"), jconvt.__version__)
print(jconvt.__file__)
"""
    printed = python("-c", code, path=installed, cwd=tmp_path)
    assert printed.splitlines() == [
        "0 0 1 1 0 0 1 1 2 2 3 3 2 2 3 3",
        f"{jconvt.__version__} {jconvt.__version__}",
        str(installed / "jconvt/__init__.py"),
    ]
