"""A replay gives the recorded tokens under the recorded preset, and what another one would have drawn, or says that it cannot know."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.loading import Session, load
from gencli.preset import Preset
from gencli.replay import replay_trace
from gencli.shipped import folder
from recorded import EVERY_STAGE, logits_of, made, plain_vocabulary, preset_of, recorded, truth

SIZE = 3000
VOCABULARY = plain_vocabulary(SIZE)
SHIPPED = sorted(path.stem for path in (folder("configs") / "presets").glob("*.yaml"))


@pytest.fixture(scope="module")
def session() -> Session:
    return load("fable-9m", threads=1)


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


@pytest.mark.parametrize(("name", "knobs"), EVERY_STAGE, ids=str)
def test_every_stage_replays_itself(session, name, knobs):
    events = recorded(session, preset_of((name, knobs)))
    steps = list(replay_trace(events))
    assert len(steps) == 8
    assert all(step.same for step in steps)
    assert [step.id for step in steps] == drawn(events)


PIPELINES = st.lists(st.sampled_from(EVERY_STAGE), max_size=3).map(lambda stages: preset_of(*stages)) | st.sampled_from(SHIPPED).map(
    Preset.load
)


@settings(max_examples=120, deadline=None)
@given(PIPELINES, PIPELINES, st.floats(0.3, 8), st.integers(0, 10**6), st.integers(0, 3))
def test_what_is_decided_is_true(recorded_by, other, scale, noise, seed):
    rows = logits_of(scale, SIZE, noise)
    events = list(made(rows, recorded_by, 0, VOCABULARY))
    steps = list(replay_trace(events, other, seed, VOCABULARY))
    expected = truth(rows, drawn(events), other, seed, VOCABULARY)
    for step, event, (token, probs) in zip(steps, events[1:], expected, strict=True):
        if step.decided:
            assert step.id == token
        assert step.recorded_prob[0] - 1e-5 <= float(probs[step.recorded_id]) <= step.recorded_prob[1] + 1e-5
        if step.id is not None:
            assert step.prob[0] - 1e-5 <= float(probs[step.id]) <= step.prob[1] + 1e-5
        held = set(memoryview(event.logits.ids).cast("i")) if event.logits.ids else set(range(SIZE))
        others = sum(float(probs[token]) for token in range(SIZE) if token not in held)
        assert others <= step.unrecorded + 1e-5
