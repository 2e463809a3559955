"""Comparisons on the embedded checkpoint, against a slow walk with scipy: distances, kept sets, where texts part, luck."""

from __future__ import annotations

import json
from itertools import combinations

import jsonschema
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from gencli.candidates import Candidates
from gencli.comparison import Comparison, compare, parting
from gencli.errors import UsageError
from gencli.events import Token
from gencli.generation import Options, run, vocabulary_of
from gencli.loading import load
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.preset import Preset
from gencli.schema import report_schema
from gencli.variations import Variation

PROMPT = "Once upon a time, there was a"
CREATIVE = "pipeline: [{repetition_penalty: 1.3}, {temperature: 0.9}, {top_k: 40}]\n"
NARROW = "pipeline: [{temperature: 0.9}, {top_p: 0.7}]\n"


@pytest.fixture(scope="module")
def session():
    return load(threads=1)


def setting(name, text, tokens=8):
    return Variation(name, Preset.loads(text).with_default("max_new_tokens", tokens), {})


@pytest.fixture(scope="module")
def pair(session):
    return compare(session, PROMPT, [setting("wide", CREATIVE), setting("narrow", NARROW)], Options(samples=3, seed=5))


def test_equal_settings_never_part_and_are_no_distance_apart(session):
    found = compare(session, PROMPT, [setting(name, CREATIVE) for name in "abc"], Options(samples=3, seed=5))
    for each in found.contenders:
        assert [run.parts_at for run in each.runs] == [None] * 3
        assert each.parted == 0
        assert {(point.distance, point.changed, point.only_first, point.only_other) for point in each.points} == {(0.0, 0.0, 0, 0)}
        assert (each.distance.value, each.distance.low, each.distance.high) == (0.0, 0.0, 0.0)
    assert found.luck.changed.value > 0.2


def test_runs_are_free_and_those_of_each_setting_alone(session, pair):
    for each, text in zip(pair.contenders, (CREATIVE, NARROW), strict=True):
        for ran in each.runs:
            preset = setting("", text).preset
            events = list(run(session, PROMPT, preset, Options(seed=5, first_sample=ran.sample)))
            assert ran.ids == tuple(event.id for event in events if isinstance(event, Token))
            assert ran.text == "".join(event.text for event in events[1:])
            assert (ran.reason, ran.stop) == (events[-1].reason, events[-1].stop)


def test_points_are_a_slow_walk_along_the_first_ones_texts(session, pair):
    presets = [setting("", text).preset for text in (CREATIVE, NARROW)]
    pipelines = [Pipeline(preset.stages()).bind(vocabulary_of(session, preset)) for preset in presets]
    points = {(point.sample, point.step): point for point in pair.contenders[1].points}
    assert len(points) == sum(len(run.ids) for run in pair.contenders[0].runs)
    prompt = session.tokenizer.encode(PROMPT)
    for ran in pair.contenders[0].runs:
        for step, token in enumerate(ran.ids):
            memory = Memory(prompt, 5, ran.sample)
            for earlier in ran.ids[:step]:
                memory.append(earlier)
            logits = session.decoder(cache=False).prefill([*prompt, *ran.ids[:step]])
            finals = [pipeline(Candidates(logits), [memory]).spread(session.vocabulary.size)[0].double() for pipeline in pipelines]
            one, other = (final.softmax(dim=0).numpy() for final in finals)
            kept = [{at for at, value in enumerate(final.tolist()) if value > -torch.inf} for final in finals]
            point = points[ran.sample, step]
            assert point.id == token
            assert point.distance == pytest.approx(jensenshannon(one, other, base=2), abs=1e-4)
            assert (point.first_prob, point.prob) == pytest.approx((one[token], other[token]), abs=1e-5)
            counts = (len(kept[0] & kept[1]), len(kept[0] - kept[1]), len(kept[1] - kept[0]))
            # a batch's logits may differ in the last bit, and with them one token at the border of a cut
            ours = (point.kept, point.only_first, point.only_other)
            assert all(abs(mine - theirs) <= 1 for mine, theirs in zip(ours, counts, strict=True))


def test_means_are_those_of_the_points(pair):
    points = pair.contenders[1].points
    assert pair.contenders[1].distance.value == pytest.approx(sum(point.distance for point in points) / len(points))
    assert pair.contenders[1].changed.value == pytest.approx(sum(point.changed for point in points) / len(points))
    assert pair.contenders[1].distance.low < pair.contenders[1].distance.value < pair.contenders[1].distance.high


def test_where_texts_part(pair):
    first, other = pair.contenders
    for one, two in zip(first.runs, other.runs, strict=True):
        assert two.parts_at == parting(one.ids, two.ids)
        if two.parts_at is not None:
            assert one.text[: two.parts_after] == two.text[: two.parts_after]
    assert other.parted == sum(run.parts_at is not None for run in other.runs) > 0


def test_luck_is_the_first_setting_under_other_noise(session, pair):
    first = pair.contenders[0]
    assert pair.luck.parts_at == tuple(parting(one.ids, other.ids) for one, other in combinations(first.runs, 2))
    pipeline = Pipeline(setting("", CREATIVE).preset.stages())
    again = []
    for ran in first.runs:
        for step in range(len(ran.ids)):
            ids = [*session.tokenizer.encode(PROMPT), *ran.ids[:step]]
            memory = Memory(ids[: len(ids) - step], 5, ran.sample)
            for earlier in ran.ids[:step]:
                memory.append(earlier)
            probs = pipeline(Candidates(session.decoder().prefill(ids)), [memory]).probs()[0]
            again.append(1 - float((probs * probs).sum()))
    assert pair.luck.changed.value == pytest.approx(sum(again) / len(again), abs=1e-5)


@given(st.lists(st.integers(0, 1), max_size=5), st.lists(st.integers(0, 1), max_size=5))
def test_parting_is_its_definition(one, other):
    at = parting(one, other)
    assert (at is None) == (one == other)
    if at is not None:
        assert one[:at] == other[:at]
        assert one[at : at + 1] != other[at : at + 1]


def test_a_template_gives_a_setting_its_own_prompt(session):
    chat = setting("chat", 'template: "Q: {} A:"\npipeline: [{temperature: 0}]\n', tokens=4)
    plain = setting("plain", "pipeline: [{temperature: 0}]\n", tokens=4)
    found = compare(session, "Hello", [plain, chat], Options(samples=1, seed=1))
    events = run(session, "Q: Hello A:", chat.preset, Options(seed=1))
    assert found.contenders[1].runs[0].ids == tuple(event.id for event in events if isinstance(event, Token))
    assert found.prompt == "Hello"
    assert found.luck.parts_at == ()
    assert found.contenders[1].distance.low is None


def test_samples_that_end_early_leave_the_walk(session):
    ending = setting("ends", "pipeline: [{temperature: 1.2}]\nend_tokens: ['.', ',']\n", tokens=20)
    found = compare(session, PROMPT, [ending, setting("cold", "pipeline: [{temperature: 0}]\n", 20)], Options(samples=6, seed=2))
    lengths = [len(run.ids) for run in found.contenders[0].runs]
    assert len(set(lengths)) > 1
    assert [sum(point.sample == at for point in found.contenders[1].points) for at in range(6)] == lengths


def test_the_context_may_slide_and_end(session):
    long = "a b c d " * 125
    settings = [setting("one", CREATIVE, 30), setting("two", NARROW, 30)]
    ended = compare(session, long, settings, Options(samples=1, seed=1))
    assert ended.contenders[0].runs[0].reason == "context"
    slid = compare(session, long, settings, Options(samples=1, seed=1, overflow="slide"))
    assert len(slid.contenders[1].points) == len(slid.contenders[0].runs[0].ids) > len(ended.contenders[0].runs[0].ids)


def test_stages_that_listen_hear_of_the_given_tokens(session, monkeypatch):
    heard = []
    drawn = Pipeline.drawn

    def listening(self, final, ids, memories):
        heard.append((self.names, memories[0].step, tuple(ids)))
        drawn(self, final, ids, memories)

    settings = [setting("one", CREATIVE, 3), setting("two", NARROW, 3)]
    monkeypatch.setattr(Pipeline, "drawn", listening)
    found = compare(session, PROMPT, settings, Options(samples=1, seed=1))
    ids = found.contenders[0].runs[0].ids
    walked = [each for each in heard if each[0] == ("temperature", "top_p")][3:]  # after its own run
    assert walked == [(("temperature", "top_p"), step, (token,)) for step, token in enumerate(ids)]


def test_json_is_its_schema(pair):
    jsonschema.validate(json.loads(json.dumps(pair.to_dict())), report_schema(Comparison, "comparison"))


def test_one_setting_is_no_comparison(session):
    with pytest.raises(UsageError, match="at least two settings, not 1"):
        compare(session, PROMPT, [setting("a", CREATIVE)])


@pytest.mark.parametrize("place", [0, 1])
def test_a_setting_that_takes_tokens_back_is_refused(session, place):
    settings = [setting("plain", NARROW)]
    settings.insert(place, setting("ban", 'pipeline: [{banned_words: ["little girl"]}]\n'))
    with pytest.raises(
        UsageError, match=r"^banned_words takes tokens back, and distances are .*; measure this setting with `gencli diversity`"
    ):
        compare(session, PROMPT, settings)


@pytest.mark.parametrize("words", ["[]", "[945]"])
def test_tokens_that_are_banned_by_their_ids_are_compared(session, words):
    ban = setting("ban", f"pipeline: [{{banned_words: {words}}}, {{temperature: 0}}]\n")
    found = compare(session, PROMPT, [setting("plain", "pipeline: [{temperature: 0}]\n"), ban], Options(samples=1, seed=5))
    assert 945 in found.contenders[0].runs[0].ids
    banned = words != "[]"
    assert (found.contenders[1].distance.value > 0) == banned
    assert [point.prob == 0 for point in found.contenders[1].points] == [point.id == 945 and banned for point in found.contenders[1].points]


def test_progress_grows(session):
    told = []
    settings = [setting("a", CREATIVE, 2), setting("b", NARROW, 2)]
    compare(session, PROMPT, settings, Options(samples=1, seed=1), lambda share, name: told.append((share, name)))
    assert told == sorted(told, key=lambda each: each[0])
    assert [name for _, name in told] == ["a", "b", "distances", "distances"]
    assert told[-1][0] == 1.0
