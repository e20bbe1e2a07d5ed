"""A progress bar on a terminal, where Rich is installed."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def progress(steps: int) -> Generator[Callable[[str], None], None, None]:
    """Gives a function to call when a step begins, with what the step does.

    It writes to standard error, and nothing where that is no terminal.
    """
    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda what: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=steps)
        done = 0

        def begin(what: str) -> None:
            nonlocal done
            bar.update(task, description=what, completed=done)
            done += 1

        yield begin
