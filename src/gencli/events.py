"""The event line: what a run tells. Plain values only; no tensors below the surface, no terminal above it.

JSON output, traces, bars and Python programs all read these. `to_dict` gives the published shape
(version 1), whose JSON Schema `schema()` generates from the classes here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any

VERSION = 1

REASONS = MappingProxyType(
    {
        "end_token": "the model ended its text",
        "stop_string": "a stop string was written",
        "length": "max_new_tokens was reached",
        "context": "the context is full",
        "time": "the time limit was reached",
        "loop": "the text repeats itself",
        "gate": "a gate tripped",
        "interrupted": "it was interrupted",
    }
)


@dataclass(frozen=True)
class Candidate:
    """One token that was in play at a step.

    `raw_prob` is its probability under the model alone, `prob` under the whole pipeline (0.0 where
    removed); `removed_by` names the stage that removed it, `removed_at` its 0-based place in the
    pipeline, `because` the numbers that decided; `after` holds the probability after each stage
    (only where asked for).
    """

    id: int
    text: str
    raw_prob: float
    prob: float
    removed_by: str | None = None
    removed_at: int | None = None
    because: str | None = None
    after: tuple[float, ...] | None = None


@dataclass(frozen=True)
class StageReport:
    """What one stage did at a step: `kept` tokens, `mass_removed` (raw probability), the entropy left
    (bits) and KL(after the stage || raw) (bits)."""

    stage: str
    at: int
    kept: int
    mass_removed: float
    entropy: float
    kl: float


@dataclass(frozen=True)
class Logits:
    """In a trace: what a step can be decided from once more, without the model.

    `ids` (little-endian int32, ascending) are the tokens that survived the pipeline, those already seen,
    those that end the text, those listed and the 256 likeliest under the raw model; empty where every token of the vocabulary, which
    has `size` of them, is recorded. `raw` and `final` (little-endian float32) are their logits before the
    first stage and after the last one, -inf where a token was removed; `final` is empty where no stage
    changed anything. `log_total` is the logsumexp of all
    raw logits, `highest` the largest raw logit that is not recorded (None: all are).

    `guided` is the same record once more where the pipeline begins with stages that asked the model twice: with the logits after those,
    which no replay can compute, in the place of the raw ones. Elsewhere it is left out.
    """

    size: int
    ids: bytes
    raw: bytes
    final: bytes
    log_total: float
    highest: float | None
    guided: Logits | None = None


@dataclass(frozen=True)
class Started:
    """A run begins. `preset` is resolved and bound: every value with its origin."""

    event = "start"
    version: int
    checkpoint: dict[str, Any]
    preset: dict[str, Any]
    prompt: str
    prompt_ids: tuple[int, ...]
    seed: int
    samples: int
    device: str
    precision: str
    gencli: str
    torch: str
    first_sample: int = 0


@dataclass(frozen=True)
class Hashed:
    """In a trace: the checkpoint's fingerprint, as soon as it is known."""

    event = "checkpoint"
    sha256: str
    files: dict[str, str]


@dataclass(frozen=True)
class Token:
    """One token was drawn. `text` is what became certain by it (it may be empty), `bytes` its own bytes.

    The measures are None where nobody asked for detail: `logprob` (nats) under the pipeline,
    `raw_logprob` and `rank` (1-based) under the model alone, entropies in bits. `logits` is left out
    unless it was recorded, as a trace does.
    """

    event = "token"
    sample: int
    step: int
    id: int
    text: str
    bytes: bytes
    logprob: float | None = None
    raw_logprob: float | None = None
    rank: int | None = None
    entropy: float | None = None
    raw_entropy: float | None = None
    candidates: tuple[Candidate, ...] | None = None
    stages: tuple[StageReport, ...] | None = None
    logits: Logits | None = None


@dataclass(frozen=True)
class Retracted:
    """A sample went back: its tokens from step `to_step` on are void, and those steps are drawn once more.

    Their text was held back, so nothing that was told is taken back. `reason` says why, in words.
    """

    event = "retract"
    sample: int
    to_step: int
    reason: str


@dataclass(frozen=True)
class Finished:
    """A sample ended. `text` is what was still held back; `stop` which stop string, end token or gate it was.

    `surprisal` is the mean raw bits a token, `kl` the mean KL(final || raw) in bits; both None where
    no detail was asked for.
    """

    event = "finish"
    sample: int
    text: str
    reason: str
    stop: str | None
    prompt_tokens: int
    new_tokens: int
    seconds_to_first_token: float | None
    tokens_per_second: float | None
    surprisal: float | None = None
    kl: float | None = None


Event = Started | Hashed | Token | Retracted | Finished
EVENTS = (Started, Hashed, Token, Retracted, Finished)
SHAPES = frozenset((*EVENTS, Candidate, StageReport, Logits))
# fields that are absent where they are None
LEFT_OUT: Mapping[type, str] = MappingProxyType({Candidate: "after", Token: "logits", Logits: "guided"})


# json leaves these as they are: they would act on a terminal, or are halves of a pair that no UTF-8 has
_UNSAFE = re.compile("[\x7f-\x9f\ud800-\udfff]")


def _shallow(value: Any) -> Any:
    """One level of what JSON cannot say by itself: a dataclass as its fields, bytes as base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if type(value) not in SHAPES:
        raise TypeError(f"{type(value).__name__} has no place in an event")
    values, optional = vars(value), LEFT_OUT.get(type(value))
    if optional is not None and values[optional] is None:
        values = values.copy()
        del values[optional]
    return values


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return _plain(_shallow(value))


def to_dict(event: Event) -> dict[str, Any]:
    """The event as JSON values, in the published shape: its name first, bytes as base64."""
    return {"event": event.event, **_plain(event)}


@cache
def _encoder() -> Callable[[Any], str]:
    import json

    # nothing frozen holds itself, so nobody needs to look for circles
    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"), default=_shallow).encode


def dumps(value: Any) -> str:
    """JSON on one line, without the newline; non-ASCII text stays as it is, control characters never do."""
    text = _encoder()(value)
    if text.isascii() and "\x7f" not in text:  # the search is slow, and a record of logits long
        return text
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def without_logits(event: Event) -> Event:
    """The event without what only a trace keeps."""
    return replace(event, logits=None) if isinstance(event, Token) and event.logits is not None else event


def to_json(event: Event) -> str:
    """The event as one line of JSON, without the newline."""
    return dumps({"event": event.event, **_shallow(event)})
