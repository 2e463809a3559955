"""Typical-p: numbers by hand, llama.cpp's own, and transformers as the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import TypicalLogitsWarper

from gencli import selection
from gencli.candidates import Candidates
from gencli.stages.typical_p import TypicalP
from references import agrees, cut_margin, log_probs


def log(*probabilities: float) -> Tensor:
    return torch.tensor([[math.log(each) for each in probabilities]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("probabilities", "p", "left"),
    [
        # an entropy of 1.75 bits; surprises of 1, 2, 3, 3 bits are 0.75, 0.25, 1.25, 1.25 bits from it
        ((0.5, 0.25, 0.125, 0.125), 0.2, [1]),
        ((0.5, 0.25, 0.125, 0.125), 0.25, [1]),
        ((0.5, 0.25, 0.125, 0.125), 0.26, [0, 1]),
        ((0.5, 0.25, 0.125, 0.125), 0.75, [0, 1]),
        ((0.5, 0.25, 0.125, 0.125), 0.8, [0, 1, 2]),
        ((0.5, 0.25, 0.125, 0.125), 1.0, [0, 1, 2, 3]),
        ((0.97, 0.01, 0.01, 0.01), 0.5, [0]),  # llama.cpp, tests/test-sampling.cpp
        ((0.4, 0.2, 0.2, 0.2), 0.5, [1, 2, 3]),  # the same: the likeliest is not typical
    ],
)
def test_numbers(apply, kept, probabilities: tuple[float, ...], p: float, left: list[int]) -> None:
    assert kept(apply("typical_p", log(*probabilities), p=p)) == left


def gaps(row: Tensor) -> Tensor:
    logs = log_probs(row)
    entropy = -(logs * logs.exp()).nansum()
    return (-logs - entropy).abs()


@pytest.mark.parametrize("at_once", [1, 2048], ids=["narrowed", "sorted"])
def test_agrees_with_transformers(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SORTED", at_once)
    monkeypatch.setattr(selection, "SAMPLE", 1 if at_once == 1 else 127)
    agrees(
        [TypicalP(p) for p in (0.05, 0.2, 0.5, 0.9, 0.95, 0.99)],
        lambda stage, row, _: TypicalLogitsWarper(stage.p)(None, row),
        lambda stage, row, _: cut_margin(gaps(row), log_probs(row).exp(), stage.p),
        all_ties=True,
    )


def test_because() -> None:
    before = Candidates(log(0.5, 0.25, 0.125, 0.125))
    assert TypicalP(0.75).because(before, 0, 3) == "1.25 bits from the entropy; nearer tokens already hold 87.5 % >= 75 %"
    assert TypicalP(0.2).because(before, 0, 0) == "0.75 bits from the entropy; nearer tokens already hold 25 % >= 20 %"
