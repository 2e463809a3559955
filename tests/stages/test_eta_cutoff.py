"""Eta cutoff: numbers by hand, and transformers as the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import EtaLogitsWarper

from gencli.candidates import Candidates
from gencli.stages.eta_cutoff import EtaCutoff
from references import agrees, log_probs


def log(*probabilities: float) -> Tensor:
    return torch.tensor([[math.log(each) for each in probabilities]], dtype=torch.float64)


# an entropy of 1.75 bits: exp(-entropy) is 2^-1.75 = 0.297
@pytest.mark.parametrize(
    ("epsilon", "left"),
    [
        (0.0, [0, 1, 2, 3]),
        (0.01, [0, 1, 2, 3]),  # min(0.01, 0.1 x 0.297)
        (0.16, [0, 1, 2, 3]),  # min(0.16, 0.4 x 0.297 = 0.119)
        (0.25, [0, 1]),  # 0.5 x 0.297 = 0.149
        (0.81, [0]),  # 0.9 x 0.297 = 0.268
    ],
)
def test_numbers(apply, kept, epsilon: float, left: list[int]) -> None:
    assert kept(apply("eta_cutoff", log(0.5, 0.25, 0.125, 0.125), epsilon=epsilon)) == left


def test_agrees_with_transformers() -> None:
    """Epsilons that float32 holds exactly: transformers keeps its own in it."""

    def margin(stage: EtaCutoff, row: Tensor, _: object) -> Tensor:
        logs = log_probs(row)
        entropy = -(logs * logs.exp()).nansum()
        return (logs - min(math.log(stage.epsilon), math.log(stage.epsilon) / 2 - float(entropy))).abs()

    agrees([EtaCutoff(2.0**-power) for power in (20, 11, 8, 4, 1)], lambda stage, row, _: EtaLogitsWarper(stage.epsilon)(None, row), margin)


def test_because() -> None:
    before = Candidates(log(0.5, 0.25, 0.125, 0.125))
    assert EtaCutoff(0.25).because(before, 0, 2) == "12.5 % < 14.9 %, which an entropy of 1.75 bits sets"
