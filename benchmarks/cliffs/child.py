"""The worker as seen by the search: started, watched, and started again.

A contender may abort its process or run for hours. The worker is then ended, and a new
one races the same layer without that contender.
"""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.environment import ROOT

START = 120.0
"""Seconds in which a worker must be ready: it imports JAX and PyTorch."""

LEAST = 5.0
"""Seconds that a layer has at least, after a contender was lost."""

MOST_LOST = 4
"""After so many workers lost on a layer, the layer itself is given up."""

STARTING = "the start"
"""What is lost when no contender has begun."""

COMMAND = (sys.executable, "-m", "benchmarks.cliffs.worker")


class Silence(Exception):
    """The worker hung or ended; the message says which."""


class Child:
    """A worker that is replaced when it fails.

    If it `insists`, a layer is raced again without a contender that was lost even where
    its time is over.
    """

    def __init__(
        self,
        command: Sequence[str] = COMMAND,
        start: float = START,
        insists: bool = True,
    ) -> None:
        self._command, self._start_within, self._insists = command, start, insists
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.Queue[str] = queue.Queue()

    def race(self, task: dict[str, Any]) -> dict[str, Any]:
        """The times of a task; a contender that ends or stops the worker is in `lost`.

        `task` has the seed and the number of a layer, the mode, whether candidates race
        and the seconds to spend.
        """
        lost: dict[str, str] = {}
        start = time.monotonic()
        for _ in range(MOST_LOST):
            event: dict[str, Any] = {"trying": STARTING, "allowed": self._start_within}
            left = task["budget"] - (time.monotonic() - start)
            if left <= 0 and not self._insists:
                break
            sent = {**task, "budget": max(LEAST, left), "without": sorted(lost)}
            try:
                self._send(sent)
                while "done" not in (following := self._within(event["allowed"])):
                    event = following
                done = following["done"]
                return {**done, "lost": done["lost"] | lost}
            except Silence as reason:
                self.end()
                lost[event["trying"]] = str(reason)
        return {"seconds": {}, "lost": lost, "untried": 0, "chosen": ""}

    def end(self) -> None:
        """End the worker, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _send(self, task: dict[str, Any]) -> None:
        process = self._process or self._start()
        if process.stdin is None:
            raise Silence("no pipe")
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
        except BrokenPipeError as error:
            raise Silence("the process had ended") from error

    def _start(self) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True
        )
        self._process, self._events = process, queue.Queue()
        reader = threading.Thread(
            target=_read, args=(process, self._events), daemon=True
        )
        reader.start()
        self._within(self._start_within)
        return process

    def _within(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._events.get(timeout=seconds)
        except queue.Empty:
            raise Silence(f"longer than {seconds:.0f} s") from None
        if line == _ENDED and self._process is not None:
            raise Silence(f"the process ended with {self._process.wait()}")
        return json.loads(line)


_ENDED = ""


def _read(process: subprocess.Popen[str], events: queue.Queue[str]) -> None:
    for line in process.stdout or ():
        events.put(line)
    events.put(_ENDED)
