"""Dynamic temperature: numbers by hand, llama.cpp's own, and its formula in plain floats as the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.stages.dynamic_temperature import DynamicTemperature
from references import agrees

HALVES = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()  # 1.75 bits of at most 2: a share of 0.875


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"range": 0.5}, 0.5 + 1.0 * 0.875),
        ({"range": 0.5, "temperature": 0.8}, 0.3 + 1.0 * 0.875),
        ({"range": 2.0}, 0.0 + 3.0 * 0.875),  # below 0 is 0
        ({"range": 0.5, "exponent": 2.0}, 0.5 + 1.0 * 0.875**2),
    ],
)
def test_numbers(apply, knobs: dict[str, float], expected: float) -> None:
    after = apply("dynamic_temperature", HALVES, **knobs)
    assert after.logits[0].tolist() == pytest.approx((HALVES[0] / expected).tolist(), rel=1e-6)


def test_sure_is_sharp_and_unsure_is_flat() -> None:
    stage = DynamicTemperature(0.9)
    heats = stage.temperatures(Candidates(torch.tensor([[30.0, 0.0, 0.0], [0.0, 0.0, 0.0], [3.0, -torch.inf, -torch.inf]])))
    assert heats[:, 0].tolist() == pytest.approx([0.1, 1.9, 1.0])


def test_at_a_temperature_of_nothing_the_likeliest_is_certain(apply) -> None:
    after = apply("dynamic_temperature", [400.0, 1.0, -3.0], range=1.0)
    assert after.probs()[0].tolist() == [1.0, 0.0, 0.0]
    assert bool(after.logits.isfinite().all())


def slowly(stage: DynamicTemperature, row: Tensor, _: object) -> Tensor:
    probabilities = [each for each in row[0].softmax(0).tolist() if each > 0]
    kept = int((row > -torch.inf).sum())
    if kept == 1:
        return row
    entropy = -math.fsum(each * math.log(each) for each in probabilities)
    low, high = max(0.0, stage.temperature - stage.range), stage.temperature + stage.range
    return row / (low + (high - low) * max(0.0, entropy / math.log(kept)) ** stage.exponent)


def test_agrees_with_the_formula() -> None:
    stages = [DynamicTemperature(0.5), DynamicTemperature(0.3, 0.7), DynamicTemperature(1.0, 1.5, 2.0), DynamicTemperature(0.4, 0.8, 0.5)]
    # a share near nothing to the power of a half is only as exact as its root
    agrees(stages[:3], slowly, coarse=1e-4)
    row = torch.randn((1, 50), dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    assert torch.allclose(stages[3](Candidates(row), [Memory([0])]).logits, slowly(stages[3], row, None), rtol=1e-12)
