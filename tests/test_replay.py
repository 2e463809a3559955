"""A replay gives the recorded tokens under the recorded preset, and what another one would have drawn, or says that it cannot know."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

from gencli.errors import RunError, UsageError
from gencli.loading import Session, load
from gencli.preset import Preset
from gencli.registry import find
from gencli.replay import replay_trace
from gencli.shipped import folder
from gencli.stages import knobs
from gencli.trace import Trace
from proofs import quick
from recorded import BY_HAND, EVERY_STAGE, logits_of, made, plain_vocabulary, preset_of, recorded, truth

SIZE = 3000
ROUNDED = 1e-5  # of probability
VOCABULARY = plain_vocabulary(SIZE)
FIRST = list({name: (name, knobs) for name, knobs in reversed(EVERY_STAGE)}.values())  # one setting a stage
SHIPPED = sorted(path.stem for path in (folder("configs") / "presets").glob("*.yaml"))


@pytest.fixture(scope="module")
def session() -> Session:
    return load("fable-6m", threads=1)


def drawn(events) -> list[int]:
    return [event.id for event in events if event.event == "token"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_preset_replays_itself(session, name):
    events = recorded(session, Preset.load(name), tokens=24, samples=2)
    steps = list(replay_trace(events))
    assert [step.recorded_id for step in steps] == drawn(events)
    assert all(step.same for step in steps)
    assert all(step.prob == step.recorded_prob and step.unrecorded == 0 for step in steps)
    logprobs = [event.logprob for event in events if event.event == "token"]
    assert [math.log(step.prob[0]) for step in steps] == pytest.approx(logprobs, abs=1e-5)


@pytest.mark.parametrize(("name", "knobs"), quick(EVERY_STAGE, lambda each: each in FIRST), ids=str)
def test_every_stage_replays_itself(session, name, knobs):
    events = recorded(session, preset_of((name, knobs)))
    steps = list(replay_trace(events))
    assert len(steps) == 8
    assert all(step.same for step in steps)
    assert [step.id for step in steps] == drawn(events)


def test_another_seed_draws_from_the_recorded_distributions(session):
    events = recorded(session, Preset.load("creative"), tokens=24)
    steps = list(replay_trace(events, seed=2))
    assert all(step.decided and step.unrecorded == 0 for step in steps)
    assert 0 < sum(step.same for step in steps) < 24
    again = recorded(session, Preset.load("creative"), seed=2, tokens=1)
    assert steps[0].id == drawn(again)[0]  # as long as nothing parted, it is the run of that seed


def test_a_later_stage_goes_on_from_the_recorded_end(session):
    events = recorded(session, preset_of(("top_p", {"p": 0.9})), tokens=24)
    steps = list(replay_trace(events, preset_of(("top_p", {"p": 0.9}), ("temperature", {"temperature": 0.0}))))
    assert all(step.decided and step.prob == (1.0, 1.0) for step in steps)


@pytest.mark.parametrize("other", [name for name in SHIPPED if name != "brainstorm"])
def test_another_preset_is_decided_and_is_what_a_run_begins_with(session, other):
    events = recorded(session, Preset.load("creative"), tokens=24)
    steps = list(replay_trace(events, Preset.load(other), vocabulary=session.vocabulary))
    assert all(step.decided for step in steps)
    fresh = drawn(recorded(session, Preset.load(other), tokens=24))
    same = next((at for at, step in enumerate(steps) if not step.same), 23)
    assert [step.id for step in steps[: same + 1]] == fresh[: same + 1]


def test_another_order_is_decided(session):
    stages = [("temperature", {"temperature": 1.3}), ("top_k", {"k": 50}), ("top_p", {"p": 0.8})]
    events = recorded(session, preset_of(*stages), tokens=24)
    steps = list(replay_trace(events, preset_of(*reversed(stages))))
    assert all(step.decided for step in steps)
    assert not all(step.same for step in steps)


def test_all_candidates_decide_everything(session):
    events = recorded(session, Preset.load("greedy"), candidates=None)
    steps = list(replay_trace(events, preset_of(("temperature", {"temperature": 1.7}))))
    assert all(step.decided and step.unrecorded == 0 for step in steps)


def test_what_the_record_does_not_hold_is_said(session):
    events = recorded(session, Preset.load("greedy"))
    steps = list(replay_trace(events, preset_of(("temperature", {"temperature": 1.7}))))
    assert not all(step.decided for step in steps)
    for step in steps:
        assert 0 < step.unrecorded < 1
        assert step.recorded_prob[0] < step.recorded_prob[1]


def test_texts_come_from_the_trace_or_the_vocabulary(session):
    events = recorded(session, Preset.load("creative"))
    names = {event.id: session.vocabulary.text(event.id) for event in events if event.event == "token"}
    for vocabulary in (None, session.vocabulary):
        for step in replay_trace(events, Preset.load("greedy"), vocabulary=vocabulary):
            assert step.recorded_text == names[step.recorded_id]
            assert step.text == session.vocabulary.text(step.id)
    others = [step for seed in range(5) for step in replay_trace(events, preset_of(("top_k", {"k": 200})), seed)]
    assert {None} < {step.text for step in others}


def spoilt(events, **changes):
    """The events, the second token's changed."""
    at = [place for place, event in enumerate(events) if event.event == "token"][1]
    return [*events[:at], replace(events[at], **changes), *events[at + 1 :]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"logits": None}, "no logits were recorded"),
        ({"step": 5}, "step 1 is missing"),
        ({"id": 10**9}, "outside of the vocabulary"),
        ({"id": -1}, "outside of the vocabulary"),
        ({"sample": 10**30}, "number of a sample"),
    ],
    ids=str,
)
def test_a_token_that_cannot_be_replayed_is_a_sentence(change, said):
    events = list(made(logits_of(2, SIZE, 1), preset_of(), 1, VOCABULARY))
    with pytest.raises(RunError, match=said):
        list(replay_trace(spoilt(events, **change)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 2**70}, "seed"),
        ({"prompt_ids": ()}, "prompt_ids"),
        ({"prompt_ids": (2**70,)}, "prompt_ids"),
        ({"samples": 10**12}, "samples"),
        ({"first_sample": -1}, "first_sample"),
        ({"preset": {}}, "preset does not hold"),
        ({"preset": {"pipeline": 5}}, "preset does not hold"),
        ({"preset": {"pipeline": [{"stage": "\x1b[2J", "knobs": {}}]}}, "there is no stage"),
        ({"preset": {"pipeline": [{"stage": "top_k", "knobs": {"k": {"value": "many"}}}]}}, "top_k must be"),
        ({"preset": {"pipeline": [{"stage": "top_k", "knobs": {"kk": {"value": 1}}}]}}, "preset does not hold"),
        (
            {"preset": {"pipeline": [{"stage": "min_new_tokens", "knobs": {"tokens": {"value": 9}}, "bound": {"end_ids": ["x"]}}]}},
            "cannot be run",
        ),
    ],
    ids=str,
)
def test_a_start_that_is_none_is_a_sentence(change, said):
    events = list(made(logits_of(2, SIZE, 1), preset_of(("top_k", {"k": 9})), 1, VOCABULARY))
    with pytest.raises(RunError, match=said):
        list(replay_trace([replace(events[0], **change), *events[1:]], seed=3))


def test_a_trace_without_its_start():
    events = list(made(logits_of(2, SIZE, 1), preset_of(), 1, VOCABULARY))
    with pytest.raises(RunError, match="before the start"):
        list(replay_trace(events[1:]))
    with pytest.raises(RunError, match="no start"):
        list(replay_trace(Trace(())))
    with pytest.raises(UsageError, match="seed"):
        list(replay_trace(events, seed=-1))


def test_text_needs_a_vocabulary():
    events = list(made(logits_of(2, SIZE, 1), preset_of(), 1, VOCABULARY))
    named = Preset.loads("pipeline: [{logit_bias: {'12': -inf}}]")
    with pytest.raises(UsageError, match="logit_bias needs the checkpoint's tokens"):
        list(replay_trace(events, named))
    assert len(list(replay_trace(events, named, vocabulary=VOCABULARY))) == 3


PIPELINES = st.lists(st.sampled_from(BY_HAND), max_size=3).map(lambda stages: preset_of(*stages)) | st.sampled_from(SHIPPED).map(
    Preset.load
)


def check_what_is_decided(recorded_by: Preset, other: Preset, rows: list[torch.Tensor], seed: int) -> None:
    """What a replay decides is what really is drawn, and its bounds hold the true probabilities."""
    try:
        events = list(made(rows, recorded_by, 0, VOCABULARY))
        expected = list(truth(rows, drawn(events), other, seed, VOCABULARY))
    except RunError:  # logits beyond float32: no run either
        reject()
    steps = list(replay_trace(events, other, seed, VOCABULARY))
    for step, event, (token, probs) in zip(steps, events[1:], expected, strict=True):
        if step.decided:
            assert step.id == token
        assert step.recorded_prob[0] - ROUNDED <= float(probs[step.recorded_id]) <= step.recorded_prob[1] + ROUNDED
        if step.id is not None:
            assert step.prob[0] - ROUNDED <= float(probs[step.id]) <= step.prob[1] + ROUNDED
        ids = (event.logits.guided or event.logits).ids
        held = set(memoryview(ids).cast("i")) if ids else set(range(SIZE))
        others = sum(float(probs[token]) for token in range(SIZE) if token not in held)
        assert others <= step.unrecorded + ROUNDED


@settings(max_examples=60, deadline=None)
@given(PIPELINES, PIPELINES, st.floats(0.3, 8), st.integers(0, 10**6), st.integers(0, 3))
@example(preset_of(("top_k", {"k": 40})), preset_of(("tail_free", {"z": 0.5})), 1.0, 0, 2)
@example(preset_of(("tail_free", {"z": 0.5})), preset_of(("length_decay", {"factor": 3.0})), 1.0, 0, 0)
@example(preset_of(("adaptive_p", {"target": 0.5}), ("tail_free", {"z": 0.5})), preset_of(("tail_free", {"z": 0.5})), 1.0, 0, 2)
@example(preset_of(("adaptive_p", {"target": 0.5})), preset_of(("adaptive_p", {"target": 0.5}), ("tail_free", {"z": 0.5})), 1.0, 0, 0)
def test_what_is_decided_is_true(recorded_by, other, scale, noise, seed):
    check_what_is_decided(recorded_by, other, logits_of(scale, SIZE, noise), seed)


AFTER = st.lists(st.sampled_from(BY_HAND), max_size=3)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([0.0, 0.5, 1.5, 3.0]), AFTER, AFTER, st.floats(0.3, 8), st.integers(0, 10**6), st.integers(0, 3))
def test_what_is_decided_behind_a_recorded_guidance_is_true(guidance, before, after, scale, noise, seed):
    recorded_by, other = (preset_of(("guidance", {"scale": guidance}), *stages) for stages in (before, after))
    check_what_is_decided(recorded_by, other, logits_of(scale, SIZE, noise), seed)


NUMBER = {
    "temperature": st.floats(0.1, 5),
    "top_k": st.integers(1, 900),
    "top_p": st.floats(0.05, 1),
    "min_p": st.floats(0.0001, 0.9),
    "top_a": st.floats(0.0001, 0.9),
    "epsilon_cutoff": st.floats(1e-5, 0.1),
    "repetition_penalty": st.floats(0.5, 2),
    "logit_bias": st.dictionaries(st.integers(0, SIZE - 1), st.floats(-9, 9) | st.just(-math.inf), min_size=1, max_size=3),
}
KNOBS = {name: next(iter(knobs(find("stages", name)))).name for name in NUMBER}
ANY = st.lists(
    st.sampled_from(sorted(NUMBER)).flatmap(lambda name: NUMBER[name].map(lambda value: (name, {KNOBS[name]: value})))
    | st.sampled_from(BY_HAND),
    max_size=4,
).map(lambda stages: preset_of(*stages))


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(ANY, ANY, st.floats(0.3, 8), st.floats(0, 3), st.integers(0, 10**6), st.integers(0, 3))
def test_what_is_decided_is_true_of_any_pipelines_and_tails(recorded_by, other, scale, bend, noise, seed):
    """Any stages with any knobs, recorded and replayed; logits with tails from bent down to long."""
    rows = [row.abs().pow(1 + bend).mul(row.sign()) for row in logits_of(scale, SIZE, noise)]
    check_what_is_decided(recorded_by, other, rows, seed)
