"""What is left of a recorded step is bounded by what may be left, and nothing is claimed where nothing is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.events import Logits
from gencli.memory import Memory
from gencli.outcomes import Outcome, outcome
from gencli.pipeline import Pipeline
from gencli.registry import find, names
from gencli.stages import build, knobs
from gencli.unrecorded import Record
from proofs import quick
from recorded import EVERY_STAGE, logits_of, plain_vocabulary

SIZE = 400


def record_of(row: torch.Tensor, count: int) -> Record:
    """The `count` likeliest tokens recorded."""
    ids = row.topk(count).indices.sort().values
    others = row.index_fill(0, ids, -math.inf)
    raw = row[ids].numpy().tobytes()
    return Record.of(Logits(len(row), ids.int().numpy().tobytes(), raw, b"", float(row.double().logsumexp(0)), float(others.max())))


def after(record: Record, *stages: tuple[str, dict[str, object]]) -> Outcome:
    return outcome(record, Pipeline([(name, find("stages", name)(**given)) for name, given in stages]), [Memory((1, 2), 0)])


def built(name: str, given: dict[str, Any]) -> Any:
    """The stage, bound to a small vocabulary."""
    stage = build(name, find("stages", name), given)
    return stage.bind(plain_vocabulary(SIZE)) if hasattr(stage, "bind") else stage


def reads(name: str, given: dict[str, Any]) -> str:
    return getattr(built(name, given), "reads", "")


def left_of(stage: Any, row: torch.Tensor) -> torch.Tensor:
    return stage(Candidates(row[None]), [Memory((1, 2, 1), 0)]).spread(len(row))[0]


def check(row: torch.Tensor, count: int, *stages: tuple[str, dict[str, object]]) -> Outcome:
    """What is left of a record of the `count` likeliest, its bounds held against what is left of the whole row."""
    found = after(record_of(row, count), *stages)
    left = Pipeline([(name, find("stages", name)(**given)) for name, given in stages])(Candidates(row[None]), [Memory((1, 2), 0)])
    truth = left.spread(len(row))[0].double().softmax(0)
    for token in range(len(row)):
        low, high = found.prob(token)
        assert low - 1e-5 <= float(truth[token]) <= high + 1e-5
    held = row.topk(count).indices
    assert 1 - float(truth[held].sum()) <= found.unrecorded + 1e-5
    if found.exact:
        assert torch.equal(found.sure.spread(len(row))[0] > -math.inf, truth > 0)
    for number in (0.01, 0.5, 0.93):
        token, decided = found.drawn(number, 0)
        assert not decided or token == draw(left, [number])[0]
    return found


@settings(max_examples=40, deadline=None)
@given(st.floats(0.3, 20), st.integers(0, 10**6), st.integers(2, 60), st.floats(0.2, 9))
def test_bounds_hold_at_any_temperature(scale, noise, count, temperature):
    found = check(logits_of(scale, SIZE, noise, 1)[0], count, ("temperature", {"temperature": temperature}))
    assert found.sure.width == count


def test_what_weighs_nothing_may_weigh_at_a_high_temperature():
    row = logits_of(16, 3000, 3, 1)[0]  # what float32 leaves uncertain of the rest counts as well
    low, high = check(row, 256, ("temperature", {"temperature": 5.0})).prob(int(row.argmax()))
    assert high - low > 0.01


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.3, 6),
    st.integers(0, 10**6),
    st.floats(0.2, 4),
    st.dictionaries(st.integers(0, SIZE - 1), st.floats(-9, 9) | st.just(-math.inf)),
    st.sampled_from([("top_k", {"k": 20}), ("min_p", {"p": 0.2}), ("top_p", {"p": 0.5}), ("epsilon_cutoff", {"epsilon": 0.02})]),
)
def test_bounds_hold_with_tokens_treated_by_their_id(scale, noise, temperature, biases, cut):
    biased = ("logit_bias", {"entries": tuple(biases.items())})
    row = logits_of(scale, SIZE, noise, 1)[0]
    check(row, 30, ("temperature", {"temperature": temperature}), biased)
    check(row, 30, biased, cut, ("temperature", {"temperature": temperature}))


def test_one_of_two_biased_tokens_may_hold_everything():
    row = torch.full((SIZE,), -40.0)
    row[:30] = torch.linspace(5, 3, 30)
    row[200] = 2.0
    found = check(row, 30, ("logit_bias", {"entries": ((100, -9.0), (200, 9.0))}), ("top_k", {"k": 3}))
    assert not found.exact
    lowered = check(row, 30, ("logit_bias", {"entries": ((100, -9.0), (200, -9.0))}), ("top_k", {"k": 3}))
    assert lowered.exact


@pytest.mark.parametrize("place", quick([2.9, 3.0, 2.5, 1.0], 1))
def test_a_cut_may_fall_among_the_others_whatever_their_total(place):
    row = torch.full((SIZE,), -8.0)
    row[:10] = torch.tensor([5.0] + [3.0] * 9)
    row[200] = place
    for at in torch.linspace(-0.02, 0.02, 41).tolist():
        for temperature in (0.7, 1.0, 1.4):
            epsilon = float((row.double() / temperature).softmax(0)[200]) * math.exp(at)
            check(row, 10, ("temperature", {"temperature": temperature}), ("epsilon_cutoff", {"epsilon": epsilon}))


def test_what_removes_all_the_others_is_exact():
    row = logits_of(4, SIZE, 3, 1)[0]
    found = check(row, 30, ("top_k", {"k": 5}))
    assert found.exact
    assert found.unrecorded == 0
    assert found.sure.ids[0].tolist() == row.topk(5).indices.sort().values.tolist()
    assert found.drawn(0.0, 0) == (int(found.sure.ids[0, 0]), True)
    assert check(row, 30, ("top_k", {"k": 30})).exact
    assert check(row, 30, ("mirostat", {"target": 1.0})).exact
    assert check(row, 30, ("smoothing", {"factor": 0.3}), ("min_p", {"p": 0.1})).exact
    assert check(row, 30, ("temperature", {"temperature": 0.0})).exact


@pytest.mark.parametrize("name", ["typical_p", "tail_free", "top_n_sigma", "eta_cutoff", "top_h", "dynamic_temperature", "xtc"])
def test_nothing_is_claimed_of_a_stage_that_sees_the_others(name):
    assert not hasattr(find("stages", name), "reads")
    row = logits_of(1, SIZE, 3, 1)[0]
    first = knobs(find("stages", name))[0]
    found = after(record_of(row, 30), (name, {first.name: 0.3}))
    assert found.sure is None
    assert found.prob(3) == (0.0, 1.0)
    assert found.unrecorded == 1
    assert found.drawn(0.5, 0) == (None, False)
    assert check(row, 30, ("top_k", {"k": 9}), (name, {first.name: 0.3})).exact  # after a cut nothing else is in play
    assert check(row, 30, (name, {first.name: first.neutral}), ("top_k", {"k": 9})).exact  # off, it changes nothing


def test_a_cut_that_leaves_some_of_the_others_bounds_what_they_hold():
    row = logits_of(2, SIZE, 3, 1)[0]
    found = check(row, 30, ("top_k", {"k": 40}))
    assert not found.exact
    assert found.sure.width == 30
    assert 0 < found.unrecorded < 1
    assert check(row, 30, ("top_k", {"k": 40}), ("min_p", {"p": 0.9})).exact
    likeliest = row.topk(100).indices.sort().values
    assert check(row, 30, ("allowed_words", {"words": tuple(likeliest.tolist())}), ("top_k", {"k": 10})).exact


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=12), st.data())
def test_a_stage_reads_what_it_says(values, data):
    """The promises of `reads`, by themselves: what a larger logit, fewer tokens before it or a larger sum do to a token."""
    name, knobs_given = data.draw(st.sampled_from([each for each in EVERY_STAGE if reads(*each) in ("token", "scale", "rank")]))
    stage = built(name, knobs_given)
    row, at = torch.tensor(values), data.draw(st.integers(0, len(values) - 1))
    ended = left_of(stage, row)
    if reads(name, knobs_given) == "rank":
        kept = ended > -math.inf
        assert torch.equal(ended[kept], row[kept])
        before = (row > row[at]) | ((row == row[at]) & (torch.arange(len(row)) < at))
        if bool(kept[at]):
            assert bool(kept[before].all())
        tails = sorted(data.draw(st.floats(-40, 0)) for _ in range(3))  # ever larger sums, by a token that comes after all
        stays = [bool(left_of(stage, torch.cat([row, row.amin()[None] + tail]))[at] > -math.inf) for tail in tails]
        assert stays[0] != stays[2] or stays[1] == stays[0]
    else:
        lower = row.clone()
        lower[at] -= data.draw(st.floats(0, 20))
        if float(lower.amax()) == float(row.amax()):
            less = left_of(stage, lower)
            rest = torch.arange(len(row)) != at
            assert torch.equal(less[rest], ended[rest])
            assert float(less[at]) <= float(ended[at]) or math.isclose(less[at], ended[at], rel_tol=1e-5)


def test_every_stage_says_what_it_reads_or_nothing():
    found = {name: {reads(each, given) for each, given in EVERY_STAGE if each == name} for name in names("stages")}
    assert set().union(*found.values()) == {"token", "name", "scale", "rank", ""}
    assert {name for name, what in found.items() if "rank" in what} == {"top_k", "top_p", "min_p", "top_a", "epsilon_cutoff", "mirostat"}
