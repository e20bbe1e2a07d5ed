"""Results as a Markdown table, JSON and a chart."""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Times = Mapping[str, Mapping[str, float]]
"""Row -> contender -> seconds."""

_PACKAGES = (
    "jconvt", "jax", "jaxlib", "flax", "dm-haiku", "equinox", "keras",
    "torch", "onnxruntime", "openvino",
)  # fmt: skip


def environment() -> dict[str, str]:
    """The versions and the device behind a result."""
    found = {"cpu": _cpu(), "cores": str(os.cpu_count()), "python": _python()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _python() -> str:
    return platform.python_version()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    lines = info.read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    flags = next((line for line in lines if line.startswith("flags")), "")
    best = next((f for f in ("avx512f", "avx2", "avx") if f" {f}" in flags), "")
    return f"{names[0] if names else platform.machine()} {best}".strip()


def ratios(times: Times, base: str) -> dict[str, dict[str, float]]:
    """Row -> contender -> time over `base`'s in the same row."""
    return {
        row: {name: t / cells[base] for name, t in cells.items()}
        for row, cells in times.items()
        if base in cells
    }


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean; NaN of none."""
    if not values:
        return math.nan
    return math.exp(sum(map(math.log, values)) / len(values))


def markdown(times: Times, base: str) -> str:
    """A table of ratios over `base`, whose own column is in milliseconds."""
    over = ratios(times, base)
    names = [n for n in _names(times) if n != base]
    head = ["layer", f"{base} (ms)", *names]
    rows = [
        [row, f"{times[row][base] * 1e3:.2f}"]
        + [f"{cells[n]:.2f}" if n in cells else "" for n in names]
        for row, cells in over.items()
    ]
    columns = {n: [c[n] for c in over.values() if n in c] for n in names}
    rows.append(
        ["**geometric mean**", ""]
        + [f"**{geometric_mean(columns[n]):.2f}**" for n in names]
    )
    rows.append(["worst row", ""] + [f"{max(columns[n]):.2f}" for n in names])
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _names(times: Times) -> list[str]:
    names: dict[str, None] = {}
    for cells in times.values():
        names.update(dict.fromkeys(cells))
    return list(names)


def write(folder: Path, name: str, times: Times, base: str, title: str) -> None:
    """Write ``name.md``, ``name.json`` and ``name.svg`` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = environment()
    listed = ", ".join(f"{k} {v}" for k, v in facts.items())
    text = (
        f"# {title}\n\nMedian times over {base}'s (its own in ms): below 1 is faster "
        f"than {base}.\n\n{markdown(times, base)}\n\nMeasured with: {listed}.\n"
    )
    (folder / f"{name}.md").write_text(text)
    data: dict[str, Any] = {"title": title, "environment": facts, "seconds": times}
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    _chart(folder / f"{name}.svg", times, base, title)


def _chart(path: Path, times: Times, base: str, title: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    over = ratios(times, base)
    rows = list(over)
    names = [n for n in _names(times) if n != base]
    fig, ax = plt.subplots(figsize=(8, 0.3 * len(rows) + 1.5), layout="constrained")
    for name in names:
        found = [
            (over[row][name], i) for i, row in enumerate(rows) if name in over[row]
        ]
        ax.plot(*zip(*found, strict=True), "o", ms=5, alpha=0.8, label=name)
    ax.axvline(1, color="black", lw=1)
    ax.set(xscale="log", xlabel=f"time over {base}'s", title=title)
    ax.set_yticks(range(len(rows)), rows, fontsize=8)
    ax.invert_yaxis()
    ax.grid(axis="x", alpha=0.3)
    ax.legend(fontsize=8)
    fig.savefig(path, metadata={"Date": None})
    plt.close(fig)
