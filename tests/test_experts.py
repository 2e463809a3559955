"""Mixtures of experts against their plain definition, and only the chosen ones computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gencli.experts import Experts

WIDTH, COUNT = 6, 5


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Counted:
    """An expert that notes how many tokens it was given, call by call."""

    def __init__(self, seed: int) -> None:
        self.weight, self.calls = random(WIDTH, WIDTH, seed=seed), list[int]()

    def __call__(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        return (x @ self.weight).tanh()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("chosen", [1, 2, COUNT])
@pytest.mark.parametrize("tokens", [1, 2, 40])
def test_experts_are_their_definition(tokens: int, chosen: int, normalised: bool, shared: bool) -> None:
    router, gate, x = random(COUNT, WIDTH, seed=7), random(1, WIDTH, seed=8), random(tokens, WIDTH, seed=9)
    experts, common = [Counted(seed) for seed in range(COUNT)], Counted(11)
    before = x.clone()
    got = Experts(router, experts, chosen, normalised, (common, gate) if shared else None)(x)
    assert torch.equal(x, before)
    assert sum(sum(expert.calls) for expert in experts) == tokens * chosen
    assert all(len(expert.calls) <= 1 for expert in experts)
    for row in range(tokens):
        probs = (router @ x[row]).softmax(0)
        best = probs.argsort(descending=True)[:chosen].tolist()
        total = probs[best].sum() if normalised else 1.0
        wanted = torch.stack([experts[each](x[row : row + 1])[0] * probs[each] / total for each in best]).sum(0)
        if shared:
            wanted += common(x[row : row + 1])[0] * torch.sigmoid(gate @ x[row])
        torch.testing.assert_close(got[row], wanted)


def test_the_router_decides_in_float32() -> None:
    experts = Experts(random(COUNT, WIDTH).half(), [Counted(seed) for seed in range(COUNT)], 2, True)
    assert experts(random(3, WIDTH)).dtype == torch.float32
