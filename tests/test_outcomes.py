"""What is left of a recorded step is bounded by what may be left, and nothing is claimed where nothing is known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.events import Logits
from gencli.memory import Memory
from gencli.outcomes import Outcome, outcome
from gencli.pipeline import Pipeline
from gencli.registry import find, names
from gencli.stages import knobs
from gencli.unrecorded import Record
from recorded import logits_of

SIZE = 400


def record_of(row: torch.Tensor, count: int) -> Record:
    """The `count` likeliest tokens recorded."""
    ids = row.topk(count).indices.sort().values
    others = row.index_fill(0, ids, -math.inf)
    raw = row[ids].numpy().tobytes()
    return Record.of(Logits(len(row), ids.int().numpy().tobytes(), raw, b"", float(row.double().logsumexp(0)), float(others.max())))


def after(record: Record, *stages: tuple[str, dict[str, object]]) -> Outcome:
    return outcome(record, Pipeline([(name, find("stages", name)(**given)) for name, given in stages]), [Memory((1, 2), 0)])


@settings(max_examples=60, deadline=None)
@given(st.floats(0.3, 6), st.integers(0, 10**6), st.integers(2, 60), st.floats(0.2, 4))
def test_bounds_hold_at_any_temperature(scale, noise, count, temperature):
    row = logits_of(scale, SIZE, noise, 1)[0]
    found = after(record_of(row, count), ("temperature", {"temperature": temperature}))
    truth = (row.double() / temperature).softmax(0)
    for token in found.ids.tolist():
        low, high = found.prob(token)
        assert low - 1e-6 <= float(truth[token]) <= high + 1e-6
    assert 1 - float(truth[found.ids].sum()) <= found.unrecorded + 1e-6
    assert bool(found.sure.all())


def test_what_removes_all_the_others_is_exact():
    row = logits_of(4, SIZE, 3, 1)[0]
    found = after(record_of(row, 30), ("top_k", {"k": 5}))
    assert found.final is not None
    assert found.unrecorded == 0
    assert found.ids.tolist() == row.topk(5).indices.sort().values.tolist()
    assert found.drawn(0.0, 0) == (int(found.ids[0]), True)


@pytest.mark.parametrize("name", ["typical_p", "tail_free", "top_n_sigma", "eta_cutoff", "top_h", "smoothing"])
def test_nothing_is_claimed_of_a_stage_that_sees_the_others(name):
    assert not hasattr(find("stages", name), "reads")
    row = logits_of(1, SIZE, 3, 1)[0]
    stage = (name, {knobs(find("stages", name))[0].name: 0.3})
    found = after(record_of(row, 30), stage)
    assert not found.known
    assert found.prob(int(found.ids[0])) == (0.0, 1.0)
    assert found.unrecorded == 1
    assert found.drawn(0.5, 0)[1] is False
    assert after(record_of(row, 30), ("top_k", {"k": 9}), stage).final is not None  # after a cut nothing else is in play


def test_an_order_that_leaves_some_of_the_others_is_not_claimed():
    row = logits_of(1, SIZE, 3, 1)[0]
    assert not after(record_of(row, 30), ("top_k", {"k": 40})).known
    assert after(record_of(row, 30), ("top_k", {"k": 30})).final is not None
    assert after(record_of(row, 30), ("top_k", {"k": 40}), ("min_p", {"p": 0.9})).final is not None
    assert not after(record_of(row, 30), ("top_k", {"k": 40}), ("top_p", {"p": 0.1})).known


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.3, 6),
    st.integers(0, 10**6),
    st.floats(0.2, 4),
    st.dictionaries(st.integers(0, SIZE - 1), st.floats(-9, 9) | st.just(-math.inf)),
)
def test_bounds_hold_with_tokens_treated_by_their_id(scale, noise, temperature, biases):
    row = logits_of(scale, SIZE, noise, 1)[0]
    found = after(record_of(row, 30), ("temperature", {"temperature": temperature}), ("logit_bias", {"entries": tuple(biases.items())}))
    biased = row.double() / temperature
    for token, bias in biases.items():
        biased[token] += bias
    truth = biased.softmax(0)
    for token in found.ids.tolist():
        low, high = found.prob(token)
        assert low - 1e-6 <= float(truth[token]) <= high + 1e-6
    assert 1 - float(truth[found.ids].sum()) <= found.unrecorded + 1e-6


def test_every_stage_says_what_it_reads_or_nothing():
    reads = {name: getattr(find("stages", name), "reads", None) for name in names("stages")}
    assert set(reads.values()) == {"token", "rank", "sum", None}
    assert {name for name, what in reads.items() if what in ("rank", "sum")} == {"top_k", "top_p", "min_p", "top_a", "epsilon_cutoff"}
