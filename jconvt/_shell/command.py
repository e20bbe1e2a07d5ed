"""What a command is: its name, help, arguments and function; and the parser of all."""

import argparse
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from jconvt._call.arguments import did_you_mean

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
    """An argument parser whose errors are one line that may say what was meant."""

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Leaves with the error that no argument of this command takes `words`."""
        message = f"unrecognized arguments: {' '.join(words)}"
        if all(word.isdigit() for word in words):
            self.error(f"{message} (a shape is one argument, such as 1,64,16,16)")
        options = (word.partition("=")[0] for word in words if word[:2] == "--")
        hints = [
            did_you_mean(option, self._option_string_actions) for option in options
        ]
        self.error(_sentences(message, *hints))

    def error(self, message: str) -> NoReturn:
        """Prints `message` and leaves with status 2."""
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)$", message)
        if choice:
            message = _sentences(
                message, did_you_mean(choice[1], re.findall(r"\w+", choice[2]))
            )
        if message.endswith("expected one argument"):
            # argparse takes it for an option.
            message += " (what begins with a minus sign follows an =: --padding=-1:2)"
        if "required: " in message:
            message += " (see --help)"
        self.exit(2, f"{self.prog}: {message}\n")


def make_parser(commands: tuple[Command, ...], version: str) -> Parser:
    """The parser of the whole command line.

    What it parses has `run`, the command's own, and `refuse`, of the command's parser.
    """
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
        place.set_defaults(run=command.run, refuse=place.refuse)
    return parser


def _sentences(message: str, *hints: str) -> str:
    """`message`, ended by a full stop where a hint follows."""
    return message + "." * any(hints) + "".join(hints)


def _examples_of(examples: dict[str, tuple[tuple[str, str], ...]]) -> str:
    lines = ["examples:"]
    for name, shown in examples.items():
        for what, arguments in shown:
            lines += [f"  {what}", f"    {PROGRAM} {name} {arguments}".rstrip()]
    return "\n".join(lines)
