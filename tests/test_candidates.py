"""Candidates: selection, padding, the exact normaliser, ranks and look-ups, against plain Python."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.candidates import Candidates, places

GONE = -torch.inf
finite = st.floats(-20, 20, width=32) | st.sampled_from([0.0, 1.0])
rows = st.lists(finite | st.just(GONE), min_size=1, max_size=20).filter(lambda row: max(row) > GONE)


def test_measures() -> None:
    candidates = Candidates(torch.tensor([[0.0, math.log(3), GONE]]))
    assert (candidates.rows, candidates.width) == (1, 3)
    assert candidates.peak.tolist() == [[pytest.approx(math.log(3))]]
    assert candidates.weights[0].tolist() == pytest.approx([1 / 3, 1, 0])
    assert float(candidates.total) == pytest.approx(4 / 3)
    assert float(candidates.log_total) == pytest.approx(math.log(4))
    assert candidates.probs()[0].tolist() == pytest.approx([0.25, 0.75, 0])
    assert candidates.probs().dtype == candidates.total.dtype == torch.float64
    assert candidates.kept().tolist() == [2]


@given(rows)
def test_the_normaliser_is_that_of_plain_python(row: list[float]) -> None:
    candidates = Candidates(torch.tensor([row], dtype=torch.float64))
    exact = math.log(math.fsum(math.exp(logit) for logit in row))
    assert float(candidates.log_total) == pytest.approx(exact, rel=1e-12, abs=1e-12)
    assert float(candidates.probs().sum()) == pytest.approx(1, rel=1e-12)


@given(st.lists(st.sampled_from([-math.inf, -900.0, -30.0, 0.0, 1.0, 1e-6]) | st.floats(-50, 50), min_size=1, max_size=20))
def test_entropy_is_scipys(row: list[float]) -> None:
    logits = torch.tensor([[*row, 2.0], [*row[::-1], 50.0]])
    probs = logits.double().softmax(dim=1).numpy()
    assert Candidates(logits).entropy[:, 0].tolist() == pytest.approx(scipy.stats.entropy(probs, axis=1).tolist(), abs=1e-5)


def test_entropy_of_one_candidate_is_nothing_and_of_equals_their_number() -> None:
    assert Candidates(torch.tensor([[1000.0, -math.inf]])).entropy.tolist() == [[0.0]]
    assert Candidates(torch.zeros(2, 4096)).entropy[:, 0].tolist() == pytest.approx([12 * math.log(2)] * 2)


def test_a_huge_logit_does_not_overflow() -> None:
    assert Candidates(torch.tensor([[3e38, 0.0], [-3e38, -3e38]])).probs().tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_select_closes_up_and_pads() -> None:
    candidates = Candidates(torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]))
    after = candidates.select([torch.tensor([0, 2, 3]), torch.tensor([1])])
    assert after.logits.tolist() == [[1.0, 3.0, 4.0], [6.0, GONE, GONE]]
    assert after.token_ids().tolist() == [[0, 2, 3], [1, 1, 1]]  # padding repeats the row's last id
    again = after.select([torch.tensor([1, 2]), torch.tensor([0])])
    assert again.token_ids().tolist() == [[2, 3], [1, 1]]
    assert again.logits.tolist() == [[3.0, 4.0], [6.0, GONE]]


def test_select_of_everything_is_the_same_object() -> None:
    candidates = Candidates(torch.zeros((2, 3)))
    every = torch.arange(3)
    assert candidates.select([every, every]) is candidates


def test_a_row_that_would_be_empty_stays_as_it_was() -> None:
    nothing = torch.tensor([], dtype=torch.int64)
    one = Candidates(torch.tensor([[1.0, 2.0]]))
    assert one.select([nothing]) is one
    two = Candidates(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).select([nothing, torch.tensor([1])])
    assert two.logits.tolist() == [[1.0, 2.0], [4.0, GONE]]
    assert two.token_ids().tolist() == [[0, 1], [1, 1]]


@given(rows, st.floats(-20, 20, width=32))
def test_at_least(row: list[float], border: float) -> None:
    after = Candidates(torch.tensor([row])).at_least([border])
    expected = [token for token, logit in enumerate(row) if logit >= border] or list(range(len(row)))
    assert after.token_ids()[0].tolist() == expected


@given(rows, st.floats(0.01, 100), st.data())
def test_a_division_that_waits_gives_the_same_numbers(row: list[float], divisor: float, data: st.DataObject) -> None:
    """Whatever is asked first, and however many are left when it is asked."""
    logits = torch.tensor([row])
    now, later = Candidates(logits / divisor), Candidates(logits).divided(divisor)
    assert (later.rows, later.width) == (now.rows, now.width)
    chosen = torch.tensor(sorted(data.draw(st.sets(st.integers(0, len(row) - 1), min_size=1))))
    pairs = [(now, later), (now.select([chosen]), later.select([chosen]))]
    for one, other in pairs:
        measures = data.draw(st.permutations(["peak", "weights", "total", "logits"]))
        for measure in measures:
            assert torch.equal(getattr(one, measure), getattr(other, measure)) or float(one.peak) == GONE
    assert logits.tolist() == [row]


@given(rows, st.data())
def test_a_selection_that_keeps_the_peak_keeps_the_weights(row: list[float], data: st.DataObject) -> None:
    whole = Candidates(torch.tensor([row]))
    likeliest = row.index(max(row))
    chosen = torch.tensor(sorted({likeliest, *data.draw(st.sets(st.integers(0, len(row) - 1)))}))
    assert float(whole.weights.amax()) == 1
    kept = whole.select([chosen], peak_stays=True)
    afresh = Candidates(kept.logits, kept.ids)
    for measure in ("peak", "weights", "total"):
        assert torch.equal(getattr(kept, measure), getattr(afresh, measure))


@given(rows, st.floats(-20, 20, width=32))
def test_places(row: list[float], low: float) -> None:
    assert places(torch.tensor(row), low).tolist() == [at for at, value in enumerate(row) if low <= value]


def test_places_passes_over_nan() -> None:
    assert places(torch.tensor([math.nan, 1.0, math.nan]), 0.0).tolist() == [1]


def test_without() -> None:
    candidates = Candidates(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert candidates.without([1, 9], rows=[0]).logits.tolist() == [[1.0, GONE, 3.0], [4.0, 5.0, 6.0]]
    assert candidates.without([0, 1, 2]).logits.tolist() == candidates.logits.tolist()
    shrunk = candidates.select([torch.tensor([0, 2]), torch.tensor([1])])
    assert shrunk.without([2]).logits.tolist() == [[1.0, GONE], [5.0, GONE]]
    assert shrunk.without([1]).logits.tolist() == [[1.0, 3.0], [5.0, GONE]]  # row 1 has nothing else


def test_columns_finds_only_what_is_in_play() -> None:
    shrunk = Candidates(torch.tensor([[1.0, 2.0, 3.0], [4.0, GONE, GONE]]), torch.tensor([[2, 5, 9], [3, 3, 3]]))
    columns, present = shrunk.columns(0, torch.tensor([0, 5, 9, 40]))
    assert columns.tolist() == [1, 2]
    assert present.tolist() == [False, True, True, False]
    assert shrunk.columns(1, torch.tensor([3, 5]))[0].tolist() == [0]
    whole = Candidates(torch.zeros((1, 3)))
    assert whole.columns(0, torch.tensor([2, 3]))[0].tolist() == [2]


def test_spread_is_the_whole_vocabulary() -> None:
    shrunk = Candidates(torch.tensor([[1.0, 2.0], [4.0, GONE]]), torch.tensor([[0, 2], [3, 3]]))
    assert shrunk.spread(4).tolist() == [[1.0, GONE, 2.0, GONE], [GONE, GONE, GONE, 4.0]]
    whole = Candidates(torch.tensor([[1.0, GONE]]))
    assert whole.spread(2).tolist() == [[1.0, GONE]]


@settings(deadline=None)
@given(rows, st.data())
def test_look_ups_agree_with_a_sort(row: list[float], data: st.DataObject) -> None:
    """Rank, probability and the mass before a token, on the whole vocabulary and on survivors."""
    chosen = sorted(data.draw(st.lists(st.integers(0, len(row) - 1), min_size=1, unique=True)))
    candidates = Candidates(torch.tensor([row], dtype=torch.float64))
    if any(row[token] > GONE for token in chosen) and data.draw(st.booleans()):
        candidates = candidates.select([torch.tensor(chosen)])
        row = [logit if token in chosen else GONE for token, logit in enumerate(row)]
    total = math.fsum(math.exp(logit) for logit in row)
    order = sorted((token for token in range(len(row)) if row[token] > GONE), key=lambda token: (-row[token], token))
    before = 0.0
    for rank, token in enumerate(order, 1):
        assert candidates.logit(0, token) == row[token]
        assert candidates.rank(0, token) == rank
        assert candidates.probability(0, token) == pytest.approx(math.exp(row[token]) / total, rel=1e-9)
        assert candidates.mass_above(0, token) == pytest.approx(before, rel=1e-9, abs=1e-12)
        before += math.exp(row[token]) / total
    for token in range(len(row)):
        if row[token] == GONE:
            assert candidates.logit(0, token) == GONE
            assert candidates.probability(0, token) == 0.0


@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
def test_top_in_a_batch(k: int) -> None:
    logits = torch.tensor([[1.0, 4.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0], [5.0, GONE, GONE, GONE]])
    after = Candidates(logits).top(k)
    left = [after.token_ids()[row][after.logits[row] > GONE].tolist() for row in range(3)]
    assert left == [sorted([1, 3, 2, 0][:k]), list(range(4))[:k], [0]]
