"""``python -m benchmarks.aot``: compile the layers for a target, and read."""

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from benchmarks.aot.bench import batches
from benchmarks.aot.forms import FORMS, LAYOUTS
from benchmarks.aot.maps import MAPS
from benchmarks.aot.options import Options
from benchmarks.aot.report import as_result
from benchmarks.aot.targets import TARGETS
from benchmarks.environment import environment
from benchmarks.layers import zoo

RESULTS = Path(__file__).parent.parent / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and write them if they are whole or have a place to go."""
    parser = make_parser()
    parsed = vars(parser.parse_args(arguments))
    out: Path | None = parsed.pop("out")
    options = Options(**parsed)
    target = TARGETS[options.target]
    for dtype in set(options.dtypes) - set(target.dtypes):
        parser.error(f"--dtype: a {target.title} does not compute in {dtype}")
    if missing := target.missing():
        sys.exit(f"not installed: {', '.join(missing)}; `make aot` installs it")
    folder = out or (RESULTS if options.whole else None)
    place = target.place()
    environment()  # now, for the commit may change while all of it compiles
    for batch in batches(options, place):
        result = as_result(batch, options)
        print(result.text())
        if folder is not None:
            files = result.write(folder)
            print(f"written: {', '.join(map(str, files))}\n")


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.aot", description=__doc__
    )
    parser.add_argument("--target", choices=TARGETS, required=True)
    rows = [layer.name for layer in zoo()]
    dtypes = {dtype for target in TARGETS.values() for dtype in target.dtypes}
    defaults = Options(target="", rows=rows)
    for flag, name, choices, help in (
        ("--rows", "rows", rows, "layers of the zoo"),
        ("--maps", "maps", MAPS, "what is computed of them"),
        ("--lowerings", "forms", FORMS, "how they are written"),
        ("--dtype", "dtypes", dtypes, "of all arrays; float16 on a GPU alone"),
        ("--layouts", "layouts", LAYOUTS, "where the images' channels stand"),
    ):
        default = getattr(defaults, name)
        parser.add_argument(
            flag,
            dest=name,
            type=_some_of(choices),
            default=default,
            help=f"{help}; by comma, of {', '.join(choices)}",
        )
    parser.add_argument(
        "--kept",
        type=Path,
        default=defaults.kept,
        help="file of what has been read of each program, which is not compiled again; "
        "default %(default)s",
    )
    parser.add_argument(
        "--only-kept",
        action="store_true",
        help="compile nothing: tables of what has been read so far",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder to write to; default benchmarks/results, if no rows, maps or "
        "lowerings are chosen",
    )
    return parser


def _some_of(choices: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(","))
        for unknown in set(names) - set(choices):
            listed = ", ".join(choices)
            message = f"{unknown!r} is none of {listed}"
            raise argparse.ArgumentTypeError(message)
        return names

    return parse


if __name__ == "__main__":
    main()
