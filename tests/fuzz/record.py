"""The figures of all runs, added up in a JSON file, and as a page beside it."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fuzz.kinds import KINDS
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
    path.with_suffix(".md").write_text(page(found))


def page(found: dict[str, Any]) -> str:
    """The figures in Markdown."""
    runs = found["runs"]
    seeds = ", ".join(str(run["seed"]) for run in runs)
    lines = [
        "# Runs of the fuzzer",
        "",
        f"{sum(found['counts'].values()):,} configurations, distinct in each of "
        f"{len(runs)} runs"
        f" of {sum(run['seconds'] for run in runs):,} seconds in all, seeds {seeds}; "
        + ", ".join(f"{name} {v}" for name, v in found["versions"].items())
        + ".",
        "",
        "| kind | what is checked | configurations |",
        "|---|---|---|",
        *(f"| {k} | {KINDS[k].what} | {n:,} |" for k, n in found["counts"].items()),
        "",
        "Those that are calls with arrays, by what they are:",
        "",
        "| | configurations |",
        "|---|---|",
        *(f"| {name} | {n:,} |" for name, n in found["tally"].items()),
    ]
    failures = [(run["seed"], *failure) for run in runs for failure in run["failures"]]
    lines += ["", f"Failures: {len(failures)}."]
    for seed, kind, part, message in failures:
        lines += ["", f"Seed {seed}, {kind}, part {part}:", "", "```", message, "```"]
    return "\n".join(lines) + "\n"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
