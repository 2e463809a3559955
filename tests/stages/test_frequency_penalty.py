"""Frequency penalty: for each time a token appeared, by a slow count as the oracle."""

from __future__ import annotations

import pytest
import torch

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.stages.frequency_penalty import FrequencyPenalty


def test_numbers(apply) -> None:
    after = apply("frequency_penalty", [1.0, 2.0, -3.0, 0.0], [Memory([0, 2, 0, 0])], penalty=0.5)
    assert after.logits.tolist() == [[-0.5, 2.0, -3.5, 0.0]]


def test_negative_invites_repetition(apply) -> None:
    assert apply("frequency_penalty", [1.0, 2.0], [Memory([1, 1])], penalty=-1).logits.tolist() == [[1.0, 4.0]]


@pytest.mark.parametrize("penalty", [-2.0, 0.3, 1.7])
def test_agrees_with_a_count(distributions, apply, penalty: float) -> None:
    generator = torch.Generator().manual_seed(4)
    for row in distributions[:100]:
        seen = torch.randint(0, row.shape[1], (30,), generator=generator).tolist()
        expected = [logit - penalty * seen.count(token) for token, logit in enumerate(row[0].tolist())]
        assert apply("frequency_penalty", row, [Memory(seen)], penalty=penalty).logits[0].tolist() == pytest.approx(expected, rel=1e-14)


def test_the_latest_only() -> None:
    after = FrequencyPenalty(1.0, last=3)(Candidates(torch.zeros((1, 3))), [Memory([2, 2, 2, 0, 1, 1])])
    assert after.logits.tolist() == [[-1.0, -2.0, 0.0]]
