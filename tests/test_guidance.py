"""Guided runs: transformers' text, an exact slow computation, batches, rewinding, and whoever walks along a given text."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gencli import compiled, lesson
from gencli.comparison import compare
from gencli.decoder import Decoder
from gencli.errors import RunError, UsageError
from gencli.events import Event, Finished, Retracted, Token, to_json
from gencli.generation import Options, run
from gencli.inspection import inspect, orders
from gencli.loading import Session, load
from gencli.observation import Detail
from gencli.preset import Preset
from gencli.prompting import Prompt
from gencli.replay import replay_trace
from gencli.schema import event_from
from gencli.scoring import score_given
from gencli.tokenizers import encode_prompt
from gencli.unrecorded import Record
from gencli.variations import Variation
from gencli.verification import verify_trace
from gencli.walking import GivenText
from pipelines import tiny_session
from test_decoder import llama

PROMPT = (3, 4, 5)
NEGATIVES: dict[str, list[int]] = {"": [5], "hi": [7, 8]}  # of the tiny session, whose tokens are letters
tiny = tiny_session(30, context=16)


def guided(*stages: str, scale: float = 2.0, negative: str = "", **settings: object) -> Preset:
    """A preset that begins with guidance."""
    lines = [f"guidance: {{scale: {scale}, negative: {negative!r}}}", *stages]
    more = "".join(f"{key}: {value}\n" for key, value in settings.items())
    return Preset.loads("pipeline:\n" + "".join(f"  - {line}\n" for line in lines) + more)


def events_of(preset: Preset, session: Session = tiny, prompt: Sequence[int] = PROMPT, **options: Any) -> list[Event]:
    return list(run(session, prompt, preset, Options(**{"seed": 1, "ignore_end": True, **options})))


def tokens_of(events: list[Event], sample: int = 0) -> list[Token]:
    """The tokens that were not taken back."""
    kept: list[Token] = []
    for event in events:
        if isinstance(event, Token) and event.sample == sample:
            kept.append(event)
        elif isinstance(event, Retracted) and event.sample == sample:
            del kept[event.to_step :]
    return kept


def ids_of(events: list[Event], sample: int = 0) -> list[int]:
    return [token.id for token in tokens_of(events, sample)]


def slowly(session: Session, prompt: Sequence[int], negative: Sequence[int], ids: Sequence[int], scale: float) -> torch.Tensor:
    """(vocabulary,) float64: guided log-probabilities after `ids`, everything computed anew."""
    logits = [Decoder(session.model, overflow="slide").prefill([*before, *ids]) for before in (prompt, negative)]
    own, other = (each[0].double().log_softmax(0) for each in logits if each is not None)
    return (other + scale * (own - other)).log_softmax(0)


@pytest.fixture(scope="module")
def stories(real_data: Path) -> tuple[Session, Any]:
    transformers = pytest.importorskip("transformers")
    path = real_data / "stories260k"
    return load(str(path)), transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


@pytest.mark.parametrize("negative", ["", "The dog was"])
def test_the_text_is_that_of_transformers(stories: tuple[Session, Any], negative: str) -> None:
    ours, theirs = stories
    prompt, other = (encode_prompt(ours.tokenizer, [(text, False)]) for text in ("Once upon a time", negative))
    asked = {"negative_prompt_ids": torch.tensor([other])} if negative else {}
    text = theirs.generate(
        torch.tensor([prompt]), guidance_scale=1.5, max_new_tokens=64, min_new_tokens=64, do_sample=False, pad_token_id=0, **asked
    )
    # min_new_tokens bars the end token, which neither text comes to of itself
    preset = guided("temperature: 0", scale=1.5, negative=negative, max_new_tokens=64)
    assert ids_of(list(run(ours, "Once upon a time", preset, Options(ignore_end=True)))) == text[0, len(prompt) :].tolist()


@pytest.mark.parametrize("negative", NEGATIVES)
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("fast", [False, True])
def test_it_is_the_exact_slow_computation_beyond_the_context_too(negative: str, cache: bool, fast: bool) -> None:
    if fast and not compiled.available():
        pytest.skip("the extra `fast` is not installed")
    session = replace(tiny_session(40), model=llama(16, fast=True)) if fast else tiny
    preset = guided(negative=negative, max_new_tokens=40)
    tokens = tokens_of(events_of(preset, session, detail=Detail(logits=True), overflow="slide", cache=cache))
    ids = [token.id for token in tokens]
    assert len(ids) == 40
    for at, token in enumerate(tokens):
        assert token.logits is not None
        final = Record.of(token.logits).final.double().log_softmax(0)
        torch.testing.assert_close(final, slowly(session, PROMPT, NEGATIVES[negative], ids[:at], 2.0), rtol=0, atol=1e-4)


def test_two_guidances_have_a_companion_each() -> None:
    preset = guided("guidance: {scale: 0.5, negative: hi}", max_new_tokens=6)
    tokens = tokens_of(events_of(preset, detail=Detail(logits=True)))
    ids = [token.id for token in tokens]
    for at, token in enumerate(tokens):
        assert token.logits is not None
        first, other = (slowly(tiny, PROMPT, before, ids[:at], scale) for before, scale in (([5], 2.0), ([7, 8], 0.0)))
        final = Record.of(token.logits).final.double().log_softmax(0)
        torch.testing.assert_close(final, (0.5 * (first + other)).log_softmax(0), rtol=0, atol=1e-4)


def test_rows_that_go_back_and_end_early_are_what_they_are_alone() -> None:
    """With phrases banned that the runs do write, the companion goes back with each row by itself."""
    free = [ids_of(events_of(guided(negative="hi", max_new_tokens=12), samples=6), sample) for sample in range(6)]
    texts = ["".join(chr(97 + token % 26) for token in ids) for ids in free]
    words = sorted({text[at : at + 2] for text in texts for at in (0, 4, 7)})
    preset = guided(f"banned_words: [{', '.join(words)}]", negative="hi", max_new_tokens=12)
    together = events_of(preset, samples=6, ignore_end=False, detail=Detail(logits=True))
    back = [event.to_step for event in together if isinstance(event, Retracted)]
    assert len(back) >= 6
    assert 0 in back
    assert len({event.new_tokens for event in together if isinstance(event, Finished)}) > 1
    for sample in range(6):
        alone = events_of(preset, first_sample=sample, ignore_end=False)
        tokens = tokens_of(together, sample)
        ids = [token.id for token in tokens]
        assert ids == ids_of(alone, sample) != []
        for at, token in enumerate(tokens):  # and what each was drawn from is what its text alone decides
            assert token.logits is not None
            final = Record.of(token.logits).final.double()
            left = final > -torch.inf
            expected = slowly(tiny, PROMPT, [7, 8], ids[:at], 2.0)[left]
            torch.testing.assert_close(final[left].log_softmax(0), expected.log_softmax(0), rtol=0, atol=1e-4)


def test_one_is_no_stage_at_all_to_the_bit() -> None:
    def plain(preset: Preset) -> list[Event]:
        tokens = tokens_of(events_of(preset, detail=Detail(candidates=None)))
        return [replace(token, stages=(token.stages or ())[-1:], candidates=None) for token in tokens]

    with_it, without = plain(guided("top_k: 8", scale=1, negative="hi")), plain(Preset.loads("pipeline: [top_k: 8]"))
    assert [(t.id, t.logprob, t.raw_logprob, t.entropy, t.rank) for t in with_it] == [
        (t.id, t.logprob, t.raw_logprob, t.entropy, t.rank) for t in without
    ]


def test_what_is_told_adds_up() -> None:
    for token in tokens_of(events_of(guided("top_k: 8", scale=1.5), detail=Detail(candidates=None, after=True))):
        assert token.candidates is not None
        assert token.stages is not None
        assert sum(each.raw_prob for each in token.candidates) == pytest.approx(1)
        assert sum(each.prob for each in token.candidates) == pytest.approx(1)
        assert sum((each.after or ())[0] for each in token.candidates) == pytest.approx(1)
        guidance, cut = token.stages
        assert (guidance.kept, guidance.mass_removed, cut.kept) == (30, 0.0, 8)
        assert guidance.kl > 0


def test_a_run_ends_where_the_longer_of_both_texts_fills_the_context() -> None:
    (finished,) = [event for event in events_of(guided(negative="ahoyahoy")) if isinstance(event, Finished)]
    assert (finished.reason, finished.new_tokens) == ("context", 16 - 8)
    with pytest.raises(UsageError, match=r"the negative prompt has 16 tokens and the context holds 16.*--overflow slide"):
        events_of(guided(negative="ahoy" * 4))
    assert len(ids_of(events_of(guided(negative="ahoy" * 5, max_new_tokens=9), overflow="slide"))) == 9


@pytest.mark.parametrize("negative", NEGATIVES)
def test_a_given_text_is_judged_as_a_run_would_draw_it(negative: str) -> None:
    preset = guided("top_k: 6", "temperature: 0.8", negative=negative, max_new_tokens=30)
    tokens = tokens_of(events_of(preset, detail=Detail(), overflow="slide"))
    score = score_given(tiny, GivenText(PROMPT, tuple(token.id for token in tokens), 1), preset)
    assert score.reach is not None
    assert score.reach.blocked == 0
    assert [each.logprob for each in score.tokens] == pytest.approx([token.logprob for token in tokens], abs=1e-3)


def test_what_would_let_a_blocked_text_through_does() -> None:
    preset = guided("top_k: 1", negative="hi", scale=3.0)
    ids = tuple(ids_of(events_of(Preset.loads("pipeline: [top_k: 1]\nmax_new_tokens: 9"))))
    reach = score_given(tiny, GivenText(PROMPT, ids, 1), preset).reach
    assert reach is not None
    assert reach.first is not None
    scale = next(change for change in reach.changes if change.stage == "guidance")
    assert 1 <= scale.new < 3
    nearer = guided("top_k: 1", negative="hi", scale=scale.new)
    assert ids_of(events_of(replace(nearer, settings=()), prompt=PROMPT))[:9] == list(ids)


@pytest.fixture(scope="module")
def fable() -> Session:
    return load("fable-6m", threads=1)


def test_compare_and_inspect_see_what_a_run_draws_from(fable: Session) -> None:
    preset = guided("temperature: 0.9", negative="The dog was", scale=1.5, max_new_tokens=5)
    written = events_of(preset, fable, "Once upon a time", samples=2, detail=Detail())
    other = guided("temperature: 0.9", scale=3, max_new_tokens=5)
    found = compare(fable, "Once upon a time", [Variation(each, preset, {}) for each in ("one", "same")] + [Variation("other", other, {})],
                    Options(seed=1, samples=2))  # fmt: skip
    one, same, different = found.contenders
    assert [run.ids for run in one.runs] == [tuple(ids_of(written, sample)) for sample in range(2)]
    for point in one.points:
        assert point.first_prob == pytest.approx(math.exp(tokens_of(written, point.sample)[point.step].logprob or 0), abs=1e-5)
    assert same.distance is not None
    assert different.distance is not None
    assert same.distance.value == 0 < different.distance.value
    steps = inspect(fable, Prompt.of("Once upon a time"), preset, Detail(), steps=5, along="sampled", seed=1)
    seen = [(step.token.id, step.token.logprob) for step in steps]
    assert seen == [(token.id, pytest.approx(token.logprob, abs=1e-5)) for token in tokens_of(written)][: len(seen)]
    own = orders(fable, Prompt.of("Once upon a time"), preset)[0]
    assert own.entropy == pytest.approx(tokens_of(written)[0].entropy, abs=1e-4)


def test_a_lesson_is_guided_as_a_run_is() -> None:
    expected = ids_of(events_of(guided("temperature: 0", max_new_tokens=9)))
    for model in (tiny.model, lambda ids: tiny.model(ids)):
        ids = lesson.generate_greedy(model, torch.tensor([PROMPT, (9, 9, 5)]), 9, guidance=2.0)
        assert ids[0, 3:].tolist() == expected


def test_a_trace_replays_what_it_can() -> None:
    preset = guided("temperature: 0.8", "top_k: 12", negative="hi", max_new_tokens=8)
    events = events_of(preset, detail=Detail(logits=True))
    steps = list(replay_trace(events))
    assert all(step.same for step in steps)
    assert all(step.decided for step in replay_trace(events, seed=5))
    longer = guided("temperature: 0.8", "top_k: 12", "top_k: 3", negative="hi")
    assert all(step.decided for step in replay_trace(events, longer, vocabulary=tiny.vocabulary))
    assert all(step.decided for step in replay_trace(events, Preset.loads("pipeline: [top_k: 3]")))
    for other in (guided("top_k: 12", negative="ha"), guided("top_k: 12", negative="hi", scale=3), guided("guidance: 3", negative="hi")):
        with pytest.raises(UsageError, match="guidance asks the model twice at every step, and a trace keeps what it made of that"):
            list(replay_trace(events, other, vocabulary=tiny.vocabulary))


def test_under_the_same_guidance_other_stages_replay_as_they_would_run(fable: Session) -> None:
    def preset(*stages: str) -> Preset:
        return guided(*stages, negative="The dog was", scale=2.0, max_new_tokens=12)

    written = events_of(preset("temperature: 0.8", "top_k: 40"), fable, "Once upon a time", detail=Detail(logits=True))
    events = [event_from(json.loads(to_json(event))) for event in written]  # as a trace has them
    for other in (preset("temperature: 0"), preset("top_k: 20", "temperature: 1.2"), preset("top_k: 30", "xtc: 1")):
        fresh = ids_of(events_of(other, fable, "Once upon a time"))
        steps = list(replay_trace(events, other, vocabulary=fable.vocabulary))
        assert all(step.decided for step in steps)
        same = next((at for at, step in enumerate(steps) if not step.same), len(steps) - 1)
        assert [step.id for step in steps[: same + 1]] == fresh[: same + 1]
    started, token = events[:2]
    without = [started, replace(token, logits=replace(token.logits, guided=None))]
    with pytest.raises(RunError, match="no logits were recorded"):
        list(replay_trace(without, preset("top_k: 3"), vocabulary=fable.vocabulary))


def test_a_trace_is_verified(fable: Session) -> None:
    preset = guided("temperature: 0.8", "top_k: 40", negative="The dog was", scale=1.5, max_new_tokens=6)
    found = verify_trace(fable, events_of(preset, fable, "Once upon a time", samples=2, detail=Detail(logits=True)))
    assert (found.difference, found.tokens, found.same, found.largest) == (None, 12, 12, 0)
