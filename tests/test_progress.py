"""One line that the next one overwrites, only on a terminal, and nothing left of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gencli import progress as module
from gencli.progress import Progress


class Stderr(SimpleNamespace):
    """What was written to it, and a window of 40 columns."""

    def __init__(self, draws=True, quiet=False):
        super().__init__(draws=draws, quiet=quiet, written="")

    def size(self):
        return 40, 24

    def raw(self, text):
        self.written += text


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    now = SimpleNamespace(at=100.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now.at)
    return now


def test_a_text_overwrites_the_one_before_and_is_taken_away():
    stderr = Stderr()
    shown = Progress(stderr)
    shown("one")
    shown("x" * 60)
    shown.clear()
    assert stderr.written == "\rone\x1b[K\r" + "x" * 39 + "\x1b[K\r\x1b[K"


def test_a_bar_waits_until_it_takes_long_and_is_not_drawn_too_often(clock):
    stderr = Stderr()
    shown = Progress(stderr)
    shown.share("scoring", 1, 2000)
    assert stderr.written == ""
    clock.at += 0.31
    shown.share("scoring", 1000, 2000)
    assert stderr.written == f"\rscoring {'█' * 12}{' ' * 12}  50 % \x1b[K"
    clock.at += 0.05
    shown.share("scoring", 1001, 2000)
    assert stderr.written.count("\r") == 1
    clock.at += 0.06
    shown.share("scoring", 2000, 2000)
    assert stderr.written.count("\r") == 2


@pytest.mark.parametrize(("draws", "quiet"), [(False, False), (True, True)])
def test_nobody_watches(draws, quiet):
    stderr = Stderr(draws, quiet)
    shown = Progress(stderr)
    shown("text")
    shown.clear()
    assert stderr.written == ""


def test_nothing_shown_is_nothing_to_clear():
    stderr = Stderr()
    Progress(stderr).clear()
    assert stderr.written == ""
