"""Top-n-sigma: numbers by hand, llama.cpp's own, and the definition in plain floats as the reference."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.stages.top_n_sigma import TopNSigma
from references import agrees


# a mean of 3, a deviation of sqrt(2)
@pytest.mark.parametrize(("n", "left"), [(0.0, [0, 1, 2, 3, 4]), (0.5, [4]), (0.71, [3, 4]), (1.42, [2, 3, 4]), (9.0, [0, 1, 2, 3, 4])])
def test_numbers(apply, kept, n: float, left: list[int]) -> None:
    assert kept(apply("top_n_sigma", [1.0, 2.0, 3.0, 4.0, 5.0], n=n)) == left


@pytest.mark.parametrize(("n", "expected"), [(1.0, [0, 0, 0.428571, 0.571429]), (0.0, [0.1, 0.2, 0.3, 0.4]), (3.0, [0.1, 0.2, 0.3, 0.4])])
def test_numbers_of_llama_cpp(apply, n: float, expected: list[float]) -> None:
    after = apply("top_n_sigma", torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log(), n=n)
    assert after.spread(4).softmax(1)[0].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("heat", [0.3, 2.0])
def test_is_the_same_at_any_temperature(apply, kept, heat: float) -> None:
    logits = torch.randn((1, 500), generator=torch.Generator().manual_seed(2))
    assert kept(apply("top_n_sigma", logits / heat, n=1.0)) == kept(apply("top_n_sigma", logits, n=1.0))


def border(stage: TopNSigma, row: Tensor) -> float:
    alive = [logit for logit in row[0].tolist() if logit > -math.inf]
    return max(alive) - stage.n * statistics.pstdev(alive)


def test_agrees_with_the_definition() -> None:
    agrees(
        [TopNSigma(n) for n in (0.1, 0.5, 1.0, 1.5, 3.0)],
        lambda stage, row, _: row.masked_fill(row < border(stage, row), -torch.inf),
        lambda stage, row, _: (row[0] - border(stage, row)).abs(),
    )


def test_because() -> None:
    before = Candidates(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]))
    assert TopNSigma(1.0).because(before, 0, 1) == "logit 2 < 5 - 1 x 1.414"
