"""Smoothing: numbers by hand, and the published formula in plain floats as the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gencli.stages.smoothing import Smoothing
from references import agrees


@pytest.mark.parametrize(
    ("factor", "curve", "expected"),
    [
        (0.0, 1.0, [5.0, 4.0, 3.0, 1.0]),
        (0.5, 1.0, [5.0, 4.5, 3.0, -3.0]),  # 5 - d² / 2
        (0.5, 3.0, [5.0, 4.5, 1.0, -27.0]),  # 5 - d³ / 2
        (0.5, 2.0, [5.0, 4.5, 2.0, -15.0]),  # half of each
        (0.5, 5.0, [5.0, 4.5, -1.0, -51.0]),  # 5 + d² / 2 - d³
    ],
)
def test_numbers(apply, factor: float, curve: float, expected: list[float]) -> None:
    assert apply("smoothing", [5.0, 4.0, 3.0, 1.0], factor=factor, curve=curve).logits[0].tolist() == pytest.approx(expected)


def test_above_three_the_closest_overtake_the_likeliest(apply) -> None:
    after = apply("smoothing", [1.0, 0.75, 0.0], factor=1.0, curve=7.0)
    assert after.logits[0].tolist() == pytest.approx([1.0, 1 + 2 / 16 - 3 / 64, 0.0])


@pytest.mark.parametrize("curve", [1.0, 2.5, 3.0, 10.0])
def test_far_away_is_still_a_number(apply, curve: float) -> None:
    after = apply("smoothing", [9.0, 0.0, -3e38, -torch.inf], factor=100, curve=curve)
    assert after.logits[0, :3].isfinite().all()
    assert after.probs()[0].tolist() == [1.0, 0.0, 0.0, 0.0]


def slowly(stage: Smoothing, row: Tensor, _: object) -> Tensor:
    peak, k, s = float(row.max()), (3 - stage.curve) / 2, (stage.curve - 1) / 2
    bent = [
        logit if logit == -math.inf else -(k * stage.factor * (logit - peak) ** 2) + s * stage.factor * (logit - peak) ** 3 + peak
        for logit in row[0].tolist()
    ]
    return torch.tensor([bent], dtype=torch.float64)


def test_agrees_with_the_formula() -> None:
    agrees([Smoothing(0.2), Smoothing(0.3, 1.5), Smoothing(1.0, 3.0), Smoothing(5.0, 2.0), Smoothing(0.5, 7.0)], slowly)
