"""Steps that a run would take, orders against trying each by hand, and the variance of the surprisal."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch

from gencli.candidates import Candidates
from gencli.errors import UsageError
from gencli.events import Token
from gencli.generation import Options, run
from gencli.inspection import inspect, orders, varentropy
from gencli.loading import load
from gencli.memory import Memory
from gencli.observation import Detail
from gencli.pipeline import Pipeline
from gencli.preset import Preset
from gencli.prompting import Prompt
from gencli.scoring import score

STORY = Prompt.of("Once upon a time")
DETAIL = Detail(candidates=5, after=True)


@pytest.fixture(scope="module")
def session():
    return load()


@pytest.mark.parametrize("name", ["creative", "greedy"])
def test_sampled_steps_are_those_of_a_run(session, name):
    preset = Preset.load(name)
    _, *events = itertools.islice(run(session, STORY, preset, Options(seed=11, detail=DETAIL)), 9)
    found = list(inspect(session, STORY, preset, DETAIL, steps=8, along="sampled", seed=11))
    assert [step.token for step in found] == events


def test_greedy_steps_take_the_likeliest_that_the_pipeline_left(session):
    preset = Preset.load("creative")
    for step in inspect(session, STORY, preset, DETAIL, steps=5):
        assert step.token.id == max(step.token.candidates, key=lambda each: each.prob).id
        assert len(step.varentropies) == len(step.token.stages) + 1


def test_given_steps_follow_the_text_and_end_with_it(session):
    given = score(session, ", there was a logarithm", Preset.load("creative"), prompt="Once upon a time")
    ids = [token.id for token in given.tokens]
    found = list(inspect(session, STORY, Preset.load("creative"), DETAIL, steps=50, along=ids))
    assert [step.token.id for step in found] == ids
    for step, token in zip(found, given.tokens, strict=True):
        assert step.token.raw_logprob == pytest.approx(token.raw_logprob, abs=1e-3)
        assert step.token.rank == token.rank
        assert step.varentropies[0] == pytest.approx(token.varentropy, abs=1e-2)
        own = next(each for each in step.token.candidates if each.id == token.id)
        assert own.removed_by == token.removed_by
    assert any(token.removed_by for token in given.tokens)


def test_a_stage_that_takes_tokens_back_shows_one_step_or_given_ones(session):
    preset = Preset.loads('pipeline: [{banned_words: ["little girl"]}, {temperature: 0}]\nmax_new_tokens: 8\n')
    first, *_ = (event for event in run(session, STORY, preset, Options(seed=1, detail=DETAIL)) if isinstance(event, Token))
    for along in ("greedy", "sampled"):
        assert [step.token for step in inspect(session, STORY, preset, DETAIL, along=along, seed=1)] == [first]
        with pytest.raises(
            UsageError, match=r"^banned_words takes tokens back, and steps that are inspected only go on; give their --text"
        ):
            list(inspect(session, STORY, preset, DETAIL, steps=2, along=along))
    given = session.tokenizer.encode(", there was a little girl", at_start=False)
    assert [step.token.id for step in inspect(session, STORY, preset, DETAIL, steps=50, along=given)] == given


def test_a_path_ends_with_an_end_token(session):
    forced = Preset.loads("pipeline: [{logit_bias: [[0, 1000]]}]")
    assert [step.token.id for step in inspect(session, STORY, forced, DETAIL, steps=5)] == [0]


@pytest.mark.parametrize("seed", range(5))
def test_varentropy_is_the_variance_of_the_surprisal(seed):
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(seed)) * 4
    logits[0, random.Random(seed).sample(range(50), 20)] = -math.inf
    probs = logits.double().softmax(1)[0]
    bits = -probs[probs > 0].log2()
    mean = (probs[probs > 0] * bits).sum()
    assert varentropy(Candidates(logits)) == pytest.approx(float((probs[probs > 0] * (bits - mean) ** 2).sum()), rel=1e-5)
    assert varentropy(Candidates(torch.zeros(1, 8))) == pytest.approx(0, abs=1e-9)


def test_every_order_is_tried_and_told_truly(session):
    preset = Preset.loads("pipeline: [{repetition_penalty: 1.3}, {temperature: 1.5}, {top_p: 0.8}, {top_k: 20}]")
    outcomes = orders(session, STORY, preset)
    named = dict(zip(("repetition_penalty", "temperature", "top_p", "top_k"), preset.stages(), strict=True))
    told = {order: outcome for outcome in outcomes for order in outcome.orders}
    assert set(told) == set(itertools.permutations(named))
    ids = session.tokenizer.encode(STORY.text)
    raw = Candidates(session.decoder().prefill(ids))
    results = {}
    for order, outcome in told.items():
        final = Pipeline([named[name] for name in order])(raw, [Memory(ids)])
        probs = final.spread(session.vocabulary.size)[0].double().softmax(0)
        inside = probs > 0
        assert outcome.kept == int(inside.sum())
        assert outcome.mass == pytest.approx(float(raw.probs()[0][inside].sum()), abs=1e-6)
        assert outcome.entropy == pytest.approx(float(-(probs[inside] * probs[inside].log2()).sum()), abs=1e-4)
        results.setdefault(id(outcome), []).append(probs)
    for group in results.values():
        assert all(bool(((probs - group[0]).abs() < 1e-5).all()) for probs in group)
    firsts = [group[0] for group in results.values()]
    assert all(bool(((one - other).abs() > 1e-6).any()) for one, other in itertools.combinations(firsts, 2))
    assert len(firsts) > 1
    assert outcomes[0].own
    assert outcomes[0].orders[0] == tuple(named)
    assert [outcome.own for outcome in outcomes[1:]] == [False] * (len(outcomes) - 1)


def test_stages_of_one_name_are_told_apart(session):
    (outcome, *_) = orders(session, STORY, Preset.loads("pipeline: [{top_k: 5}, {top_k: 9}]"))
    assert outcome.orders == (("top_k#1", "top_k#2"), ("top_k#2", "top_k#1"))
    assert outcome.kept == 5


def test_without_stages_there_is_one_order_and_seven_are_too_many(session):
    (only,) = orders(session, STORY, Preset())
    assert (only.orders, only.kept, only.own) == (((),), session.vocabulary.size, True)
    with pytest.raises(UsageError, match="7 stages, and orders are tried for at most 6"):
        orders(session, STORY, Preset.loads(f"pipeline: [{', '.join(['{top_k: 5}'] * 7)}]"))
