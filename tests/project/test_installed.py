"""A checkout on the path, the wheel and the sdist: version, contents, imports."""

import os
import subprocess
import sys
from pathlib import Path

import jconvt

ROOT = Path(__file__).parent.parent.parent


def python(*arguments, **environment):
    """What Python prints in a process of its own; it must succeed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    found = python("-c", code, PYTHONPATH=path).split()
    init = str(ROOT / "jconvt/__init__.py")
    assert found == ["9.9", jconvt.__version__, init]


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
    printed = python("-c", code, PYTHONPATH=str(ROOT))
    assert printed.startswith("1,3,8\n")
    assert printed.endswith(f"\n{jconvt.__version__}\n")
