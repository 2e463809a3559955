"""When a sample ends: length, context, time, end tokens, stop strings, loops, gates. Knows no tensors.

The rules are checked in one order, so that a run tells one reason; a gate speaks first, so that none trips unheard.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_NEW_TOKENS = 256
LOOP_TOKENS = 24  # a loop is at least so many tokens ...
LOOP_REPEATS = 3  # ... and at least so many repeats
LOOP_BLOCK = 64  # of one block of at most so many tokens


@dataclass(frozen=True)
class Limits:
    """What ends a run. `gates` may hold "loop": it ends a sample only where it is asked for.

    `min_prob` (0 to 1) and `max_entropy` (bits, at least 0) end it with a token that was less likely
    under the pipeline, or was drawn from a choice wider than that; None: they do not.
    """

    max_new_tokens: int = DEFAULT_NEW_TOKENS
    time_limit: float | None = None
    stop: tuple[str, ...] = ()
    stop_inclusive: bool = False
    ignore_end: bool = False
    gates: frozenset[str] = frozenset()
    min_prob: float | None = None
    max_entropy: float | None = None

    def tripped(self, prob: float | None, entropy: float | None) -> str | None:
        """Which gates a token trips, with the numbers: "min_prob: 0.002 < 0.01". None for a figure that none needs."""
        told = []
        if self.min_prob is not None and prob is not None and prob < self.min_prob:
            told.append("min_prob: {} < {}".format(*_apart(prob, self.min_prob)))
        if self.max_entropy is not None and entropy is not None and entropy > self.max_entropy:
            told.append("max_entropy: {} > {} bits".format(*_apart(entropy, self.max_entropy)))
        return "; ".join(told) or None


def _apart(one: float, other: float) -> tuple[str, str]:
    """Two different numbers, with as many digits as it takes to see that they differ."""
    pairs = ((f"{one:.{digits}g}", f"{other:.{digits}g}") for digits in (4, 7, 12, 17))
    return next((pair for pair in pairs if pair[0] != pair[1]), (repr(one), repr(other)))


class StopStrings:
    """Holds text back while it may still become a stop string; the stop string itself is left out.

    The match that is complete first ends the text; of those complete at the same character, the
    longest. `found` is the stop string that ended it.
    """

    def __init__(self, stops: Sequence[str], inclusive: bool = False) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._inclusive = inclusive
        self._held = ""
        self.found: str | None = None

    def push(self, text: str) -> str:
        """Text that is certain now. After a match nothing more comes."""
        if not self._stops:
            return text
        if self.found is not None:
            return ""
        held = self._held + text
        matches = ((at + len(stop), -len(stop), stop) for stop in self._stops if (at := held.find(stop)) >= 0)
        first = min(matches, default=None)
        if first is not None:
            end, _, self.found = first
            self._held = ""
            return held[: end if self._inclusive else end - len(self.found)]
        safe = len(held) - self._risky(held)
        self._held = held[safe:]
        return held[:safe]

    def _risky(self, held: str) -> int:
        """The length of the longest end of `held` with which a stop string begins."""
        longest = min(len(held), max(map(len, self._stops)) - 1)
        for length in range(longest, 0, -1):
            end = held[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0

    def flush(self) -> str:
        """What was held back and did not become a stop string."""
        held, self._held = self._held, ""
        return held


class LoopDetector:
    """Tells when the last 24 or more tokens are at least three repeats of one block of 1 to 64 tokens."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._runs = [0] * (LOOP_BLOCK + 1)  # how long ids[i] == ids[i - block] has held, per block
        self._needed = [0] + [block * (max(LOOP_REPEATS, math.ceil(LOOP_TOKENS / block)) - 1) for block in range(1, LOOP_BLOCK + 1)]

    def push(self, token_id: int) -> bool:
        """True once the tokens so far end in a loop."""
        ids, runs = self._ids, self._runs
        ids.append(token_id)
        looping = False
        for block in range(1, min(LOOP_BLOCK, len(ids) - 1) + 1):
            runs[block] = runs[block] + 1 if ids[-1 - block] == token_id else 0
            looping |= runs[block] >= self._needed[block]
        return looping


class Stopping:
    """The rules for one sample. `push` each token; it answers (certain text, reason or None, which stop string or gate)."""

    def __init__(self, limits: Limits, end_ids: frozenset[int], room: int, started: float) -> None:
        """`room` is how many tokens the context still holds; `started` is on time.monotonic's clock."""
        self.limits = limits
        self._end_ids = frozenset() if limits.ignore_end else end_ids
        self._room = room
        self._deadline = math.inf if limits.time_limit is None else started + limits.time_limit
        self._strings = StopStrings(limits.stop, limits.stop_inclusive)
        self._loop = LoopDetector() if "loop" in limits.gates else None
        self._count = 0

    def push(self, token_id: int, text: str, prob: float | None = None, entropy: float | None = None) -> tuple[str, str | None, str | None]:
        """The text that is certain, the reason if this token ends the sample, and which stop string or gate it was.

        `prob` and `entropy` (bits) are those of the draw, for the gates that need them.
        """
        self._count += 1
        certain = self._strings.push(text)
        looping = self._loop is not None and self._loop.push(token_id)
        if tripped := self.limits.tripped(prob, entropy):
            return certain, "gate", tripped
        if token_id in self._end_ids:
            return certain, "end_token", None
        if self._strings.found is not None:
            return certain, "stop_string", self._strings.found
        if looping:
            return certain, "loop", None
        if self._count >= self.limits.max_new_tokens:
            return certain, "length", None
        if self._count >= self._room:
            return certain, "context", None
        if time.monotonic() >= self._deadline:
            return certain, "time", None
        return certain, None, None

    def flush(self, text: str = "") -> str:
        """Text still held back at the end, after the detokeniser's own last `text`; "" after a stop string."""
        if self._strings.found is not None:
            return ""
        return self._strings.push(text) + self._strings.flush()
