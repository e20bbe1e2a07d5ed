"""The progress bar of `jconvt.tune`: on a terminal alone."""

import io
import sys

import pytest

from jconvt._tune.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress(2) as begin:
        begin("the first")
        begin("the second")
    return stream.getvalue()


def test_a_terminal_shows_what_is_done(monkeypatch):
    pytest.importorskip("rich")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    text = shown(monkeypatch, Terminal())
    assert "the second" in text
    assert "50%" in text


def test_elsewhere_nothing_is_written(monkeypatch):
    assert not shown(monkeypatch, io.StringIO())
