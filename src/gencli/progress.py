"""How far a long task is, as one line on stderr that the next one overwrites; only where a person watches. Knows no task."""

from __future__ import annotations

import time

from gencli.bar import bar, fit
from gencli.terminal import Messages

SOONEST, OFTEN = 0.3, 0.1  # seconds: until a bar is shown at all, and between two of them
BAR = 24  # cells


class Progress:
    """Shows texts or bars, each in the place of the one before."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._shows = messages.draws and not messages.quiet
        self._next = time.monotonic() + SOONEST
        self._shown = False

    def __call__(self, text: str) -> None:
        """Show a text at once."""
        if self._shows:
            columns, _ = self._messages.size()
            self._messages.raw(f"\r{text[: columns - 1]}\x1b[K")
            self._shown = True

    def share(self, text: str, done: int, total: int) -> None:
        """Show how much of it is done, if it takes long and not too often."""
        if self._shows and time.monotonic() >= self._next:
            self._next = time.monotonic() + OFTEN
            self(f"{text} {fit(bar(done / total, BAR), BAR)} {100 * done // total:3d} % of {total:,}")

    def clear(self) -> None:
        if self._shown:
            self._shown = False
            self._messages.raw("\r\x1b[K")
