"""`python -m jconvt shape|explain|bench|tune|doctor|demo`: the library at a shell."""

import os
import sys
from collections.abc import Sequence

import jconvt
from jconvt import _demo
from jconvt._shell import bench, doctor, explain, shape, tune
from jconvt._shell.command import make_parser

COMMANDS = (
    shape.COMMAND,
    explain.COMMAND,
    bench.COMMAND,
    tune.COMMAND,
    doctor.COMMAND,
    _demo.COMMAND,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status, 2 for what a user can put right."""
    parser = make_parser(COMMANDS, jconvt.__version__)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.refuse(unknown)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except (TypeError, ValueError, RuntimeError) as error:
        # RuntimeError is JAX's: no such device, no memory.
        message = " ".join(str(error).split())
        print(f"jconvt: {message}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` has. Python flushes at its exit too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130  # as a shell counts an interrupt
    return status


if __name__ == "__main__":
    sys.exit(main())
