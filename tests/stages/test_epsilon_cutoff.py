"""Epsilon cutoff: numbers by hand, and transformers as the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import EpsilonLogitsWarper

from gencli.candidates import Candidates
from gencli.stages.epsilon_cutoff import EpsilonCutoff
from references import agrees, log_probs


def log(*probabilities: float) -> Tensor:
    return torch.tensor([[math.log(each) for each in probabilities]], dtype=torch.float64)


@pytest.mark.parametrize(("epsilon", "left"), [(0.0, [0, 1, 2, 3]), (0.04, [0, 1, 2, 3]), (0.06, [0, 1, 2]), (0.2, [0, 1]), (0.9, [0])])
def test_numbers(apply, kept, epsilon: float, left: list[int]) -> None:
    assert kept(apply("epsilon_cutoff", log(0.5, 0.3, 0.15, 0.05), epsilon=epsilon)) == left


def test_where_none_is_so_likely_the_likeliest_stay(apply, kept) -> None:
    assert kept(apply("epsilon_cutoff", [1.0, 3.0, 3.0, 2.0], epsilon=0.9)) == [1, 2]


def test_agrees_with_transformers() -> None:
    agrees(
        [EpsilonCutoff(epsilon) for epsilon in (1e-6, 3e-4, 9e-4, 0.02, 0.3, 0.9)],
        lambda stage, row, _: EpsilonLogitsWarper(stage.epsilon)(None, row),
        lambda stage, row, _: (log_probs(row) - math.log(stage.epsilon)).abs(),
    )


def test_because() -> None:
    assert EpsilonCutoff(0.1).because(Candidates(log(0.5, 0.3, 0.15, 0.05)), 0, 3) == "5 % < 10 %"
