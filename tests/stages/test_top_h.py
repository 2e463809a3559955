"""Top-h: numbers by hand, and transformers as the reference wherever no more than its hundred tokens are in play."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import TopHLogitsWarper

from gencli import selection
from gencli.candidates import Candidates
from gencli.stages.top_h import TopH
from gencli.stages.top_k import TopK
from references import agrees, apart, cut_margin, log_probs, rows


def log(*probabilities: float) -> Tensor:
    return torch.tensor([[math.log(each) for each in probabilities]], dtype=torch.float64)


# parts of the entropy: 0.5, 0.5, 0.375, 0.375 bits of 1.75
@pytest.mark.parametrize(
    ("h", "left"), [(0.0, 4), (0.1, 1), (0.28, 1), (0.29, 1), (0.57, 1), (0.58, 2), (0.78, 2), (0.79, 3), (0.99, 3), (1.0, 4)]
)
def test_numbers(apply, kept, h: float, left: int) -> None:
    assert kept(apply("top_h", log(0.5, 0.25, 0.125, 0.125), h=h)) == list(range(left))


def parts(row: Tensor) -> Tensor:
    logs = log_probs(row)
    return -(logs * logs.exp()).nan_to_num(0.0)


@pytest.mark.parametrize("first", [2, 4096], ids=["in parts", "at once"])
def test_agrees_with_transformers(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers looks at the hundred likeliest alone; that is top_k 100 before it."""

    monkeypatch.setattr(selection, "FIRST", first)

    class Both:
        def __init__(self, h: float) -> None:
            self.h = h

        def __call__(self, candidates: Candidates, memories: object) -> Candidates:
            return TopH(self.h)(TopK(100)(candidates, ()), ())

    def margin(stage: Both, row: Tensor, _: object) -> Tensor:
        cut = TopK(100)(Candidates(row), ()).spread(row.shape[1])
        held = parts(cut)
        inclusive = cut_margin(-cut[0], held, stage.h * float(held.sum()))
        order = cut[0].sort(descending=True, stable=True).indices
        sums = torch.empty_like(held).index_copy_(0, order, held[order].cumsum(0))
        border = row[0].sort(descending=True).values[min(99, row.shape[1] - 1)]
        return torch.minimum(torch.minimum(inclusive, (sums - stage.h * held.sum()).abs()), apart(row[0], border))

    agrees([Both(h) for h in (0.1, 0.3, 0.4, 0.6, 0.9)], lambda stage, row, _: TopHLogitsWarper(stage.h)(None, row), margin)


def test_looks_at_all_tokens_and_not_at_a_hundred() -> None:
    """A plain loop over the whole distribution is the definition."""
    for row in [row for row in rows() if row.shape[1] > 100][::9]:
        held = parts(row)
        likeliest = row[0].sort(descending=True, stable=True).indices
        limit, sum_, count = 0.7 * math.fsum(held.tolist()) * (1 + 1e-12), 0.0, 0
        for token in likeliest.tolist():
            sum_ += float(held[token])
            if sum_ > limit:
                break
            count += 1
        after = TopH(0.7)(Candidates(row), ())
        assert after.token_ids()[0].tolist() == sorted(likeliest[: max(1, count)].tolist())


def test_because() -> None:
    before = Candidates(log(0.5, 0.25, 0.125, 0.125))
    assert TopH(0.5).because(before, 0, 1) == "with it 1 bits > 0.5 x 1.75 bits"
    assert TopH(0.6).because(before, 0, 3) == "with it 1.75 bits > 0.6 x 1.75 bits"
