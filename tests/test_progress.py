"""Progress: a line that a person sees, and nobody else."""

from __future__ import annotations

import os

import pytest

from gencli.progress import Progress
from gencli.terminal import Messages
from streams import pipe, terminal


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_terminal_sees_a_bar_and_the_time_that_is_left(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with terminal(2, columns=60) as screen:
        progress = Progress(Messages(), clock)
        progress("loading the model")
        assert screen.read() == "\rloading the model\x1b[K"
        progress.share("short work", 0.9)
        assert screen.read() == ""
        clock.now += 3
        progress.share("temperature=1", 0.25)
        assert screen.read() == "\rtemperature=1 ██████                    25 %, 9 s left\x1b[K"
        progress.share("too soon", 0.5)
        assert screen.read() == ""
        clock.now += 1
        progress.share("of parts", 1, 1000)
        assert screen.read() == f"\rof parts {'':24}   0 % of 1,000\x1b[K"
        progress.clear()
        assert screen.read() == "\r\x1b[K"
        progress.clear()
        assert screen.read() == ""


def test_a_bar_can_wait_longer(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with terminal(2, columns=60) as screen:
        progress = Progress(Messages(), clock, soonest=1.0)
        clock.now += 0.9
        progress.share("loading", 0.5)
        assert screen.read() == ""
        clock.now += 0.2
        progress.share("loading", 0.5)
        assert screen.read().startswith("\rloading ")


def test_no_line_is_wider_than_the_terminal(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with terminal(2, columns=30) as screen:
        progress = Progress(Messages(), clock)
        clock.now += 1
        progress.share("temperature=1 and much more", 0.01)
        line = screen.read().removeprefix("\r").removesuffix("\x1b[K")
        assert line.startswith("temperature=1")
        assert len(line) <= 29


def test_what_moves_a_terminal_is_shown_and_not_obeyed(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with terminal(2, columns=60) as screen:
        Progress(Messages(), clock)("a\x1b[2Jb\nc")
        assert screen.read() == "\ra␛[2Jb␊c\x1b[K"


def test_nobody_else_sees_it(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with pipe(2) as read:
        progress = Progress(Messages(), clock)
        progress("x")
        progress.clear()
        os.write(2, b"end")
        assert os.read(read, 100) == b"end"
    with terminal(2) as screen:
        Progress(Messages(quiet=True), clock)("x")
        assert screen.read() == ""
    monkeypatch.setenv("TERM", "dumb")
    with terminal(2) as screen:
        Progress(Messages(), clock)("x")
        assert screen.read() == ""
