"""Frequency penalty: for each time a token appeared, by a slow count as the oracle."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.stages.frequency_penalty import FrequencyPenalty
from references import agrees


def test_numbers(apply) -> None:
    after = apply("frequency_penalty", [1.0, 2.0, -3.0, 0.0], [Memory([0, 2, 0, 0])], penalty=0.5)
    assert after.logits.tolist() == [[-0.5, 2.0, -3.5, 0.0]]


def test_negative_invites_repetition(apply) -> None:
    assert apply("frequency_penalty", [1.0, 2.0], [Memory([1, 1])], penalty=-1).logits.tolist() == [[1.0, 4.0]]


def test_agrees_with_a_count() -> None:
    def slowly(stage: FrequencyPenalty, row: Tensor, memory: Memory) -> Tensor:
        return torch.tensor(
            [[logit - stage.penalty * memory.ids.count(token) for token, logit in enumerate(row[0].tolist())]], dtype=torch.float64
        )

    agrees([FrequencyPenalty(penalty) for penalty in (-2.0, 0.3, 1.7)], slowly)


def test_the_latest_only() -> None:
    after = FrequencyPenalty(1.0, last=3)(Candidates(torch.zeros((1, 3))), [Memory([2, 2, 2, 0, 1, 1])])
    assert after.logits.tolist() == [[-1.0, -2.0, 0.0]]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([0], [0.000011, 0.249997, 0.249997, 0.249997, 0.249997]),
        ([0, 1, 2], [0.000023, 0.000023, 0.000023, 0.499966, 0.499966]),
        ([0, 1, 2, 0, 0], [0.0, 0.000023, 0.000023, 0.499977, 0.499977]),
    ],
)
def test_numbers_of_llama_cpp(apply, seen: list[int], expected: list[float]) -> None:
    """Both penalties at 5, as its one sampler applies them."""
    once = apply("presence_penalty", torch.full((1, 5), 0.2).log(), [Memory(seen)], penalty=5)
    both = apply("frequency_penalty", once.logits, [Memory(seen)], penalty=5)
    assert both.probs()[0].tolist() == pytest.approx(expected, abs=1e-6)
