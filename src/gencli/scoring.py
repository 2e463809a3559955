"""What `gencli score` stands on: how likely a text is, and whether a preset could have produced it. Knows no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gencli.detokeniser import Detokeniser
from gencli.generation import vocabulary_of
from gencli.pipeline import Pipeline
from gencli.reachability import what_would_help
from gencli.scores import Ending, Reach, Score, ScoredChoice, ScoredToken, shares_among
from gencli.stopping import Limits, Stopping
from gencli.walking import GivenText, Judge, Walk, scored

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.loading import Session
    from gencli.preset import Preset
    from gencli.prompting import Prompt
    from gencli.vocabulary import Vocabulary

UNLIMITED = 2**63


def score(
    session: Session,
    text: str | Prompt,
    preset: Preset | None = None,
    *,
    prompt: str | Prompt = "",
    told: Callable[[ScoredToken], object] | None = None,
) -> Score:
    """How likely `text` is after `prompt`, and with a preset whether it could have produced it, and what would let it.

    The tokens are the tokenizer's own for the text by itself, after the prompt's. `told` hears of every
    token as soon as it is scored. Raises `UsageError` for an empty text or a setting that the
    vocabulary refuses, `RunError` for logits that are not numbers.
    """
    return score_given(session, GivenText.of(session, text, prompt), preset, told)


def score_given(
    session: Session, given: GivenText, preset: Preset | None = None, told: Callable[[ScoredToken], object] | None = None
) -> Score:
    """`score` of a text that is already tokens."""
    walk = Walk(session, given, once=preset is None)
    held: dict[int, Tensor] = {}
    judge, vocabulary = None, session.vocabulary
    if preset is not None:
        vocabulary = vocabulary_of(session, preset)
        judge = Judge(Pipeline(preset.stages()).bind(vocabulary), walk)
    tokens = []
    for token in scored(walk, judge, held):
        tokens.append(token)
        if told is not None:
            told(token)
    if preset is None:
        return Score(given.prompt_ids, tuple(tokens), given.bytes)
    ending = _ending(given, preset, vocabulary)
    blocked = [token for token in tokens if token.removed_by]
    if not blocked:
        return Score(given.prompt_ids, tuple(tokens), given.bytes, Reach(ending=ending))
    changes, together = what_would_help(walk, preset.stages(), vocabulary, blocked, held)
    reach = Reach(len(blocked), blocked[0], tuple(changes), tuple(together), ending)
    return Score(given.prompt_ids, tuple(tokens), given.bytes, reach)


def score_choices(session: Session, choices: Sequence[str], preset: Preset, *, prompt: str | Prompt = "") -> list[ScoredChoice]:
    """How likely each of several answers is after `prompt`, the whole string along the tokenizer's own tokens, and its share among them.

    Other tokens that spell the same answer are not counted. Raises what `score` raises.
    """
    pipeline = Pipeline(preset.stages()).bind(vocabulary_of(session, preset))
    found = []
    for text in choices:
        walk = Walk(session, GivenText.of(session, text, prompt), once=True)
        found.append(ScoredChoice(text, tuple(scored(walk, Judge(pipeline, walk)))))
    raw, final = shares_among([each.raw_logprob for each in found]), shares_among([each.logprob for each in found])
    return [replace(each, raw_share=one or 0.0, share=other) for each, one, other in zip(found, raw, final, strict=True)]


def _ending(given: GivenText, preset: Preset, vocabulary: Vocabulary) -> Ending | None:
    """Where the preset's own rules for stopping would have ended the text too early."""
    limits = Limits(max_new_tokens=preset.get("max_new_tokens", UNLIMITED), stop=tuple(preset.get("stop", ())))
    stopping = Stopping(limits, vocabulary.end_ids, UNLIMITED, time.monotonic())
    detokeniser = Detokeniser(vocabulary, at_start=given.at_start)
    for place, token_id in enumerate(given.ids):
        _, reason, stop = stopping.push(token_id, detokeniser.push(token_id))
        # a text may end where a run does, but a stop string is never part of it
        if reason is not None and (place < len(given.ids) - 1 or reason == "stop_string"):
            return Ending(place, reason, vocabulary.text(token_id) if reason == "end_token" else stop)
    return None
