"""Presence penalty: once for every token that appeared, by a slow count as the oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.stages.presence_penalty import PresencePenalty
from references import agrees


def test_numbers(apply) -> None:
    after = apply("presence_penalty", [1.0, 2.0, -3.0, 0.0], [Memory([0, 2, 0, 0])], penalty=0.5)
    assert after.logits.tolist() == [[0.5, 2.0, -3.5, 0.0]]


def test_negative_invites_repetition(apply) -> None:
    assert apply("presence_penalty", [1.0, 2.0], [Memory([1])], penalty=-1).logits.tolist() == [[1.0, 3.0]]


def test_agrees_with_a_count() -> None:
    def slowly(stage: PresencePenalty, row: Tensor, memory: Memory) -> Tensor:
        return torch.tensor(
            [[logit - stage.penalty * (token in memory.ids) for token, logit in enumerate(row[0].tolist())]], dtype=torch.float64
        )

    agrees([PresencePenalty(penalty) for penalty in (-2.0, 0.3, 1.7)], slowly)


def test_output_only() -> None:
    memory = Memory([0, 1])
    memory.append(1)
    after = PresencePenalty(1.0, 0, "output")(Candidates(torch.zeros((1, 3))), [memory])
    assert after.logits.tolist() == [[0.0, -1.0, 0.0]]
