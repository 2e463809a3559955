"""The main path: prompt -> ids -> steps -> events. Read this first. Knows no terminal, file or command line."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gencli.detokeniser import Detokeniser, decode
from gencli.errors import UsageError
from gencli.events import VERSION, Event, Finished, Retracted, Started, Token
from gencli.loading import Session
from gencli.memory import Memory
from gencli.observation import BITS, Detail, observe
from gencli.pipeline import Pipeline
from gencli.preset import Preset
from gencli.prompting import Prompt, refuse_too_long
from gencli.registry import find
from gencli.stopping import DEFAULT_NEW_TOKENS, Limits, Stopping
from gencli.strategies import Step
from gencli.tokenizers import encode_pieces, encode_prompt
from gencli.vocabulary import Vocabulary

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Options:
    """How to run, beside what a preset says.

    `seed` 0 .. 2**63-1 (drawn when None); samples `first_sample` .. `first_sample + samples - 1` run as
    one batch; `gates` may hold "loop"; `min_prob` and `max_entropy` (bits) are the gates of `Limits`;
    `since` is when the clock for the first token started (time.monotonic). `cache` False recomputes
    everything each step, with the same tokens. `entropy` has every `Token` tell it without any detail.
    """

    seed: int | None = None
    samples: int = 1
    first_sample: int = 0
    time_limit: float | None = None
    stop_inclusive: bool = False
    ignore_end: bool = False
    gates: frozenset[str] = frozenset()
    min_prob: float | None = None
    max_entropy: float | None = None
    entropy: bool = False
    special: bool = False
    cache: bool = True
    overflow: str = "error"
    since: float | None = None
    detail: Detail | None = None
    interrupted: Callable[[], bool] = field(default=lambda: False)


def run(
    session: Session, prompt: str | Prompt | Sequence[int], preset: Preset | None = None, options: Options | None = None
) -> Iterator[Event]:
    """Generate: a `Started`, then the `Token`s, some of them `Retracted`, and one `Finished` of every sample.

    The prompt is a text, a `Prompt`, or token ids, which are taken as they are.

    Raises `UsageError` for a prompt that does not fit or a setting that the vocabulary refuses, and
    `RunError` for logits that are not numbers.
    """
    options = options or Options()
    plan = _plan(session, prompt, preset or Preset(), options)
    yield plan.started
    decoder = session.decoder(cache=options.cache, overflow=options.overflow, room=len(plan.prompt_ids) + plan.limits.max_new_tokens)
    samples = [_Sample(plan, options, number) for number in range(options.first_sample, options.first_sample + options.samples)]
    logits = decoder.prefill(plan.prompt_ids, len(samples), options.interrupted)
    if logits is not None:
        companions = session.companions(plan.pipeline, cache=options.cache, overflow=options.overflow, new=plan.limits.max_new_tokens)
        memories = [sample.memory for sample in samples]
        strategy = find("strategies", plan.strategy)(decoder, plan.pipeline, memories, logits, companions)
        while samples and not options.interrupted():
            step = strategy.step(traced=options.detail is not None and options.detail.wanted())
            going = []
            for row, sample in enumerate(samples):
                yield sample.token(step, row)
                if row in step.retracted:
                    yield sample.retract(step.retracted[row])
                if sample.reason:
                    yield sample.finish()
                else:
                    going.append(row)
            if len(going) < len(samples):
                samples = [samples[row] for row in going]
                if samples:
                    strategy.keep(going)
    for sample in samples:
        yield sample.finish("interrupted")


@dataclass(frozen=True)
class _Plan:
    """A run that was checked and bound to its vocabulary."""

    prompt_ids: list[int]
    at_start: bool
    pipeline: Pipeline
    vocabulary: Vocabulary
    limits: Limits
    strategy: str
    room: int
    since: float
    started: Started


def _plan(session: Session, prompt: str | Prompt | Sequence[int], preset: Preset, options: Options) -> _Plan:
    since = time.monotonic() if options.since is None else options.since
    prompt = Prompt.of(prompt) if isinstance(prompt, str) else prompt
    vocabulary = vocabulary_of(session, preset)
    prompt_ids, room = fitting_ids(session, prompt, options.overflow)
    text = prompt.text if isinstance(prompt, Prompt) else decode(vocabulary, prompt_ids, special=True)
    pipeline = Pipeline(preset.stages()).bind(vocabulary)
    room = min([room, *(_room(session, len(each), "the negative prompt", options.overflow) for each in pipeline.needs)])
    seed = secrets.randbelow(LARGEST_SEED + 1) if options.seed is None else options.seed
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"seed must lie in 0 .. {LARGEST_SEED}, not {seed}.")
    limits = Limits(
        max_new_tokens=preset.get("max_new_tokens", DEFAULT_NEW_TOKENS),
        time_limit=options.time_limit,
        stop=tuple(preset.get("stop", ())),
        stop_inclusive=options.stop_inclusive,
        ignore_end=options.ignore_end,
        gates=options.gates,
        min_prob=options.min_prob,
        max_entropy=options.max_entropy,
    )
    started = _started(session, text, prompt_ids, preset, pipeline, replace(options, seed=seed))
    strategy = preset.get("strategy", "sample")
    return _Plan(prompt_ids, not text, pipeline, vocabulary, limits, strategy, room, since, started)


def vocabulary_of(session: Session, preset: Preset) -> Vocabulary:
    """The vocabulary, with the preset's end tokens beside the checkpoint's own. Raises `UsageError` for one that is no single token."""
    vocabulary, ends = session.vocabulary, set(session.vocabulary.end_ids)
    for token in preset.get("end_tokens") or ():
        ids = [token] if isinstance(token, int) else encode_pieces(session.tokenizer, [(token, True)])
        if len(ids) != 1 or not 0 <= ids[0] < vocabulary.size:
            raise UsageError(f"end_tokens: {token!r} is not one token of this checkpoint (it is {ids}).")
        ends.add(ids[0])
    return replace(vocabulary, end_ids=frozenset(ends))


def fitting_ids(session: Session, prompt: Prompt | Sequence[int], overflow: str) -> tuple[list[int], int]:
    """The prompt's ids with the start tokens, and how many tokens the context still holds."""
    tokenizer = session.tokenizer
    if not isinstance(prompt, Prompt):
        ids = list(prompt)
        if not all(0 <= each < session.vocabulary.size for each in ids):
            raise UsageError(f"the prompt's token ids must lie in 0 .. {session.vocabulary.size - 1}.")
    else:
        if overflow == "error":
            refuse_too_long(len(prompt.text.encode()), session.context, max(map(len, session.vocabulary.token_bytes)))
        ids = encode_prompt(tokenizer, prompt.pieces)
    if not ids:
        ids = sorted(session.vocabulary.end_ids)[:1]
    if not ids:
        raise UsageError("an empty prompt needs a start or end token, and this checkpoint names none; give a prompt.")
    return ids, _room(session, len(ids), "the prompt", overflow)


def _room(session: Session, length: int, spoken: str, overflow: str) -> int:
    """How many tokens the context still holds behind so many; raises `UsageError` where there is no room for one."""
    if overflow == "slide":
        return 2**63
    if length >= session.context:
        raise UsageError(
            f"{spoken} has {length} tokens and the context holds {session.context}, one of them for the answer; "
            "shorten it, or let the context slide with --overflow slide."
        )
    return session.context - length


def _started(session: Session, prompt: str, prompt_ids: list[int], preset: Preset, pipeline: Pipeline, options: Options) -> Started:
    import torch

    from gencli import __version__

    return Started(
        version=VERSION,
        checkpoint={"name": session.name, "path": str(session.path), "bytes": session.bytes},
        preset=preset.to_dict(pipeline.stages),  # bound: ids where the preset had text
        prompt=prompt,
        prompt_ids=tuple(prompt_ids),
        seed=options.seed or 0,
        samples=options.samples,
        device=session.device,
        precision=session.precision,
        gencli=__version__,
        torch=torch.__version__,
        first_sample=options.first_sample,
    )


class _Sample:
    """One sample under way: its memory, its text so far certain, its rules for stopping, its figures."""

    def __init__(self, plan: _Plan, options: Options, number: int) -> None:
        self.plan, self.detail, self.number, self.tells_entropy = plan, options.detail, number, options.entropy
        self.memory = Memory(plan.prompt_ids, plan.started.seed, number)
        self.special, self.began = options.special, time.monotonic()
        self.step = 0  # how many tokens were told and not taken back
        self.held: list[tuple[int, str]] = []  # text by step that its token may still take back
        self._begin()
        self.reason: str | None = None
        self.stop: str | None = None
        self.times: tuple[float, float] | None = None  # of the first and the latest token
        self.figures: dict[int, tuple[float, float]] = {}  # surprisal and divergence by step, in bits

    def _begin(self) -> None:
        plan = self.plan
        self.detokeniser = Detokeniser(plan.vocabulary, special=self.special, at_start=plan.at_start)
        self.stopping = Stopping(plan.limits, plan.vocabulary.end_ids, plan.room, self.began)

    def token(self, step: Step, row: int) -> Token:
        """The event of this row's drawn token."""
        now = time.monotonic()
        self.times = (self.times[0] if self.times else now, now)
        at, self.step = self.step, self.step + 1
        token_id, vocabulary = step.ids[row], self.plan.vocabulary
        measures: dict[str, Any] = {}
        if step.passed is not None and self.detail is not None:
            measures = observe(step.passed, row, token_id, self.plan.pipeline, vocabulary, self.detail, self.memory)
            self.figures[at] = -measures["raw_logprob"] * BITS, measures["stages"][-1].kl if measures["stages"] else 0.0
        elif self.tells_entropy:
            measures = {"entropy": step.entropies[row]}
        text = ""
        if row not in step.retracted:
            text, self.reason, self.stop = self._read(token_id, *self._gauged(step, row))
            if step.held is not None:
                text = self._certain(at, text, self.step if self.reason else step.held[row])
        return Token(self.number, at, token_id, text, vocabulary.token_bytes[token_id], **measures)

    def _read(self, token_id: int, prob: float | None = None, entropy: float | None = None) -> tuple[str, str | None, str | None]:
        """The text that this token releases, the reason if it ends the sample, and which stop string, token or gate it was."""
        vocabulary = self.plan.vocabulary
        ends = token_id in vocabulary.end_ids and not self.plan.limits.ignore_end
        # the token that ends a text is no part of it, unless it is special and asked for
        text = "" if ends and token_id not in vocabulary.special_ids else self.detokeniser.push(token_id)
        text, reason, stop = self.stopping.push(token_id, text, prob, entropy)
        return text, reason, vocabulary.text(token_id) if reason == "end_token" else stop

    def _certain(self, at: int, text: str, held: int) -> str:
        """Text that no step before `held` can take back any more, this step's `text` among it."""
        texts = [*self.held, (at, text)]
        self.held = [each for each in texts if each[0] >= held]
        return "".join(text for step, text in texts if step < held)

    def retract(self, reason: str) -> Retracted:
        """Go back to where the memory went."""
        self.step = to = self.memory.step
        self.held = [each for each in self.held if each[0] < to]
        self.figures = {step: each for step, each in self.figures.items() if step < to}
        self._begin()
        for token_id in self.memory.ids[self.memory.prompt_length :]:
            self._read(token_id)
        return Retracted(self.number, to, reason)

    def _gauged(self, step: Step, row: int) -> tuple[float | None, float | None]:
        """Probability and entropy (bits) of the draw, as far as a gate asks; the same numbers whatever is traced."""
        limits = self.plan.limits
        prob = None if limits.min_prob is None else step.final.probability(row, step.ids[row])
        return prob, None if limits.max_entropy is None else step.entropies[row]

    def finish(self, reason: str | None = None) -> Finished:
        """The last event of this sample, with the text that was held back."""
        new, figures = self.step, self.figures.values()
        first, last = self.times or (None, None)
        measured = len(figures) == new > 0  # a mean over some of the tokens would mislead
        return Finished(
            sample=self.number,
            text="".join(text for _, text in self.held) + self.stopping.flush(self.detokeniser.flush()),
            reason=reason or self.reason or "interrupted",
            stop=self.stop,
            prompt_tokens=len(self.plan.prompt_ids),
            new_tokens=new,
            seconds_to_first_token=None if first is None else first - self.plan.since,
            tokens_per_second=(new - 1) / (last - first) if first and last and last > first else None,
            surprisal=sum(surprisal for surprisal, _ in figures) / new if measured else None,
            kl=sum(divergence for _, divergence in figures) / new if measured else None,
        )
