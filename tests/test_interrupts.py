"""Signals as questions and as ends, in this very process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from gencli import interrupts
from gencli.interrupts import Interrupted, Interrupts

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@pytest.fixture
def installed() -> Iterator[Interrupts]:
    before = [signal.getsignal(number) for number in NUMBERS]
    asked = Interrupts()
    asked.install()
    yield asked
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_where_nobody_asks_a_signal_ends_at_once(installed: Interrupts, number: int, code: int) -> None:
    with pytest.raises(Interrupted) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.code == installed.code == code


def test_where_somebody_asks_the_first_one_is_an_answer_and_the_second_an_end(installed: Interrupts) -> None:
    with installed.asking() as asked:
        assert (asked(), asked.code) == (False, None)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (asked(), asked.code) == (True, 143)
        with pytest.raises(Interrupted) as caught:
            os.kill(os.getpid(), signal.SIGINT)
        assert caught.value.code == 143  # the first one counts
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0  # who ended in time is left in peace


def test_who_does_not_end_in_time_is_ended(installed: Interrupts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "GRACE", 0.05)
    with installed.asking():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted) as caught:
            time.sleep(5)
    assert caught.value.code == 130


def test_a_signal_that_a_parent_ignores_stays_ignored() -> None:
    before = [signal.signal(number, signal.SIG_IGN) for number in NUMBERS[:2]]
    try:
        Interrupts().install()
        os.kill(os.getpid(), signal.SIGTERM)
        assert [signal.getsignal(number) for number in NUMBERS[:2]] == [signal.SIG_IGN] * 2
    finally:
        for number, handler in zip(NUMBERS, before, strict=False):
            signal.signal(number, handler)
