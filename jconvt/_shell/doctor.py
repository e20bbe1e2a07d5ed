"""`python -m jconvt doctor`: what is installed, where it runs, whether it is right."""

import argparse
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jconvt
from jconvt._shell.command import Command
from jconvt._shell.operation import add_json
from jconvt._shell.tables import Table, show, show_json

TEXT = """
Versions, platform and devices, which optional packages are there, and a self-check: the
output and both gradients of small layers, on the default device, against the definition
written out in NumPy loops. Takes seconds. Exit status 1 if something is wrong.

Paste what it prints into a bug report.
"""

EXAMPLES = (
    ("on the device that JAX takes by itself", ""),
    ("for a program", "--json"),
)

REQUIRED = ("jax", "jaxlib", "flax", "numpy")

OPTIONAL = {
    "rich": "tables of this shell, progress of the demo",
    "matplotlib": "pictures",
    "optax": "the demo",
    "scikit-image": "the demo",
    "torch": "jconvt.interop.from_torch, to_torch",
    "keras": "jconvt.interop.from_keras",
    "equinox": "jconvt.interop.from_equinox, to_equinox",
    "onnx": "jconvt.interop.from_onnx_model, to_onnx",
}
"""Package -> what needs it."""

PREFIXES = ("JAX_", "XLA_", "TPU_", "CUDA_", "TF_GPU_")
"""Environment variables that change what JAX does begin so."""


def run(options: argparse.Namespace) -> int:
    """Prints all; status 1 where a check fails or there is no device."""
    versions = {"jconvt": jconvt.__version__}
    versions |= {package: _version(package) for package in REQUIRED}
    machine = _machine()
    variables = {n: v for n, v in sorted(os.environ.items()) if n.startswith(PREFIXES)}
    optional = {package: _version(package) for package in OPTIONAL}
    outcomes = _outcomes() if machine["devices"] else {"self-check": "no device"}
    healthy = all(outcome == "ok" for outcome in outcomes.values())
    if options.json:
        show_json(
            {
                "versions": versions,
                "machine": machine,
                "environment": variables,
                "optional": optional,
                "checks": outcomes,
                "healthy": healthy,
            }
        )
    else:
        show(
            _table(("what", "value"), versions | machine | variables),
            Table(
                ("optional", "version", "for"),
                tuple((p, v or "-", OPTIONAL[p]) for p, v in optional.items()),
                frozenset({"optional", "version", "for"}),
            ),
            _table(("check", "outcome"), outcomes),
            "all is well" if healthy else "something is wrong: see the outcomes above",
        )
    return 0 if healthy else 1


def _outcomes() -> dict[str, str]:
    from jconvt._shell.checks import checks, outcome_of

    return {name: outcome_of(check) for name, check in checks().items()}


def _table(headings: tuple[str, str], rows: Mapping[str, str | None]) -> Table:
    cells = tuple((name, value or "-") for name, value in rows.items())
    return Table(headings, cells, frozenset(headings))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _machine() -> dict[str, str]:
    import jax
    from jax.dtypes import canonicalize_dtype

    try:
        kinds = [f"{d.platform} ({d.device_kind})" for d in jax.devices()]
        devices = ", ".join(f"{kinds.count(k)} x {k}" for k in dict.fromkeys(kinds))
        why_none = {}
    except RuntimeError as error:  # JAX_PLATFORMS names one that is not there
        devices, why_none = "", {"no device": " ".join(str(error).split())}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "devices": devices,
        **why_none,
        "x64": "on" if canonicalize_dtype("float64").itemsize == 8 else "off",
        "installed in": str(Path(__file__).parent.parent),
    }


COMMAND = Command(
    name="doctor",
    summary="versions, devices, optional parts, and a self-check; for bug reports",
    text=TEXT,
    examples=EXAMPLES,
    add_arguments=add_json,
    run=run,
)
