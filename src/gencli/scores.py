"""What scoring a given text tells, as plain values. Knows no tensors and no terminal."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

BITS = 1 / math.log(2)  # nats to bits


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """One token of a given text, at the 0-based `place`.

    `text` is what became certain by it, `bytes` its own. Under the model alone: `raw_logprob` (nats),
    `surprisal` (bits), the 1-based `rank`; `raw_entropy` (bits) is the mean surprisal of the
    distribution that it came from, `varentropy` (bits squared) the variance. Under the preset:
    `logprob` (nats), or, where the preset could not have drawn it, the stage that blocks it in
    `removed_by` ("draw" where the model gives it less than a draw can hit), the stage's 0-based place
    and the numbers that decided.
    """

    place: int
    id: int
    text: str
    bytes: bytes
    raw_logprob: float
    surprisal: float
    rank: int
    raw_entropy: float
    varentropy: float
    logprob: float | None = None
    removed_by: str | None = None
    removed_at: int | None = None
    because: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, bytes as base64."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return plain | {"bytes": base64.b64encode(self.bytes).decode("ascii")}


@dataclass(frozen=True)
class Change:
    """One knob set anew: `stage` at the 0-based place `at`, from `old` to `new`; `typed` is the flag that does it."""

    stage: str
    at: int
    knob: str
    old: Any
    new: Any
    typed: str


@dataclass(frozen=True)
class Ending:
    """Where a run under the preset would have ended before the text does: with the token at `place`, for one of the
    reasons of a `Finished` event; `stop` is the stop string or end token."""

    place: int
    reason: str
    stop: str | None = None


@dataclass(frozen=True)
class Reach:
    """Whether a preset could have produced a text along its tokens.

    `blocked` tokens could not have been drawn, `first` is the first of them. Each of `changes` lets all
    of them through by itself, that of the stage which blocks first before the others. Where no change
    of one knob does, `together` holds one for each blocking stage, which all together do; it is empty
    where nothing helps. `ending` tells where a run would have stopped too early.
    """

    blocked: int = 0
    first: ScoredToken | None = None
    changes: tuple[Change, ...] = ()
    together: tuple[Change, ...] = ()
    ending: Ending | None = None

    @property
    def reachable(self) -> bool:
        return self.first is None and self.ending is None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; what is infinite, which JSON lacks, as text."""
        return {
            "reachable": self.reachable,
            "blocked": self.blocked,
            "first": self.first.to_dict() if self.first else None,
            "changes": [_changed(each) for each in self.changes],
            "together": [_changed(each) for each in self.together],
            "ending": None if self.ending is None else {each.name: getattr(self.ending, each.name) for each in fields(self.ending)},
        }


@dataclass(frozen=True)
class Score:
    """How likely a text is after `prompt_ids`; `bytes` are those of the text in UTF-8; `reach` is None without a preset."""

    prompt_ids: tuple[int, ...]
    tokens: tuple[ScoredToken, ...]
    bytes: int
    reach: Reach | None = None

    @property
    def raw_logprob(self) -> float:
        """Nats of the whole text under the model alone."""
        return math.fsum(token.raw_logprob for token in self.tokens)

    @property
    def logprob(self) -> float | None:
        """Nats of the whole text under the preset; None where it is blocked."""
        found = [token.logprob for token in self.tokens]
        return None if None in found else math.fsum(each or 0.0 for each in found)

    @property
    def surprisal(self) -> float:
        """Mean bits a token."""
        return -self.raw_logprob * BITS / len(self.tokens)

    @property
    def bits_per_byte(self) -> float:
        """Bits of the whole text over its bytes, so that tokenizers can be compared."""
        return -self.raw_logprob * BITS / self.bytes

    @property
    def perplexity(self) -> float:
        """exp of the mean nats a token: among how many equally likely ones it was as good as a guess."""
        return math.exp(-self.raw_logprob / len(self.tokens))

    def figures(self) -> dict[str, Any]:
        """Everything but the tokens, as JSON values."""
        return {
            "prompt_tokens": len(self.prompt_ids),
            "scored_tokens": len(self.tokens),
            "bytes": self.bytes,
            "raw_logprob": self.raw_logprob,
            "surprisal": self.surprisal,
            "bits_per_byte": self.bits_per_byte,
            "perplexity": self.perplexity,
            "logprob": self.logprob if self.reach else None,
            "reach": self.reach.to_dict() if self.reach else None,
        }


@dataclass(frozen=True)
class ScoredChoice:
    """A fixed answer and its tokens. `raw_share` is its share among all choices under the model alone, `share` under
    the preset (0 where it is blocked; None where all are)."""

    text: str
    tokens: tuple[ScoredToken, ...]
    raw_share: float = 0.0
    share: float | None = None

    @property
    def raw_logprob(self) -> float:
        """Nats of the whole answer under the model alone."""
        return math.fsum(token.raw_logprob for token in self.tokens)

    @property
    def logprob(self) -> float | None:
        """Nats of the whole answer under the preset; None where it is blocked."""
        found = [token.logprob for token in self.tokens]
        return None if None in found else math.fsum(each or 0.0 for each in found)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        figures = {"text": self.text, "raw_logprob": self.raw_logprob, "raw_share": self.raw_share, "logprob": self.logprob}
        return {**figures, "share": self.share, "tokens": [token.to_dict() for token in self.tokens]}


def shares_among(logprobs: Sequence[float | None]) -> list[float | None]:
    """What each of several answers has of their probability together; None has none, and where all are None so is every share."""
    most = max((each for each in logprobs if each is not None), default=None)
    if most is None:
        return [None] * len(logprobs)
    weights = [0.0 if each is None else math.exp(each - most) for each in logprobs]
    return [weight / sum(weights) for weight in weights]


def shares_of_ranks(tokens: Sequence[ScoredToken]) -> dict[str, float]:
    """Which share of the tokens had rank 1, 2 to 10, 11 to 100, 101 to 1000, and beyond."""
    borders = {"1": 1, "2-10": 10, "11-100": 100, "101-1000": 1000, "beyond": math.inf}
    counts = dict.fromkeys(borders, 0)
    for token in tokens:
        counts[next(name for name, most in borders.items() if token.rank <= most)] += 1
    return {name: count / len(tokens) for name, count in counts.items()}


def _changed(change: Change) -> dict[str, Any]:
    plain = {each.name: getattr(change, each.name) for each in fields(change)}
    return plain | {"old": _json(change.old), "new": _json(change.new)}


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json(each) for each in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value
