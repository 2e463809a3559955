"""Text: the first sample as it comes, the others whole, in order, a separator between. Knows no terminal sequence."""

from __future__ import annotations

from gencli.events import Event, Finished, Started, Token
from gencli.terminal import Output


class Text:
    """Writes the generated text and nothing else.

    A sample's text ends with one newline, added only where it does not end in one; without `newline`
    the last sample gets none. Between two samples stands a line with `separator`; the separator `\\0`
    (a backslash and a zero) is the NUL byte alone, without newlines around it. With `echo` the prompt
    goes before every sample.
    """

    def __init__(self, output: Output, *, echo: bool = False, newline: bool = True, separator: str = "---") -> None:
        self._output, self._echo, self._newline = output, echo, newline
        self._nul = separator in ("\\0", "\0")
        self._separator = "\0" if self._nul else f"{separator}\n"
        self._prompt = ""
        self._first = self._current = self._end = 0  # samples: the first, the one that streams, one past the last
        self._held: dict[int, list[str]] = {}
        self._finished: set[int] = set()
        self._last = ""  # the last character written of the current sample

    def show(self, event: Event) -> None:
        if isinstance(event, Started):
            self._first = self._current = event.first_sample
            self._end = event.first_sample + event.samples
            self._prompt = event.prompt if self._echo else ""
            self._write(self._prompt)
        elif isinstance(event, Token | Finished):
            if event.sample == self._current:
                self._write(event.text)
            else:
                self._held.setdefault(event.sample, []).append(event.text)
            if isinstance(event, Finished):
                self._finished.add(event.sample)
                while self._current in self._finished and self._current + 1 < self._end:
                    self._next()

    def close(self) -> None:
        """End the last line; after a failure, also write what the other samples had come to."""
        while self._held and self._current + 1 < self._end:
            self._next()
        if self._end and self._newline and self._last != "\n":
            self._write("\n")
        self._end = 0

    def _next(self) -> None:
        """Go to the next sample, with all of its text so far."""
        if self._last != "\n" and not self._nul:
            self._write("\n")
        self._write(self._separator)
        self._current, self._last = self._current + 1, ""
        self._write(self._prompt + "".join(self._held.pop(self._current, ())))

    def _write(self, text: str) -> None:
        if text:
            self._last = text[-1]
            self._output.write(text)
