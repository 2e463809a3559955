"""JSON lines: every event as one line, the moment it happens. Knows no terminal."""

from __future__ import annotations

from gencli.events import Event, to_json, without_logits
from gencli.terminal import Output


class Jsonl:
    """One event a line, in the published shape, without the logits that a trace beside it keeps."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, event: Event) -> None:
        self._output.write(to_json(without_logits(event)) + "\n")

    def close(self) -> None:
        """Nothing is owed: every line went out when it happened."""
