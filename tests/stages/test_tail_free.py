"""Tail-free sampling: numbers by hand, and the definition by a full sort in plain floats as the reference."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from gencli import selection
from gencli.candidates import Candidates
from gencli.stages.tail_free import TailFree
from references import agrees, apart, log_probs, order


def log(*probabilities: float) -> Tensor:
    return torch.tensor([[math.log(each) for each in probabilities]], dtype=torch.float64)


@pytest.fixture(params=[3, 4096], ids=["narrowed", "sorted"], scope="module", autouse=True)
def _both_ways(request: pytest.FixtureRequest) -> None:
    """Every test runs with the few likeliest looked at first, and with all of them."""
    before, selection.FIRST = selection.FIRST, request.param
    yield
    selection.FIRST = before


# differences .2 .15 .05 .02, their differences .05 .1 .03: shares 5/18, 15/18, 1
@pytest.mark.parametrize(("z", "left"), [(0.0, 1), (0.2, 1), (0.3, 2), (0.8, 2), (0.84, 3), (0.99, 3), (1.0, 5)])
def test_numbers(apply, kept, z: float, left: int) -> None:
    assert kept(apply("tail_free", log(0.46, 0.26, 0.11, 0.06, 0.04), z=z)) == list(range(left))


def test_two_tokens_and_equal_ones_have_no_tail(apply, kept) -> None:
    assert kept(apply("tail_free", [1.0, 0.0], z=0.1)) == [0, 1]
    assert kept(apply("tail_free", [1.0, -torch.inf, 0.0], z=0.1)) == [0, 2]
    assert kept(apply("tail_free", [2.0, 2.0, 2.0, 2.0], z=0.1)) == [0, 1, 2, 3]


def shares(row: Tensor) -> list[float]:
    """The running sum of the bends over their sum, likeliest first; empty where there is none."""
    logits = sorted((logit for logit in row[0].tolist() if logit > -torch.inf), reverse=True)
    weights = [math.exp(logit - logits[0]) for logit in logits]
    slopes = [one - other for one, other in itertools.pairwise(weights)]
    bends = [abs(one - other) for one, other in itertools.pairwise(slopes)]
    whole = math.fsum(bends)
    return [math.fsum(bends[: count + 1]) / whole for count in range(len(bends))] if whole else []


def slowly(stage: TailFree, row: Tensor, _: object) -> Tensor:
    found = shares(row)
    if not found:
        return row
    count = 1 + sum(share <= stage.z for share in found)
    cut = torch.full_like(row, -torch.inf)
    likeliest = order(-row[0])[:count]
    cut[0, likeliest] = row[0, likeliest]
    return cut


def margin(stage: TailFree, row: Tensor, _: object) -> Tensor:
    """By what decides about a token's rank, or by its logit where two stand close at the border."""
    found, likeliest = shares(row), order(-row[0])
    by_rank = torch.full((row.shape[1],), torch.inf, dtype=torch.float64)
    by_rank[1 : len(found) + 1] = (torch.tensor(found, dtype=torch.float64) - stage.z).abs()
    by_token = torch.empty_like(by_rank).index_copy_(0, likeliest, by_rank)
    border = row[0, likeliest[sum(share <= stage.z for share in found)]]
    return torch.minimum(by_token, apart(row[0], border))


def test_agrees_with_the_definition() -> None:
    agrees([TailFree(z) for z in (0.0, 0.3, 0.7, 0.9, 0.95, 0.99)], slowly, margin)


@pytest.mark.parametrize("z", [0.5, 0.95, 0.9999])
@pytest.mark.parametrize("kind", ["zipf", "flat", "normal"])
def test_large_vocabularies(kind: str, z: float) -> None:
    generator = torch.Generator().manual_seed(6)
    noise = torch.randn((1, 5000), dtype=torch.float64, generator=generator)
    rank = torch.randperm(5000, generator=generator).double() + 1
    row = {"zipf": -1.2 * rank.log()[None] + 0.3 * noise, "flat": 0.02 * noise, "normal": noise}[kind]
    assert torch.equal(TailFree(z)(Candidates(row), ()).spread(5000), slowly(TailFree(z), row, None))


def test_because() -> None:
    before = Candidates(log(0.46, 0.26, 0.11, 0.06, 0.04))
    assert TailFree(0.3).because(before, 0, 3) == "rank 4 > 2, where the tail begins"
    assert log_probs(before.logits).exp().tolist()[0] == pytest.approx(0.46 / 0.93)
