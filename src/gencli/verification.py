"""A recorded run, run again and compared: its tokens, their probabilities and the checkpoint's files. Knows no terminal."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from gencli.errors import RunError, UsageError
from gencli.events import Event, Finished, Hashed, Retracted, Started, Token
from gencli.fingerprint import Fingerprint, checkpoint_files
from gencli.generation import Options, run
from gencli.loading import Session
from gencli.memory import Memory
from gencli.observation import Detail
from gencli.replay import check_start, recorded_preset
from gencli.stopping import DEFAULT_NEW_TOKENS
from gencli.trace import Trace, begun
from gencli.unrecorded import Record

TOLERANCE = 1e-4  # of probability


@dataclass(frozen=True)
class Parting:
    """Where a sample goes another way: `recorded_id` was drawn then, `id` is drawn now.

    `near` tells that the drawing number lies so near the border between tokens that probabilities within
    the tolerance may draw either: nothing to worry about, but the sample cannot be compared any further.
    """

    sample: int
    step: int
    recorded_id: int
    id: int
    near: bool


@dataclass(frozen=True)
class Verification:
    """How a recorded run compares with the same run now.

    `tokens` were recorded, `same` of them are drawn again in a row from the start of their samples; a
    sample whose token differs is compared no further. `largest` is the largest difference of a
    probability among those that were compared, raw or final. A sha256 is None where none was recorded
    or the files cannot be read.
    """

    tokens: int
    same: int
    parts_at: Parting | None
    largest: float
    tolerance: float
    recorded_sha256: str | None
    sha256: str | None

    @property
    def difference(self) -> str | None:
        """What is not as it was, as a sentence; None where everything is."""
        if self.recorded_sha256 is not None and self.sha256 != self.recorded_sha256:
            return "the checkpoint's files are not those of the trace: their sha256 differs."
        if self.parts_at is not None and not self.parts_at.near:
            at = self.parts_at
            return f"sample {at.sample} draws token {at.id} at step {at.step}, and the trace has {at.recorded_id}."
        if self.largest > self.tolerance:
            return f"a probability differs by {self.largest:.2g}, more than the tolerance of {self.tolerance:g}."
        return None


def verify_trace(
    session: Session,
    trace: Trace | Iterable[Event],
    tolerance: float = TOLERANCE,
    told: Callable[[int, int], object] = lambda done, most: None,
) -> Verification:
    """Run the recorded run again with this session, hash its checkpoint anew, and compare.

    `told` hears how many tokens were compared, and how many the run may have had
    at most. Raises `RunError` for a trace that cannot be run again.
    """
    recorded = _Recorded(trace.events if isinstance(trace, Trace) else trace)
    check_start(recorded.started)
    fingerprint = Fingerprint(checkpoint_files(session.path), anew=True)
    try:
        same, parted, largest = _compare(_again(session, recorded.started), recorded, tolerance, told)
    except BaseException as error:
        fingerprint.cancel()
        if isinstance(error, UsageError):  # asked for by the trace, not by whoever verifies it
            raise RunError(f"the trace cannot be run again: {error}") from error
        raise
    tokens, now = recorded.rest(), fingerprint.wait()
    if not parted and same < tokens:
        raise RunError(f"the run ends after {same} tokens now, and the trace has {tokens}.")
    first = min(parted, key=lambda parting: (parting.near, parting.sample, parting.step), default=None)
    sums = [None if each is None else each.sha256 for each in (recorded.hashed, now)]
    return Verification(tokens, same, first, largest, tolerance, *sums)


def _compare(
    again: Iterable[Event], recorded: _Recorded, tolerance: float, told: Callable[[int, int], object]
) -> tuple[int, list[Parting], float]:
    """How many tokens are the same, where samples part, and the largest difference of a probability."""
    started = recorded.started
    going = {number: Memory((), started.seed, number) for number in range(started.first_sample, started.first_sample + started.samples)}
    most = started.samples * recorded_preset(started).get("max_new_tokens", DEFAULT_NEW_TOKENS)
    same, largest = 0, 0.0
    parted: list[Parting] = []
    for now in again:
        if isinstance(now, Retracted) and now.sample in going:
            going[now.sample].rewind(now.to_step)
        if not isinstance(now, Token) or now.sample not in going:
            continue
        then = recorded.next(now.sample)
        if then is None:
            del going[now.sample]
        elif then.id == now.id and then.step == now.step:
            same, largest = same + 1, max(largest, _distance(then, now))
            told(same, max(most, same))
            going[now.sample].append(now.id)
        else:
            largest = max(largest, *_logit_distances(then, now))  # what was drawn differs, what it was drawn from may not
            near = _near(now, then.id, going.pop(now.sample).uniform(), tolerance)
            parted.append(Parting(now.sample, then.step, then.id, now.id, near))
        if not going:
            break
    return same, parted, largest


def _near(now: Token, recorded_id: int, number: float, tolerance: float) -> bool:
    """Whether a number this near the recorded token's place among the survivors may have drawn it."""
    assert now.logits is not None
    survivors = Record.of(now.logits).survivors
    ids, probs = survivors.token_ids()[0], survivors.probs()[0]
    before, own = float(probs[ids < recorded_id].sum()), float(probs[ids == recorded_id].sum())
    return own > 0 and before - tolerance <= number <= before + own + tolerance


def _again(session: Session, started: Started) -> Iterator[Event]:
    """The recorded run, without what ended it: it is compared as far as it was recorded."""
    preset = recorded_preset(started)
    settings = tuple((key, value) for key, value in preset.settings if key != "stop")
    options = Options(
        seed=started.seed,
        samples=started.samples,
        first_sample=started.first_sample,
        ignore_end=True,
        overflow="slide",
        detail=Detail(logits=True, because=False),
    )
    return run(session, started.prompt_ids, replace(preset, settings=settings), options)


class _Recorded:
    """A trace's tokens, sample by sample, read as far as they are asked for."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._waiting: dict[int, deque[Token]] = {}
        self._ended: set[int] = set()
        self._count = 0
        self.hashed: Hashed | None = None
        self.started, self._events = begun(iter(events))

    def next(self, sample: int) -> Token | None:
        """The next token of a sample; None where it ended."""
        waiting = self._waiting.setdefault(sample, deque())
        while not waiting and sample not in self._ended and self._read():
            pass
        return waiting.popleft() if waiting else None

    def rest(self) -> int:
        """Read to the end; how many tokens there were."""
        while self._read():
            self._waiting.clear()
        return self._count

    def _read(self) -> bool:
        event = next(self._events, None)
        if isinstance(event, Token):
            self._count += 1
            self._waiting.setdefault(event.sample, deque()).append(event)
        elif isinstance(event, Finished):
            self._ended.add(event.sample)
        elif isinstance(event, Hashed):
            self.hashed = event
        return event is not None


def _distance(then: Token, now: Token) -> float:
    """The largest difference of a probability between two steps, of those that both of them hold."""
    pairs = [(then.logprob, now.logprob), (then.raw_logprob, now.raw_logprob)]
    found = [abs(math.exp(one) - math.exp(other)) for one, other in pairs if one is not None and other is not None]
    return max(*found, *_logit_distances(then, now))


def _logit_distances(then: Token, now: Token) -> list[float]:
    """The same of all tokens whose logits both steps hold; 0 where there are none."""
    if then.logits is None or now.logits is None:
        return [0.0]
    try:
        records = [Record.of(then.logits), Record.of(now.logits)]
    except ValueError as error:
        raise RunError(f"the trace, sample {then.sample}, step {then.step}: its logits cannot be used: {error}.") from None
    if records[0].size != records[1].size:
        raise RunError(f"the trace's vocabulary has {records[0].size} tokens, this checkpoint's {records[1].size}.")
    ids, *places = _shared(*(np.arange(each.size) if each.ids is None else each.ids.numpy() for each in records))
    if not len(ids):
        return [0.0]
    raw = [np.exp(each.raw.numpy()[at].astype(np.float64) - each.log_total) for each, at in zip(records, places, strict=True)]
    final = [each.final.numpy().astype(np.float64) for each in records]
    final = [np.exp(each - np.logaddexp.reduce(each))[at] for each, at in zip(final, places, strict=True)]
    return [float(np.abs(one - other).max()) for one, other in (raw, final)]


def _shared(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.intersect1d(one, other, assume_unique=True, return_indices=True)
