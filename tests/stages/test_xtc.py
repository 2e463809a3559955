"""XTC: llama.cpp's numbers, its own coin, and the definition in plain floats as the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.stages.xtc import COIN, Xtc
from references import agrees, apart, log_probs

PROBABILITIES = torch.tensor([[0.4, 0.3, 0.2, 0.1]])


@pytest.mark.parametrize(("threshold", "left"), [(0.09, [3]), (0.19, [2, 3]), (0.29, [1, 2, 3]), (0.39, [0, 1, 2, 3])])
def test_numbers_of_llama_cpp(apply, kept, threshold: float, left: list[int]) -> None:
    assert kept(apply("xtc", PROBABILITIES.log(), probability=1, threshold=threshold)) == left


def test_of_ties_the_highest_id_stays(apply, kept) -> None:
    assert kept(apply("xtc", [0.0, 1.0, 1.0, 1.0, 0.0], probability=1, threshold=0.2)) == [0, 3, 4]


def test_nothing_happens_where_one_token_alone_is_a_top_choice(apply, kept) -> None:
    assert kept(apply("xtc", PROBABILITIES.log(), probability=1, threshold=0.6)) == [0, 1, 2, 3]


def test_the_coin_falls_as_often_as_asked_and_is_not_the_draws() -> None:
    """2,000 seeds: a share within five deviations of 0.3 (a false alarm in 1.7 million), and as often under either half of the draws."""
    memories = [Memory([0], seed=seed) for seed in range(2000)]
    after = Xtc(0.3)(Candidates(PROBABILITIES.log().repeat(2000, 1)), memories)
    excluded = [not bool(row[0] > -torch.inf) for row in after.logits]
    assert abs(sum(excluded) - 600) < 5 * math.sqrt(2000 * 0.3 * 0.7)
    low = [gone for gone, memory in zip(excluded, memories, strict=True) if memory.uniform() < 0.5]
    assert abs(sum(low) - 0.3 * len(low)) < 5 * math.sqrt(len(low) * 0.3 * 0.7)


def slowly(stage: Xtc, row: Tensor, memory: Memory) -> Tensor:
    probabilities = row[0].softmax(0).tolist()
    top = sorted((token for token, each in enumerate(probabilities) if each >= stage.threshold), key=lambda token: (-row[0, token], token))
    if memory.uniform(COIN) < stage.probability:
        row[0, top[:-1]] = -torch.inf
    return row


def margin(stage: Xtc, row: Tensor, _: object) -> Tensor:
    logs = log_probs(row)
    to_threshold = (logs - math.log(stage.threshold)).abs()
    top = row[0][logs >= math.log(stage.threshold)]
    return torch.minimum(to_threshold, apart(row[0], top.min())) if len(top) else to_threshold


def test_agrees_with_the_definition() -> None:
    agrees([Xtc(1.0, 0.1), Xtc(0.5, 0.05), Xtc(1.0, 0.01), Xtc(0.9, 0.3), Xtc(1.0, 0.003)], slowly, margin)


def test_because() -> None:
    said = "a top choice, 40 % >= 10 %, and not the least likely of them"
    assert Xtc(1.0, 0.1).because(Candidates(PROBABILITIES.log()), 0, 0) == said
