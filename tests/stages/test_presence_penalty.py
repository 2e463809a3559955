"""Presence penalty: once for every token that appeared, by a slow count as the oracle."""

from __future__ import annotations

import pytest
import torch

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.stages.presence_penalty import PresencePenalty


def test_numbers(apply) -> None:
    after = apply("presence_penalty", [1.0, 2.0, -3.0, 0.0], [Memory([0, 2, 0, 0])], penalty=0.5)
    assert after.logits.tolist() == [[0.5, 2.0, -3.5, 0.0]]


def test_negative_invites_repetition(apply) -> None:
    assert apply("presence_penalty", [1.0, 2.0], [Memory([1])], penalty=-1).logits.tolist() == [[1.0, 3.0]]


@pytest.mark.parametrize("penalty", [-2.0, 0.3, 1.7])
def test_agrees_with_a_count(distributions, apply, penalty: float) -> None:
    generator = torch.Generator().manual_seed(4)
    for row in distributions[:100]:
        seen = torch.randint(0, row.shape[1], (30,), generator=generator).tolist()
        expected = [logit - penalty * (token in seen) for token, logit in enumerate(row[0].tolist())]
        assert apply("presence_penalty", row, [Memory(seen)], penalty=penalty).logits[0].tolist() == expected


def test_output_only() -> None:
    memory = Memory([0, 1])
    memory.append(1)
    after = PresencePenalty(1.0, 0, "output")(Candidates(torch.zeros((1, 3))), [memory])
    assert after.logits.tolist() == [[0.0, -1.0, 0.0]]
