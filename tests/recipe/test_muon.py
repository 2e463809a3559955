"""Muon's step has the gradient's singular vectors and singular values near one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recipe.muon import Optimiser, orthogonal


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 40, 16), (2, 16, 40)])
def test_singular_values_come_near_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = values.clamp(min=0.1 * float(values.max()))
    result = orthogonal(left @ torch.diag_embed(values) @ right)
    inner = left.mT @ result @ right.mT  # diagonal: the same vectors
    size = torch.diagonal(inner, dim1=-2, dim2=-1)
    assert torch.allclose(inner, torch.diag_embed(size), atol=1e-4)
    assert size.min() > 0.6
    assert size.max() < 1.3


def test_a_step_goes_down() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 8)
    optimiser = Optimiser(layer.named_parameters(), decay=0.0)
    x, aim = torch.randn(64, 8), torch.randn(64, 8)

    def loss() -> torch.Tensor:
        return ((layer(x) - aim) ** 2).mean()

    first = loss()
    for _ in range(50):
        loss().backward()
        optimiser.step(1.0)
    assert loss() < first


def test_a_step_without_gradients_is_refused() -> None:
    optimiser = Optimiser(nn.Linear(4, 4).named_parameters())
    with pytest.raises(AssertionError, match="gradients"):
        optimiser.step(1.0)
