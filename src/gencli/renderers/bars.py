"""Bars: the current step as a live panel under the text, or as plain lines, and one summary. Writes to stderr alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import MappingProxyType

from gencli.bar import Palette, quote
from gencli.errors import UsageError
from gencli.events import Event, Finished, Retracted, Started, Token
from gencli.frame import step_line, step_lines
from gencli.panel import Panel
from gencli.terminal import Messages, Output, visible

MODES = ("auto", "always", "each", "never")
FRAME_SECONDS = 0.1  # the contract allows 15 a second; ten read as well and cost less
LONG_PROMPT = 64  # tokens; reading so many may take a while, so the panel says what is going on

HINTS = MappingProxyType(
    {
        "length": "--max-new-tokens allows more",
        "context": "--overflow slide goes on",
        "time": "--time-limit allows more",
        "loop": "--repetition-penalty 1.1 may help",
    }
)


class Bars:
    """Shows the steps of the sample whose turn it is, and the summary at the end.

    `mode` "auto" draws a live panel where stderr is a terminal and nobody but a person or a file takes
    stdout; "always" also beside a pipe, and where stderr is no terminal it leaves one plain frame of
    the last step; "each" leaves a plain line of bars a token; "never" draws nothing. The summary comes
    wherever a person looks at stderr or bars were asked for, and nothing at all where `messages` is quiet.
    """

    def __init__(self, mode: str, messages: Messages, output: Output, clock: Callable[[], float] = time.monotonic) -> None:
        if mode not in MODES:
            raise UsageError(f"bars are one of {', '.join(MODES)}, not '{mode}'.")
        self._messages, self._clock = messages, clock
        self._quiet = messages.quiet
        live = messages.draws and (mode == "always" or (mode == "auto" and not output.pipe))
        self._each = mode == "each" and not self._quiet
        self._last_frame = mode == "always" and not live and not self._quiet  # one plain frame at the end
        self._summarises = not self._quiet and (messages.terminal or mode in ("always", "each"))
        self._palette: Palette | None = None
        self._panel = Panel(messages.raw, messages.size) if messages.terminal and not self._quiet else None
        self._live = live and self._panel is not None
        if self._panel is not None:
            messages.lift = self._panel.settle
            if output.terminal:
                output.watch = self._panel.before
        self._drawn = -FRAME_SECONDS  # when the last frame was
        self._started: Started | None = None
        self._turn = 0
        self._token: Token | None = None
        self._finished: list[Finished] = []

    def wants_detail(self) -> bool:
        """Whether the candidates of the next token would be shown, and so are worth finding."""
        return self._each or self._last_frame or (self._live and self._due())

    def show(self, event: Event) -> None:
        if isinstance(event, Started):
            self._started, self._turn = event, event.first_sample
            if self._live and len(event.prompt_ids) > LONG_PROMPT:
                self._draw([f"  reading the prompt: {len(event.prompt_ids)} tokens"])
        elif isinstance(event, Token):
            self._show_token(event)
        elif isinstance(event, Retracted) and self._each:
            reason = visible(event.reason, on_one_line=True)
            self._messages.styled(self._paint("faint", f"back to step {event.to_step}: {reason}"))
        elif isinstance(event, Finished):
            self._finished.append(event)
            done = {finished.sample for finished in self._finished}
            while self._turn in done:
                self._turn += 1

    def close(self) -> None:
        """Remove the panel; leave the last frame where one was asked for, and the summary."""
        if self._panel is not None:
            self._panel.erase()
        if self._last_frame and self._token is not None:
            self._messages.styled("\n".join(step_lines(self._token, None, None, self._paint, self._title(self._token))))
        if self._summarises and self._finished and self._started is not None:
            self._messages.styled(self._paint("faint", summary(self._started, self._finished)))
        self._finished, self._token, self._live = [], None, False

    @property
    def _paint(self) -> Palette:
        if self._palette is None:
            self._palette = Palette(self._messages.colour)
        return self._palette

    def _show_token(self, token: Token) -> None:
        if self._each:
            width = self._messages.size()[0] - 1 if self._messages.terminal else None
            self._messages.styled(step_line(token, width, self._paint, self._title(token)))
        if token.sample != self._turn or not token.candidates:
            return
        self._token = token
        if self._live and self._panel is not None and self._due():
            columns, lines = self._panel.room()
            if columns:
                self._draw(step_lines(token, columns, lines, self._paint, self._title(token)))

    def _draw(self, lines: list[str]) -> None:
        if self._panel is not None and self._panel.draw(lines):
            self._drawn = self._clock()

    def _due(self) -> bool:
        return self._clock() - self._drawn >= FRAME_SECONDS

    def _title(self, token: Token) -> str:
        many = self._started is not None and self._started.samples > 1
        return f"sample {token.sample}, step {token.step}" if many else f"step {token.step}"


def summary(started: Started, finished: Sequence[Finished]) -> str:
    """One line about a run: tokens, how fast they came, the seed, and why it ended, with a hint where one helps."""
    tokens = sum(one.new_tokens for one in finished)
    parts = [f"{len(finished)} samples"] if len(finished) > 1 else []
    parts.append(f"{tokens} token{'' if tokens == 1 else 's'}")
    waits = [one.seconds_to_first_token for one in finished if one.seconds_to_first_token is not None]
    if waits:
        parts.append(f"first after {min(waits):.2f} s")
    rates = [one.tokens_per_second for one in finished if one.tokens_per_second is not None]
    if rates:
        parts.append(f"{sum(rates):.3g} tokens/s" if sum(rates) < 100 else f"{sum(rates):.0f} tokens/s")
    parts.append(f"seed {started.seed}")
    return " · ".join([*parts, _endings(finished)])


def _endings(finished: Sequence[Finished]) -> str:
    """Why the samples ended: "length (--max-new-tokens allows more)", "2 end token, 1 length (...)"."""
    endings = Counter(one.reason for one in finished)
    told = []
    for reason, count in endings.items():
        words = reason.replace("_", " ")
        if len(finished) == 1 and finished[0].stop:
            words += f" {quote(finished[0].stop)}"
        hint = f" ({HINTS[reason]})" if reason in HINTS else ""
        told.append(f"{count} {words}{hint}" if len(finished) > 1 else words + hint)
    return ", ".join(told)
