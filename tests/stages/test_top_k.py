"""Top-k: the lesson's numbers, exactly k among ties, and transformers as the oracle."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import TopKLogitsWarper

from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.errors import RunError
from gencli.stages.top_k import TopK
from references import agrees, apart

LESSON = [1, 3, 0.5, 2.5, 0, 2, -1, 1.5]


@pytest.mark.parametrize(
    ("k", "left"), [(1, [1]), (3, [1, 3, 5]), (5, [0, 1, 3, 5, 7]), (8, list(range(8))), (99, list(range(8))), (0, list(range(8)))]
)
def test_lesson_numbers(apply, kept, k: int, left: list[int]) -> None:
    assert kept(apply("top_k", [float(each) for each in LESSON], k=k)) == left


def test_two_equally_likely_tokens(apply, kept) -> None:
    assert kept(apply("top_k", [3.0, 3.0, -1.0, -1.0, -2.0, -2.0, -3.0, -3.0, -4.0, -4.0], k=2)) == [0, 1]


@given(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, -torch.inf]), min_size=1, max_size=30), st.integers(1, 32))
def test_exactly_k_lowest_ids_first(row: list[float], k: int) -> None:
    """Against a sort by (logit, id): the definition itself. Removed tokens do not come back."""
    if max(row) == -torch.inf:
        return
    finite = [token for token in range(len(row)) if row[token] > -torch.inf]
    expected = sorted(sorted(finite, key=lambda token: (-row[token], token))[:k])
    after = TopK(k)(Candidates(torch.tensor([row])), ())
    assert after.token_ids()[0][after.logits[0] > -torch.inf].tolist() == expected


def test_agrees_with_transformers() -> None:
    """A documented difference: among ties transformers keeps more than k."""

    def margin(stage: TopK, row: Tensor, _: object) -> Tensor:
        return apart(row[0], row[0].sort(descending=True).values[min(stage.k, row.shape[1]) - 1])

    agrees([TopK(k) for k in (1, 2, 7, 50, 199)], lambda stage, row, _: TopKLogitsWarper(stage.k)(None, row), margin, all_ties=True)


@pytest.mark.parametrize(
    ("k", "expected"), [(1, [1.0]), (3, [0.22222, 0.33333, 0.44444]), (4, [0.1, 0.2, 0.3, 0.4]), (0, [0.1, 0.2, 0.3, 0.4])]
)
def test_numbers_of_llama_cpp(apply, k: int, expected: list[float]) -> None:
    assert apply("top_k", torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log(), k=k).probs()[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_keeps_more_than_k_nowhere_where_transformers_would(apply) -> None:
    row = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.0]])
    assert int((TopKLogitsWarper(2)(None, row) > -torch.inf).sum()) == 3
    assert int(apply("top_k", row, k=2).kept()) == 2


@pytest.mark.parametrize("place", range(4))
def test_nan_stays_in_play(place: int) -> None:
    row = torch.zeros((1, 4))
    row[0, place] = torch.nan
    for k in (1, 2, 3, 4):
        with pytest.raises(RunError, match="NaN"):
            draw(TopK(k)(Candidates(row), ()), [0.5])


def test_because(apply) -> None:
    before = Candidates(torch.tensor([[1.0, 3.0, 1.0, 2.0]]))
    assert TopK(2).because(before, 0, 2) == "rank 4 > 2"
    assert TopK(2).because(before, 0, 0) == "rank 3 > 2"
