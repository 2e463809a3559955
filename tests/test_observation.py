"""A traced step adds up: against a slow computation on whole distributions in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.observation import Detail, observe
from gencli.pipeline import Pipeline
from gencli.registry import find
from gencli.stages import build
from gencli.vocabulary import Vocabulary

SIZE = 12
VOCABULARY = Vocabulary(SIZE, [bytes([97 + n]) for n in range(SIZE)], frozenset({0}), frozenset(), lambda text: [ord(c) - 97 for c in text])
CHOICES = st.sampled_from(
    [
        ("temperature", {"temperature": 0.5}),
        ("temperature", {"temperature": 2.0}),
        ("temperature", {"temperature": 0.0}),
        ("top_k", {"k": 3}),
        ("top_k", {"k": 8}),
        ("top_p", {"p": 0.6}),
        ("top_p", {"p": 0.95}),
        ("min_p", {"p": 0.2}),
        ("repetition_penalty", {"penalty": 1.5}),
        ("frequency_penalty", {"penalty": 0.7}),
        ("logit_bias", {"entries": {4: -math.inf, 5: 1.5}}),
        ("logit_bias", {"entries": {6: 1000.0}}),
        ("min_new_tokens", {"tokens": 5}),
    ]
)
LOGITS = st.lists(st.one_of(st.floats(-8, 8, width=32), st.just(-math.inf)), min_size=SIZE, max_size=SIZE).filter(
    lambda row: max(row) > -math.inf
)


def traced(pipeline_of, logits, because=True):
    pipeline = Pipeline([(name, build(name, find("stages", name), knobs)) for name, knobs in pipeline_of]).bind(VOCABULARY)
    memory = Memory([1, 2, 2], seed=3)
    passed = pipeline.traced(Candidates(torch.tensor([logits])), [memory])
    drawn = int(passed[-1].token_ids()[0, int(passed[-1].logits[0].argmax())])
    detail = Detail(candidates=None, because=because, after=True)
    return pipeline, passed, drawn, observe(passed, 0, drawn, pipeline, VOCABULARY, detail)


@settings(max_examples=60, deadline=None)
@given(st.lists(CHOICES, max_size=6), LOGITS)
def test_everything_adds_up(pipeline_of, logits):
    pipeline, passed, drawn, seen = traced(pipeline_of, logits)
    raw = torch.tensor(logits, dtype=torch.float64).softmax(0)
    final = passed[-1].spread(SIZE)[0].double().softmax(0)
    candidates = {candidate.id: candidate for candidate in seen["candidates"]}
    assert set(candidates) == {token for token in range(SIZE) if raw[token] > 0 or logits[token] > -math.inf}
    assert sum(c.raw_prob for c in candidates.values()) == pytest.approx(1, abs=1e-5)
    assert sum(c.prob for c in candidates.values()) == pytest.approx(1, abs=1e-5)
    removed = sum(report.mass_removed for report in seen["stages"])
    kept = sum(c.raw_prob for c in candidates.values() if c.removed_by is None)
    assert removed + kept == pytest.approx(1, abs=1e-5)
    for token, candidate in candidates.items():
        assert candidate.raw_prob == pytest.approx(float(raw[token]), abs=1e-6)
        assert candidate.prob == pytest.approx(float(final[token]), abs=1e-5)
        gone = bool(passed[-1].spread(SIZE)[0, token] == -math.inf)
        assert (candidate.removed_by is not None) == gone
        if gone:
            assert candidate.removed_by == pipeline.names[candidate.removed_at]
            assert passed[candidate.removed_at].spread(SIZE)[0, token] > -math.inf
            assert passed[candidate.removed_at + 1].spread(SIZE)[0, token] == -math.inf
            assert candidate.because
        assert len(candidate.after) == len(pipeline.names)
    for report, point in zip(seen["stages"], passed[1:], strict=True):
        q = point.spread(SIZE)[0].double().softmax(0)
        inside = q > 0
        assert report.kept == int(point.kept()[0])
        assert report.entropy == pytest.approx(float(-(q[inside] * q[inside].log2()).sum()), abs=1e-4)
        assert report.kl == pytest.approx(float((q[inside] * (q[inside].log2() - raw[inside].log2())).sum()), abs=1e-3)
    assert seen["logprob"] == pytest.approx(math.log(float(final[drawn])), abs=1e-4)
    assert seen["rank"] == 1 + int((raw > raw[drawn] * (1 + 1e-6)).sum()) or seen["rank"] == 1 + int(
        (torch.tensor(logits) > logits[drawn]).sum()
    )


def test_observing_changes_nothing():
    logits = [3.0, 2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -2.0, -3.0, -4.0, -5.0]
    stages = [("top_k", {"k": 6}), ("temperature", {"temperature": 0.7}), ("top_p", {"p": 0.9})]
    pipeline, passed, _, _ = traced(stages, logits)
    plain = pipeline(Candidates(torch.tensor([logits])), [Memory([1, 2, 2], seed=3)])
    assert torch.equal(plain.logits, passed[-1].logits)
    assert torch.equal(plain.token_ids(), passed[-1].token_ids())


def test_the_listed_are_the_likeliest_and_the_drawn_one():
    pipeline = Pipeline([])
    passed = [Candidates(torch.tensor([[float(n) for n in range(SIZE)]]))]
    seen = observe(passed, 0, 2, pipeline, VOCABULARY, Detail(candidates=3))
    assert [candidate.id for candidate in seen["candidates"]] == [11, 10, 9, 2]
    assert [candidate.after for candidate in seen["candidates"]] == [None] * 4
    assert seen["rank"] == 10


def test_the_numbers_that_decided():
    logits = [5.0, 4.0, 0.0] + [-3.0] * (SIZE - 3)
    _, _, _, seen = traced([("min_p", {"p": 0.05})], logits)
    told = {candidate.id: candidate.because for candidate in seen["candidates"]}
    assert told[0] is None
    assert told[2] == "0.489 % < 0.05 x 72.6 %"


LARGE = 20_000
NUMBERS = Vocabulary(LARGE, [b"%d" % token for token in range(LARGE)], frozenset({0}), frozenset(), lambda text: [int(text)])


@settings(max_examples=40, deadline=None)
@given(st.lists(CHOICES, max_size=4), st.floats(0.1, 10), st.integers(0, 10**6), st.booleans())
def test_a_large_vocabulary_adds_up_as_well(pipeline_of, scale, noise, cut):
    generator = torch.Generator().manual_seed(noise)
    logits = torch.randn(LARGE, generator=generator) * scale
    if cut:
        logits[torch.randperm(LARGE, generator=generator)[: LARGE // 3]] = -math.inf
    pipeline = Pipeline([(name, build(name, find("stages", name), knobs)) for name, knobs in pipeline_of]).bind(NUMBERS)
    memory = Memory(torch.randint(LARGE, (50,), generator=generator).tolist(), seed=3)
    passed = pipeline.traced(Candidates(logits[None]), [memory])
    drawn = int(passed[-1].token_ids()[0, int(passed[-1].logits[0].argmax())])
    memory.append(drawn)
    seen = observe(passed, 0, drawn, pipeline, NUMBERS, Detail(candidates=30, because=False, logits=True), memory)

    raw = logits.double().softmax(0)
    final = passed[-1].spread(LARGE)[0].double().softmax(0)
    order = logits.argsort(descending=True, stable=True)
    listed = [candidate.id for candidate in seen["candidates"]]
    assert listed[:30] == order[:30].tolist()
    assert set(listed[30:]) <= {drawn}
    assert seen["rank"] == 1 + int((logits > logits[drawn]).sum())
    for candidate in seen["candidates"]:
        assert candidate.raw_prob == pytest.approx(float(raw[candidate.id]), rel=1e-5, abs=1e-9)
        assert candidate.prob == pytest.approx(float(final[candidate.id]), rel=1e-4, abs=1e-9)
    for report, point in zip(seen["stages"], passed[1:], strict=True):
        q = point.spread(LARGE)[0].double().softmax(0)
        inside = q > 0
        assert report.kept == int(point.kept()[0])
        assert report.entropy == pytest.approx(float(-(q[inside] * q[inside].log2()).sum()), abs=2e-4)
        assert report.kl == pytest.approx(float((q[inside] * (q[inside].log2() - raw[inside].log2())).sum()), abs=2e-3)

    record = seen["logits"]
    held = torch.frombuffer(bytearray(record.ids), dtype=torch.int32).long() if record.ids else torch.arange(LARGE)
    alive = (final > 0).nonzero()[:, 0]
    assert set(alive.tolist()) | set(memory.ids) | set(listed) | set(order[:256].tolist()) <= set(held.tolist())
    assert torch.equal(torch.frombuffer(bytearray(record.raw), dtype=torch.float32), logits[held])
    ended = torch.frombuffer(bytearray(record.final or record.raw), dtype=torch.float32)
    assert torch.equal(ended, passed[-1].spread(LARGE)[0][held])
    assert record.log_total == pytest.approx(float(logits.double().logsumexp(0)), abs=1e-5)
    others = logits.index_fill(0, held, -math.inf)
    assert record.highest == (float(others.max()) if float(others.max()) > -math.inf else None)
