"""Top-a: numbers by hand, and the definition in float64 as the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.stages.top_a import TopA
from references import agrees, log_probs


def log(*probabilities: float) -> Tensor:
    return torch.tensor([[math.log(each) for each in probabilities]], dtype=torch.float64)


@pytest.mark.parametrize(("a", "left"), [(0.0, [0, 1, 2, 3]), (0.19, [0, 1, 2, 3]), (0.21, [0, 1, 2]), (0.7, [0, 1]), (1.0, [0, 1])])
def test_numbers(apply, kept, a: float, left: list[int]) -> None:
    assert kept(apply("top_a", log(0.5, 0.3, 0.15, 0.05), a=a)) == left  # the bar is a x 25 %


def slowly(stage: TopA, row: Tensor, _: object) -> Tensor:
    probabilities = row[0].softmax(0)
    return row.masked_fill(probabilities < stage.a * probabilities.max() ** 2, -torch.inf)


def test_agrees_with_the_definition() -> None:
    def margin(stage: TopA, row: Tensor, _: object) -> Tensor:
        return (log_probs(row) - math.log(stage.a) - 2 * log_probs(row).max()).abs()

    agrees([TopA(a) for a in (1e-6, 0.01, 0.2, 0.5, 1.0)], slowly, margin)


def test_because() -> None:
    assert TopA(0.5).because(Candidates(log(0.5, 0.3, 0.15, 0.05)), 0, 3) == "5 % < 0.5 x (50 %)²"
