"""Along a given text: how likely each token is, and whether a pipeline could have drawn it. Knows no terminal and no other pipeline.

The text is walked along one token path: its own tokens after those of the prompt. A text longer than the
context is seen through the windows of `--overflow slide`, so that every token is scored once, with at
least half a context before it unless it stands near the start.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.detokeniser import Detokeniser
from gencli.errors import RunError, UsageError
from gencli.generation import fitting_ids
from gencli.memory import DRAW, Memory
from gencli.pipeline import Pipeline
from gencli.prompting import Prompt
from gencli.scores import BITS, ScoredToken
from gencli.tokenizers import encode_pieces

if TYPE_CHECKING:
    from gencli.loading import Session

Verdict = tuple[float | None, str | None, int | None, str | None]  # logprob, removed_by, removed_at, because

LEAST = 2.0**-53  # what the draw's number, of 53 bits, can hit
# nats by which logits may differ between a run, which computes one position at a time, and a walk, which computes many
ROUNDING = 1e-4
HELD = 1 << 25  # logits that are held to be asked again: 128 MiB


@dataclass(frozen=True)
class GivenText:
    """A text as `ids`, after at least one of `prompt_ids`; `bytes` are those of the text in UTF-8; `at_start`: no text stands before it."""

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    bytes: int
    at_start: bool = False

    @classmethod
    def of(cls, session: Session, text: str | Prompt, prompt: str | Prompt = "") -> GivenText:
        """The tokenizer's own tokens of a text that follows a prompt. Raises `UsageError` for an empty text."""
        text, prompt = (Prompt.of(each) if isinstance(each, str) else each for each in (text, prompt))
        if not text.text:
            raise UsageError("there is nothing to score: the text is empty.")
        ids = encode_pieces(session.tokenizer, text.pieces) if not prompt.text else _after_a_prompt(session, text)
        return cls(tuple(fitting_ids(session, prompt, "slide")[0]), tuple(ids), len(text.text.encode()), not prompt.text)


def _after_a_prompt(session: Session, text: Prompt) -> list[int]:
    """The ids of a text that does not stand at the start."""
    ids: list[int] = []
    for piece, special in text.pieces:
        at = 0
        for first, past, token in session.tokenizer.find_special(piece, 0, len(piece)) if special else ():
            ids += session.tokenizer.encode(piece[at:first], at_start=False) if at < first else []
            ids.append(token)
            at = max(at, past)
        ids += session.tokenizer.encode(piece[at:], at_start=False) if at < len(piece) else []
    return ids


class Walk:
    """The raw logits along a given text, as often as asked; those of a short text are kept, unless it is asked once."""

    def __init__(self, session: Session, given: GivenText, once: bool = False) -> None:
        self.session, self.given = session, given
        small = len(given.ids) * session.vocabulary.size <= HELD
        self._kept: list[Tensor] | None = [] if small and not once else None
        self._beside: dict[tuple[int, ...], Walk] = {}

    def parts(self) -> Iterator[tuple[int, Tensor]]:
        """(place of the first, logits (T, vocabulary)) before each token of the text, in order, some T at a time."""
        place = 0
        for logits in self._kept or self._computed():
            yield place, logits
            place += len(logits)

    def _computed(self) -> Iterator[Tensor]:
        ids, prompt = [*self.given.prompt_ids, *self.given.ids], len(self.given.prompt_ids)
        parts = []
        for logits in self.session.decoder(overflow="slide").follow(ids[:-1], prompt - 1):
            if not bool(logits.amax(dim=1).isfinite().all()):
                raise RunError("the logits are not numbers (NaN) or infinite; the checkpoint is damaged or its precision too low.")
            if self._kept is not None:
                parts.append(logits)
                if sum(map(len, parts)) == len(self.given.ids):
                    self._kept = parts
            yield logits

    def beside(self, prompt: tuple[int, ...]) -> Walk:
        """The same text behind another prompt; behind the last token of its own where that is empty."""
        if prompt not in self._beside:
            given = replace(self.given, prompt_ids=prompt or self.given.prompt_ids[-1:])
            self._beside[prompt] = Walk(self.session, given, once=self._kept is None)
        return self._beside[prompt]

    def rows(self) -> Iterator[Tensor]:
        """The logits (vocabulary,) before each token of the text."""
        for _, logits in self.parts():
            yield from logits


class GivenMemory(Memory):
    """The memory of a text that is given: its coins are not drawn but fall as they are told to."""

    __slots__ = ("coin",)

    def __init__(self, ids: Sequence[int]) -> None:
        super().__init__(ids)
        self.coin = 1 - LEAST

    def uniform(self, purpose: int = DRAW, index: int = 0) -> float:
        return self.coin


class Judge:
    """A pipeline along a given text: could a draw have taken this token?"""

    def __init__(self, pipeline: Pipeline, walk: Walk) -> None:
        self.pipeline, self.memory = pipeline, GivenMemory(walk.given.prompt_ids)
        self._beside = {prompt: walk.beside(prompt).rows() for prompt in pipeline.needs}

    def _stand(self) -> None:
        """Hand the memory what the pipeline needs for the next token of the text."""
        for prompt, rows in self._beside.items():
            if self.memory.handed(prompt) is None:
                self.memory.hand(prompt, next(rows))

    def lets_through(self, raw: Candidates, token_id: int) -> Candidates | None:
        """What the pipeline leaves of `raw` (one row) where a draw can hit the token, however the stages' own coins fall; else None."""
        self._stand()
        for coin in (1 - LEAST, 0.0):
            self.memory.coin = coin
            final = self.pipeline(raw, [self.memory])
            self.memory.coin = 1 - LEAST
            if final.probability(0, token_id) >= LEAST:
                return None if self._taken_back(final, token_id) else final
        return None

    def _taken_back(self, final: Candidates, token_id: int) -> tuple[str, int, str] | None:
        """The stage that would take the token back, with others before it perhaps, its place, and why."""
        if not self.pipeline.rewinds:
            return None
        memory = self.memory.fork()
        self.pipeline.drawn(final, [token_id], [memory])
        memory.append(token_id)
        for at, (name, stage) in enumerate(zip(self.pipeline.names, self.pipeline.stages, strict=True)):
            if (why := stage.rewind(memory) if hasattr(stage, "rewind") else None) is not None:
                return name, at, why
        return None

    def nearly(self, raw: Candidates, token_id: int) -> Candidates | None:
        """The same for a token that only rounding may keep away."""
        for nudge in (ROUNDING, -ROUNDING):
            logits = raw.logits.clone()
            logits[0, token_id] += nudge
            if (final := self.lets_through(Candidates(logits), token_id)) is not None:
                return final
        return None

    def go_on(self, raw: Candidates, final: Candidates | None, token_id: int) -> None:
        """Remember the token; a stage that learns from what was drawn hears of it, also where it could not have been drawn."""
        self.pipeline.drawn(self.pipeline(raw, [self.memory]) if final is None else final, [token_id], [self.memory])
        self.memory.append(token_id)

    def blocked(self, raw: Candidates, token_id: int) -> tuple[str, int | None, str]:
        """The stage that blocks a token, its place, and why: the one that removed it, else the last before which a draw could hit it."""
        passed = self.pipeline.traced(raw, [self.memory])
        probabilities = [each.probability(0, token_id) for each in passed]
        gone = next((at for at, each in enumerate(passed[1:]) if each.logit(0, token_id) == -math.inf), None)
        if gone is not None:
            explain = getattr(self.pipeline.stages[gone], "because", None)
            return self.pipeline.names[gone], gone, explain(passed[gone], 0, token_id) if explain else ""
        if probabilities[-1] >= LEAST and (taken := self._taken_back(passed[-1], token_id)):
            return taken
        at = max((at for at, each in enumerate(probabilities[:-1]) if each >= LEAST), default=None)
        because = f"a probability of {probabilities[-1]:.3g} is less than a draw can hit ({LEAST:.3g})"
        return "draw" if at is None else self.pipeline.names[at], at, because


def scored(walk: Walk, judge: Judge | None = None, held: dict[int, Tensor] | None = None) -> Iterator[ScoredToken]:
    """Every token of the text in order, under the model alone and, with a judge, under its pipeline.

    The raw logits (1, vocabulary) of blocked tokens are put into `held`, by their place. Raises
    `RunError` for logits that are not numbers.
    """
    given, vocabulary = walk.given, walk.session.vocabulary
    detokeniser = Detokeniser(vocabulary, special=True, at_start=given.at_start)
    for first, logits in walk.parts():
        ids = given.ids[first : first + len(logits)]
        for row, (token_id, measures) in enumerate(zip(ids, _measured(logits, ids), strict=True)):
            verdict = _judged(judge, logits[row : row + 1], token_id, first + row, {} if held is None else held) if judge else ()
            yield ScoredToken(first + row, token_id, detokeniser.push(token_id), vocabulary.token_bytes[token_id], *measures, *verdict)


def _measured(logits: Tensor, ids: Sequence[int]) -> Iterable[tuple[float, float, int, float, float]]:
    """raw_logprob, surprisal, rank, raw_entropy and varentropy of one token a row of `logits` (T, vocabulary)."""
    raw = Candidates(logits)
    own = logits.gather(1, torch.tensor(ids)[:, None])
    logprobs = (own.double() - raw.log_total)[:, 0].clamp(max=0)
    surprisals = (raw.log_total.float() - logits).masked_fill_(raw.weights == 0, 0)  # of no weight: infinite, and never met
    weighted = raw.weights * surprisals
    means = weighted.sum(dim=1, dtype=torch.float64) / raw.total[:, 0]
    squares = weighted.mul_(surprisals).sum(dim=1, dtype=torch.float64) / raw.total[:, 0]
    columns = (
        logprobs,
        -logprobs * BITS,
        1 + (logits > own).sum(dim=1),
        (means * BITS).clamp(min=0),
        ((squares - means**2) * BITS**2).clamp(min=0),
    )
    return zip(*(column.tolist() for column in columns), strict=True)


def _judged(judge: Judge, row: Tensor, token_id: int, place: int, held: dict[int, Tensor]) -> Verdict:
    """What the judge's pipeline makes of a token, which it then goes on with."""
    raw = Candidates(row)
    final = judge.lets_through(raw, token_id)
    if final is None:
        final = judge.nearly(raw, token_id)
    if final is None:
        if (len(held) + 1) * row.numel() <= HELD:
            held[place] = row.clone()
        verdict: Verdict = (None, *judge.blocked(raw, token_id))
    else:
        verdict = (min(0.0, math.log(final.probability(0, token_id))), None, None, None)
    judge.go_on(raw, final, token_id)
    return verdict
