"""The figures of all runs, added up in a JSON file."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fuzz.run import Result

PACKAGES = ("jax", "jaxlib", "flax", "numpy", "hypothesis", "torch")


def record(path: Path, result: Result) -> None:
    """Add a run to the file, which is made where there is none."""
    found = (
        json.loads(path.read_text()) if path.exists() else {"runs": [], "counts": {}}
    )
    found["versions"] = {name: _version(name) for name in PACKAGES}
    found["runs"].append(
        {
            "seed": result.seed,
            "seconds": round(result.seconds),
            "counts": result.counts,
            "failures": [list(failure) for failure in result.failures],
        }
    )
    for group, counts in (("counts", result.counts), ("tally", result.tally)):
        total = found.setdefault(group, {})
        for name, n in counts.items():
            total[name] = total.get(name, 0) + n
        found[group] = dict(sorted(total.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
