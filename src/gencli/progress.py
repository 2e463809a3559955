"""What is being done, as one line on stderr that the next one overwrites; only where a person watches. Knows no work."""

from __future__ import annotations

import time
from collections.abc import Callable

from gencli.bar import bar, fit
from gencli.terminal import Messages, visible

LINE_SECONDS = 0.1
BAR_CELLS = 24


class Progress:
    """A line that tells of long work: `tell(text)` at once, `share(share, text)` with a bar, ten times a second at most."""

    def __init__(self, messages: Messages, clock: Callable[[], float] = time.monotonic) -> None:
        self._messages, self._clock = messages, clock
        self._shows = messages.draws and not messages.quiet
        self._began = clock()
        self._written = -LINE_SECONDS

    def tell(self, text: str) -> None:
        """Show a text."""
        if self._shows:
            columns, _ = self._messages.size()
            self._messages.raw(f"\r{fit(visible(text, on_one_line=True), columns - 1).rstrip(' ')}\x1b[K")

    def share(self, share: float, text: str) -> None:
        """Show how much is done (0 to 1), of what, and how long the rest will take at this pace."""
        now = self._clock()
        if not self._shows or now - self._written < LINE_SECONDS:
            return
        self._written = now
        left = f" · {(now - self._began) * (1 - share) / share:.0f} s left" if share > 0.02 else ""
        self.tell(f"{fit(bar(share, BAR_CELLS), BAR_CELLS)} {share:4.0%}{left} · {text}")

    def clear(self) -> None:
        """Leave nothing of it."""
        if self._shows:
            self._messages.raw("\r\x1b[K")
