"""Ctrl-C and SIGTERM: a run is asked to end; whoever does not end soon is ended. Knows no run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 2.0  # seconds between the asking and the ending


class Interrupted(BaseException):
    """The person or the system ended the process; `code` is 128 + the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


class Interrupts:
    """Turns signals into `Interrupted`, or, inside `asking()`, first into a question to be polled.

    Called, it tells whether an end was asked for.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._asking = False

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            # a parent may have chosen that we ignore it (nohup, a shell's background job): leave that
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._caught)

    def __call__(self) -> bool:
        return self._number is not None

    @property
    def code(self) -> int | None:
        """The exit code that the first signal asks for, or None."""
        return None if self._number is None else 128 + self._number

    @contextmanager
    def asking(self) -> Iterator[Interrupts]:
        """Within, the first signal only sets the question; a second one, or two seconds, ends the process."""
        self._asking = True
        try:
            yield self
        finally:
            self._asking = False
            if self._number is not None and hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        first, self._number = self._number is None, self._number or number
        if not (self._asking and first):
            raise Interrupted(self._number)
        if hasattr(signal, "setitimer"):  # a blocked write or a long product must not hold us for ever
            signal.signal(signal.SIGALRM, self._expired)
            signal.setitimer(signal.ITIMER_REAL, GRACE)

    def _expired(self, number: int, frame: FrameType | None) -> None:
        raise Interrupted(self._number or signal.SIGTERM)
