"""``python -m benchmarks.cliffs.report FILES``: several searches as one page of tables.

The files may come from different processors and versions of JAX; each of these has its
own rows. The page goes to ``benchmarks/results/cliffs.md``, the numbers beside it.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cliffs.contenders import AUTO, NATIVE, TORCH
from benchmarks.cliffs.lines import Line, layer_of, read
from benchmarks.report import geometric_mean, markdown, milliseconds, number

RESULTS = Path(__file__).parent.parent / "results"
MOST_SHOWN = 20

Group = tuple[str, str, str, str]
"""Processor, its vectors, version of JAX, mode."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Join the files, print the page and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cliffs.report")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    parsed = parser.parse_args(arguments)
    lines = newest(read(parsed.files))
    page = text(lines)
    print(page)
    parsed.out.mkdir(parents=True, exist_ok=True)
    (parsed.out / "cliffs.md").write_text(page)
    data = json.dumps(summaries(lines), indent=1) + "\n"
    (parsed.out / "cliffs.json").write_text(data)


def newest(lines: Sequence[Line]) -> list[Line]:
    """Of lines about the same layer that differ in their commit, the last one."""
    names = ("seed", "number", "mode", "processor", "isa", "jax")
    return list({tuple(line[name] for name in names): line for line in lines}.values())


# Ratios of one line -------------------------------------------------------------------


def over(line: Line, other: str) -> float | None:
    """The automatic choice's time over another contender's."""
    seconds = line["seconds"]
    if AUTO not in seconds or other not in seconds:
        return None
    return seconds[AUTO] / seconds[other]


def regret(line: Line) -> float | None:
    """The chosen candidate's time over that of the best candidate."""
    found, chosen = candidates(line), line.get("chosen", "")
    return found[chosen] / min(found.values()) if chosen in found else None


def candidates(line: Line) -> dict[str, float]:
    """The times of the candidates alone."""
    apart = (AUTO, TORCH, NATIVE)
    return {name: s for name, s in line["seconds"].items() if name not in apart}


def slowness(line: Line) -> float:
    """The largest of the three ratios, by which the worst layers are found."""
    ratios = (ratio(line) for ratio in RATIOS.values())
    return max((r for r in ratios if r is not None), default=math.nan)


RATIOS: dict[str, Callable[[Line], float | None]] = {
    "over PyTorch": lambda line: over(line, TORCH),
    "over JAX's own form": lambda line: over(line, NATIVE),
    "choice over best candidate": regret,
}


# Summaries and tables -----------------------------------------------------------------


def summaries(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """For each group of lines: means and maxima of its ratios, and its worst layers."""
    return [
        {
            **dict(zip(("processor", "isa", "jax", "mode"), group, strict=True)),
            "layers": len(found),
            "ratios": {name: _summary(found, name) for name in RATIOS},
            "worst": [_shown(line) for line in worst(found)],
            "lost": [
                {"call": call(line), "contender": name, "why": why}
                for line in found
                for name, why in line["lost"].items()
            ],
        }
        for group, found in sorted(_groups(lines).items())
    ]


def _groups(lines: Sequence[Line]) -> dict[Group, list[Line]]:
    found: dict[Group, list[Line]] = {}
    for line in lines:
        group = line["processor"], line["isa"], line["jax"], line["mode"]
        found.setdefault(group, []).append(line)
    return found


def _summary(lines: Sequence[Line], name: str) -> dict[str, float | int | None]:
    ratios = [r for line in lines if (r := RATIOS[name](line)) is not None]
    mean = geometric_mean(ratios) if ratios else None
    return {"layers": len(ratios), "mean": mean, "worst": max(ratios, default=None)}


def worst(lines: Sequence[Line]) -> list[Line]:
    """The lines with the largest ratios, the worst first."""
    timed = [line for line in lines if not math.isnan(slowness(line))]
    return sorted(timed, key=slowness, reverse=True)[:MOST_SHOWN]


def _shown(line: Line) -> dict[str, Any]:
    return {
        "call": call(line),
        "kind": line["layer"]["source"],
        "seconds": line["seconds"].get(AUTO),
        "ratios": {name: ratio(line) for name, ratio in RATIOS.items()},
        "chosen": line.get("chosen", ""),
        "better": _better(line.get("chosen", ""), candidates(line)),
    }


def _better(chosen: str, found: dict[str, float]) -> str:
    """The maps that the best candidate computes otherwise than the chosen one."""
    best = min(found, key=lambda name: found[name], default="")
    maps = set(chosen.split("; "))
    return "; ".join(part for part in best.split("; ") if part not in maps)


def call(line: Line) -> str:
    """The layer as a call of `jconvt.conv_transpose`, without what is the default."""
    layer, rank = layer_of(line), len(line["layer"]["spatial"])
    shape = layer.input_shape
    options = dict(layer.options)
    usual = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}
    for name, value in usual.items():
        if options[name] in (value, (value,) * rank):
            del options[name]
    if line["channels_last"]:
        space = "DHW"[3 - rank :]
        shape = (shape[0], *shape[2:], shape[1])
        options["dimension_numbers"] = (f"N{space}C", f"IO{space}", f"N{space}C")
    given = [f"ones({shape})", f"ones({layer.weight_shape})"]
    given += [f"{name}={value}" for name, value in options.items()]
    return f"conv_transpose({', '.join(given)})"


def text(lines: Sequence[Line]) -> str:
    """The page: a table of summaries, then the worst layers of each group."""
    found = summaries(lines)
    parts = [
        "# Search for slow layers",
        "Random layers of the kinds that networks have (`benchmarks/cliffs/draw.py`), "
        "timed with `make cliffs`. The first two ratios are the time of `jconvt` over "
        "the other's, the third is that of the chosen candidate over the fastest one: "
        "above 1, something else was faster. Each cell has the geometric mean over the "
        "layers, and the worst layer.",
        _table(found),
    ]
    for group in found:
        parts += [f"## {_title(group)}", _worst_table(group), _lost_list(group)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(found: Sequence[dict[str, Any]]) -> str:
    head = ["processor", "vectors", "JAX", "mode", "layers", *RATIOS]
    rows = [
        [
            *(group[name] for name in ("processor", "isa", "jax", "mode")),
            str(group["layers"]),
            *(_cell(group["ratios"][name]) for name in RATIOS),
        ]
        for group in found
    ]
    return markdown(head, rows)


def _cell(summary: dict[str, Any]) -> str:
    if summary["mean"] is None:
        return ""
    return f"{number(summary['mean'])}, worst {number(summary['worst'])}"


def _title(group: dict[str, Any]) -> str:
    return f"{group['mode']}: {group['processor']}, {group['isa']}, JAX {group['jax']}"


def _worst_table(group: dict[str, Any]) -> str:
    rows = [
        [
            f"`{line['call']}`",
            milliseconds(line["seconds"]),
            *(number(line["ratios"][name]) for name in RATIOS),
            line["chosen"],
            line["better"],
        ]
        for line in group["worst"]
    ]
    head = ["call", "ms", *RATIOS, "chosen", "the best candidate differs in"]
    return markdown(head, rows) if rows else ""


def _lost_list(group: dict[str, Any]) -> str:
    return "\n".join(
        f"- No time of {lost['contender']} for `{lost['call']}`: {lost['why']}."
        for lost in group["lost"]
    )


if __name__ == "__main__":
    main()
