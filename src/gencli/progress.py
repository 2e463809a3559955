"""How far a long task is, as one line on stderr that the next one overwrites; only where a person watches. Knows no task."""

from __future__ import annotations

import time
from collections.abc import Callable

from gencli.bar import bar, fit
from gencli.terminal import Messages, visible

SOONEST, OFTEN = 0.3, 0.1  # seconds: until a bar is shown at all, and between two of them
BAR = 24  # cells
TELLING = 0.02  # the share that must be done before the time left can be told


class Progress:
    """Shows texts or bars, each in the place of the one before; a bar once `soonest` seconds have passed."""

    def __init__(self, messages: Messages, clock: Callable[[], float] = time.monotonic, soonest: float = SOONEST) -> None:
        self._messages, self._clock = messages, clock
        self._shows = messages.draws and not messages.quiet
        self._began = clock()
        self._next = self._began + soonest
        self._shown = False

    def __call__(self, text: str) -> None:
        """Show a text at once."""
        if self._shows:
            columns, _ = self._messages.size()
            self._messages.raw(f"\r{fit(visible(text, on_one_line=True), columns - 1).rstrip(' ')}\x1b[K")
            self._shown = True

    def share(self, text: str, done: float, total: float = 1) -> None:
        """Show how much of it is done, and how long the rest takes at this pace, if it takes long and not too often."""
        now = self._clock()
        if self._shows and now >= self._next:
            self._next, share = now + OFTEN, done / total
            parts = f" of {total:,}" if total > 1 else ""
            left = f", {(now - self._began) * (1 - share) / share:.0f} s left" if share >= TELLING else ""
            self(f"{text} {fit(bar(share, BAR), BAR)} {int(100 * share):3d} %{parts}{left}")

    def clear(self) -> None:
        if self._shown:
            self._shown = False
            self._messages.raw("\r\x1b[K")
