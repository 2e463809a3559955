"""Min-p: its own numbers and transformers as the oracle."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import MinPLogitsWarper

from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.errors import RunError
from gencli.stages.min_p import MinP
from references import agrees


def log(*probabilities: float) -> torch.Tensor:
    return torch.tensor([[math.log(each) for each in probabilities]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("p", "left"), [(0.0, [0, 1, 2, 3]), (0.05, [0, 1, 2, 3]), (0.11, [0, 1, 2]), (0.31, [0, 1]), (0.9, [0]), (1.0, [0])]
)
def test_numbers(apply, kept, p: float, left: list[int]) -> None:
    assert kept(apply("min_p", log(0.5, 0.3, 0.15, 0.05), p=p)) == left


def test_one_keeps_all_that_are_as_likely_as_the_likeliest(apply, kept) -> None:
    assert kept(apply("min_p", [2.0, 1.0, 2.0, 2.0], p=1)) == [0, 2, 3]


def test_agrees_with_transformers() -> None:
    agrees(
        [MinP(p) for p in (1e-6, 0.01, 0.1, 0.5, 0.999)],
        lambda stage, row, _: MinPLogitsWarper(stage.p)(None, row),
        lambda stage, row, _: (row[0] - row.max() - math.log(stage.p)).abs(),
    )


@pytest.mark.parametrize(("p", "count"), [(0.0, 4), (0.24, 4), (0.26, 3), (0.49, 3), (0.51, 2), (0.74, 2), (0.76, 1), (1.0, 1)])
def test_numbers_of_llama_cpp(apply, kept, p: float, count: int) -> None:
    assert kept(apply("min_p", log(0.1, 0.2, 0.3, 0.4), p=p)) == [0, 1, 2, 3][-count:]


@pytest.mark.parametrize("place", range(3))
def test_nan_stays_in_play(place: int) -> None:
    row = torch.zeros((1, 3))
    row[0, place] = torch.nan
    with pytest.raises(RunError, match="NaN"):
        draw(MinP(0.5)(Candidates(row), ()), [0.5])


def test_because() -> None:
    assert MinP(0.3).because(Candidates(log(0.5, 0.3, 0.15, 0.05)), 0, 3) == "5 % < 0.3 x 50 %"
