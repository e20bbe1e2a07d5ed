"""What a command is: a name, what it teaches, its arguments and what it does."""

import argparse
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

PROGRAM = "python -m jconvt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
      name: as it is typed.
      summary: a line for the list of commands.
      text: for its own help, before the arguments.
      examples: (what it shows, arguments); they stand in the help and are tested.
      add_arguments: declares them on a parser.
      run: does it; returns the exit status.
    """

    name: str
    summary: str
    text: str
    examples: tuple[tuple[str, str], ...]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Prints `message` and leaves with status 2."""
        if message.endswith("expected one argument"):
            # argparse takes it for an option.
            message += " (what begins with a minus sign follows an =: --padding=-1:2)"
        if "required: " in message:
            message += " (see --help)"
        self.exit(2, f"{self.prog}: {message}\n")


def make_parser(commands: tuple[Command, ...], version: str) -> Parser:
    """The parser of the whole command line; sets `run` in what it parses."""
    parser = Parser(
        prog=PROGRAM,
        description="Transposed convolution for JAX, at a shell.",
        epilog=_examples_of({c.name: c.examples[:1] for c in commands}),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version)
    places = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in commands:
        place = places.add_parser(
            command.name,
            help=command.summary,
            description=textwrap.dedent(command.text).strip(),
            epilog=_examples_of({command.name: command.examples}),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(place)
        place.set_defaults(run=command.run)
    return parser


def _examples_of(examples: dict[str, tuple[tuple[str, str], ...]]) -> str:
    lines = ["examples:"]
    for name, shown in examples.items():
        for what, arguments in shown:
            lines += [f"  {what}", f"    {PROGRAM} {name} {arguments}".rstrip()]
    return "\n".join(lines)
