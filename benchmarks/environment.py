"""The versions, the device and the commit behind a result."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

ROOT = Path(__file__).parent.parent

_PACKAGES = (
    "jconvt", "jax", "jaxlib", "flax", "dm-haiku", "equinox", "keras",
    "torch", "onnxruntime", "openvino", "numpy", "jax-cuda12-plugin",
    "jax-cuda13-plugin", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13",
)  # fmt: skip


@cache
def environment() -> dict[str, str]:
    """Name -> value, read once for a process."""
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "device": jax.devices()[0].device_kind,
        "runtime": _runtime(),
        "driver": _driver(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
    }
    return {name: value for name, value in facts.items() if value}


def _commit() -> str:
    """The commit, with "+" where files other than results differ from it."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return commit + "+" * bool(changed)


def _git(*arguments: str) -> str:
    """The output of git; an empty text without git or outside a clone."""
    try:
        found = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _runtime() -> str:
    """What JAX says of the runtime of an accelerator, such as its version of CUDA."""
    if jax.default_backend() == "cpu":
        return ""
    return " ".join(jax.devices()[0].client.platform_version.split())


def _driver() -> str:
    """The version of NVIDIA's driver, of which neither JAX nor PyTorch tells."""
    info = Path("/proc/driver/nvidia/version")
    if jax.default_backend() == "cpu" or not info.exists():
        return ""
    found = re.search(r"\d+\.\d+(\.\d+)?", info.read_text())
    return found[0] if found else ""


def _processor() -> str:
    """The processor's model and the widest vector instructions that it has."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    lines = info.read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    flags = next((line for line in lines if line.startswith("flags")), "")
    widest = next((f for f in ("avx512f", "avx2", "avx") if f" {f}" in flags), "")
    return f"{names[0] if names else platform.machine()} {widest}".strip()
