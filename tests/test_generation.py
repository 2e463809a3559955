"""The main path on the embedded checkpoint: events, samples, noise, limits."""

from __future__ import annotations

import math

import pytest
import torch

from gencli.candidates import Candidates
from gencli.detokeniser import decode
from gencli.errors import RunError, UsageError
from gencli.events import Finished, Started, Token
from gencli.generation import Options, run
from gencli.loading import load
from gencli.memory import Memory
from gencli.observation import Detail
from gencli.pipeline import Pipeline
from gencli.preset import Preset
from gencli.prompting import Prompt

STORY = "Once upon a time"
CREATIVE = "pipeline:\n  - repetition_penalty: 1.1\n  - temperature: 0.9\n  - top_k: 60\n  - top_p: 0.95\n"


@pytest.fixture(scope="module")
def session():
    return load()


def preset(text="", tokens=30):
    return Preset.loads(f"{text}max_new_tokens: {tokens}\n")


def events_of(session, prompt=STORY, text=CREATIVE, tokens=30, **options):
    return list(run(session, prompt, preset(text, tokens), Options(**{"seed": 1, **options})))


def ids_of(events, sample=0):
    return [event.id for event in events if isinstance(event, Token) and event.sample == sample]


def finish_of(events, sample=0):
    return next(event for event in events if isinstance(event, Finished) and event.sample == sample)


def text_of(events, sample=0):
    return "".join(event.text for event in events if isinstance(event, Token | Finished) and event.sample == sample)


def test_a_run_is_a_start_then_tokens_then_a_finish(session):
    events = events_of(session)
    assert [type(event) for event in events] == [Started, *[Token] * 30, Finished]
    assert (events[0].seed, events[0].samples, events[0].prompt) == (1, 1, STORY)
    assert [event.step for event in events[1:-1]] == list(range(30))
    assert (events[-1].reason, events[-1].new_tokens, events[-1].prompt_tokens) == ("length", 30, len(events[0].prompt_ids))


@pytest.mark.parametrize("seed", range(5))
def test_streamed_text_is_the_whole_decoded_at_once(session, seed):
    events = events_of(session, text="pipeline: [{temperature: 3}]\n", tokens=60, seed=seed, ignore_end=True)
    assert text_of(events) == decode(session.vocabulary, ids_of(events))


def test_the_same_seed_repeats_and_another_does_not(session):
    assert ids_of(events_of(session)) == ids_of(events_of(session))
    assert ids_of(events_of(session)) != ids_of(events_of(session, seed=2))


def test_without_a_seed_one_is_drawn_and_told(session):
    first, second = events_of(session, seed=None), events_of(session, seed=None)
    assert first[0].seed != second[0].seed
    assert ids_of(events_of(session, seed=first[0].seed)) == ids_of(first)


def test_a_sample_alone_is_that_sample_in_the_batch(session):
    batch = events_of(session, samples=8, ignore_end=True)
    for number in (0, 3, 7):
        alone = events_of(session, first_sample=number, ignore_end=True)
        ours, theirs = ids_of(alone, number), ids_of(batch, number)
        if ours != theirs:
            step = next(at for at, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other)
            assert _distance_to_a_boundary(session, ours[:step], number) < 1e-5


def _distance_to_a_boundary(session, new_ids, sample):
    """How far the drawing number of the next step lies from the nearest boundary of its distribution."""
    prompt_ids = session.tokenizer.encode(STORY)
    memory = Memory(prompt_ids, 1, sample)
    for token_id in new_ids:
        memory.append(token_id)
    logits = session.decoder().prefill([*prompt_ids, *new_ids])
    final = Pipeline(preset(CREATIVE).stages())(Candidates(logits), [memory])
    boundaries = final.probs().cumsum(dim=1)
    return float((boundaries - memory.uniform()).abs().min())


def test_samples_stop_each_by_itself_and_the_others_go_on(session):
    lengths = set()
    events = events_of(session, samples=6, tokens=80)
    for sample in range(6):
        finish = finish_of(events, sample)
        assert finish.new_tokens == len(ids_of(events, sample))
        alone = events_of(session, first_sample=sample, tokens=80)
        assert finish.new_tokens == finish_of(alone, sample).new_tokens
        lengths.add(finish.new_tokens)
    assert len([event for event in events if isinstance(event, Finished)]) == 6


@pytest.mark.parametrize("text", ["pipeline: [{temperature: 0}]\n", CREATIVE])
def test_no_cache_gives_the_same_tokens(session, text):
    assert ids_of(events_of(session, text=text, tokens=20, cache=False)) == ids_of(events_of(session, text=text, tokens=20))


@pytest.mark.slow
def test_a_full_context_ends_the_run_or_slides(session):
    room = session.context - len(session.tokenizer.encode(STORY))
    full = events_of(session, tokens=1000, ignore_end=True)
    assert (finish_of(full).reason, finish_of(full).new_tokens) == ("context", room)
    slid = events_of(session, tokens=room + 40, ignore_end=True, overflow="slide")
    assert (finish_of(slid).reason, finish_of(slid).new_tokens) == ("length", room + 40)
    assert ids_of(slid)[:room] == ids_of(full)


def test_a_prompt_that_fills_the_context(session):
    long = "a b c d " * 400
    with pytest.raises(UsageError, match="the context holds 512"):
        events_of(session, prompt=long)
    assert finish_of(events_of(session, prompt=long, overflow="slide", tokens=3, ignore_end=True)).new_tokens == 3


def test_an_end_token_ends_with_an_empty_text(session):
    events = events_of(session, text="pipeline: [{logit_bias: {0: 1000}}]\n")
    assert (ids_of(events), text_of(events)) == ([0], "")
    assert (finish_of(events).reason, finish_of(events).stop) == ("end_token", "<|endoftext|>")


def test_a_presets_end_token_stands_beside_the_checkpoints(session):
    text = 'end_tokens: [" the"]\npipeline: [{logit_bias: {" the": 1000}}]\n'
    events = events_of(session, text=text)
    assert (len(ids_of(events)), text_of(events), finish_of(events).stop) == (1, "", " the")
    with pytest.raises(UsageError, match="not one token"):
        events_of(session, text='end_tokens: ["several tokens here"]\n')


def test_ignore_end_goes_on(session):
    events = events_of(session, text="pipeline: [{logit_bias: {0: 1000}}]\n", tokens=5, ignore_end=True)
    assert ids_of(events) == [0] * 5
    assert finish_of(events).reason == "length"


def test_a_stop_string_is_left_out_and_named(session):
    whole = text_of(events_of(session, tokens=40))
    stop = whole[25:31]
    events = events_of(session, text=f"{CREATIVE}stop: [{stop!r}]\n", tokens=40)
    assert text_of(events) == whole[: whole.index(stop)]
    assert (finish_of(events).reason, finish_of(events).stop) == ("stop_string", stop)


def test_time_runs_out(session):
    assert finish_of(events_of(session, tokens=100_000, overflow="slide", ignore_end=True, time_limit=0.05)).reason == "time"


def test_a_loop_ends_only_where_it_is_asked_for(session):
    text = "pipeline: [{logit_bias: {300: 1000}}]\n"
    assert finish_of(events_of(session, text=text)).reason == "length"
    looped = finish_of(events_of(session, text=text, gates=frozenset({"loop"})))
    assert (looped.reason, looped.new_tokens) == ("loop", 24)


GATES = [({"min_prob": 0.02}, "min_prob"), ({"max_entropy": 3.5}, "max_entropy")]


@pytest.mark.parametrize(("options", "name"), GATES)
def test_a_gate_trips_at_the_first_token_beyond_it(session, options, name):
    free = [event for event in events_of(session, tokens=40, detail=Detail()) if isinstance(event, Token)]
    beyond = [math.exp(event.logprob) < 0.02 if name == "min_prob" else event.entropy > 3.5 for event in free]
    events = events_of(session, tokens=40, **options)
    finish = finish_of(events)
    assert 0 < beyond.index(True) < 39
    assert (finish.reason, finish.new_tokens) == ("gate", beyond.index(True) + 1)
    assert ids_of(events) == [event.id for event in free[: finish.new_tokens]]
    assert finish.stop.startswith(f"{name}: ")


@pytest.mark.parametrize(("options", "name"), GATES)
def test_a_gate_trips_the_same_traced_or_not_and_alone_or_in_a_batch(session, options, name):
    batch = events_of(session, tokens=40, samples=4, **options)
    traced = events_of(session, tokens=40, samples=4, detail=Detail(), **options)
    assert [finish_of(batch, sample).stop for sample in range(4)] == [finish_of(traced, sample).stop for sample in range(4)]
    for sample in range(4):
        alone = finish_of(events_of(session, tokens=40, first_sample=sample, **options), sample)
        assert (alone.reason, alone.new_tokens) == (finish_of(batch, sample).reason, finish_of(batch, sample).new_tokens)


def test_the_entropy_is_told_without_any_detail(session):
    told = [event for event in events_of(session, entropy=True, samples=2) if isinstance(event, Token)]
    traced = [event for event in events_of(session, detail=Detail(), samples=2) if isinstance(event, Token)]
    assert [event.entropy for event in told] == pytest.approx([event.entropy for event in traced], abs=1e-5)
    assert {event.candidates for event in told} == {None}
    assert {event.entropy for event in events_of(session) if isinstance(event, Token)} == {None}


def test_an_interruption_finishes_every_sample(session):
    asked = iter([False] * 4 + [True] * 100)
    events = events_of(session, samples=3, tokens=50, interrupted=lambda: next(asked))
    finishes = [event for event in events if isinstance(event, Finished)]
    assert {finish.reason for finish in finishes} == {"interrupted"}
    assert len(finishes) == 3


def test_an_empty_prompt_starts_from_the_end_token(session):
    assert events_of(session, prompt="", tokens=2)[0].prompt_ids == (0,)


def test_special_text_is_special_only_where_it_may_be(session):
    assert events_of(session, prompt=Prompt.of("<|user|>", special=True), tokens=1)[0].prompt_ids == (1,)
    assert len(events_of(session, prompt="<|user|>", tokens=1)[0].prompt_ids) > 1


def test_a_seed_out_of_range(session):
    for seed in (-1, 2**63):
        with pytest.raises(UsageError, match="seed"):
            events_of(session, seed=seed)


def test_logits_that_are_no_numbers_name_the_step(session):
    class Broken:
        def __getattr__(self, name):
            return getattr(session.model, name)

        def __call__(self, ids, cache=None, last=False):
            logits = session.model(ids, cache, last)
            return logits if ids.shape[1] > 1 else logits * math.nan

    import dataclasses

    with pytest.raises(RunError, match="step 1"):
        events_of(dataclasses.replace(session, model=Broken()))


@pytest.mark.slow
def test_the_draw_follows_the_final_probabilities(session):
    """Chi-square over 20,000 samples of one step; fixed seeds, so it cannot flicker.

    A right draw fails with odds of 1 in 1,000 over the choice of the seed.
    """
    from scipy.stats import chisquare

    events = list(run(session, STORY, preset(CREATIVE, 1), Options(seed=11, detail=Detail(candidates=None))))
    probs = {candidate.id: candidate.prob for candidate in events[1].candidates if candidate.prob > 0}
    drawn = [ids[0] for block in range(10) for ids in _first_ids(session, block)]
    assert set(drawn) <= set(probs)
    expected = [probs[token] * len(drawn) for token in sorted(probs)]
    observed = [drawn.count(token) for token in sorted(probs)]
    rare = [at for at, count in enumerate(expected) if count < 5]
    pooled = lambda counts: [c for at, c in enumerate(counts) if at not in rare] + ([sum(counts[at] for at in rare)] if rare else [])  # noqa: E731
    observed, expected = pooled(observed), pooled(expected)
    scale = sum(observed) / sum(expected)
    assert chisquare(observed, [count * scale for count in expected]).pvalue > 1e-3


def _first_ids(session, block):
    options = Options(seed=5, samples=2000, first_sample=2000 * block)
    return [[event.id] for event in run(session, STORY, preset(CREATIVE, 1), options) if isinstance(event, Token)]


def test_figures_of_the_finish(session):
    finish = finish_of(events_of(session, detail=Detail()))
    assert finish.seconds_to_first_token > 0
    assert finish.tokens_per_second > 0
    assert finish.surprisal > 0
    assert finish.kl >= 0
    assert finish_of(events_of(session)).surprisal is None
    assert torch.is_inference_mode_enabled() is False


def test_token_ids_are_a_prompt_as_they_are(session):
    text = events_of(session)
    ids = events_of(session, list(text[0].prompt_ids))
    assert ids_of(ids) == ids_of(text)
    assert ids[0].prompt_ids == text[0].prompt_ids
    assert ids[0].prompt == STORY
    special = next(iter(session.vocabulary.special_ids))
    assert events_of(session, [special], tokens=1)[0].prompt_ids == (special,)
    for wrong in ([-1], [session.vocabulary.size]):
        with pytest.raises(UsageError, match="token ids must lie in"):
            events_of(session, wrong)
