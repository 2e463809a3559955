"""The shelf of renderers: events -> a screen or a stream, no tensors. Here is their contract; one file holds one renderer.

`text`, `json` and `jsonl` write the product to an `Output`; `bars` writes to the person's terminal. The
product is shown an event first and closed first, so that a panel is drawn under text that is there.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Protocol

from gencli.events import Event


class Renderer(Protocol):
    """Whoever reads a run's events: it shows each one, and is closed at the end, whatever the end was."""

    def show(self, event: Event) -> None:
        """Take one event, and write at once what is certain by it."""

    def close(self) -> None:
        """Write what is still owed; safe to call after a failure, and twice."""


class Together:
    """Several renderers as one, in order. Closing reaches all of them, whatever one of them raises."""

    def __init__(self, *renderers: Renderer) -> None:
        self._renderers = renderers

    def show(self, event: Event) -> None:
        for renderer in self._renderers:
            renderer.show(event)

    def close(self) -> None:
        with ExitStack() as stack:
            for renderer in reversed(self._renderers):
                stack.callback(renderer.close)
