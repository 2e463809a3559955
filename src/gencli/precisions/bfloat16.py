"""Weights and activations of a product in bfloat16, sums in float32: float32's range in half the bytes. Knows no model."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor


class Bfloat16:
    """Two bytes a weight; the weights of checkpoints stored in bfloat16 are not rounded, activations are."""

    bytes_per_weight: ClassVar[float] = 2
    loss: ClassVar[float] = 0.02

    def __init__(self, device: str = "cpu") -> None:
        pass  # every device computes with it

    def hold(self, table: Tensor) -> Tensor:
        return table.bfloat16()

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        weight = weight.to(torch.bfloat16).contiguous()
        if bias is None:
            return lambda x: F.linear(x.bfloat16(), weight).float()
        added = bias.float()
        # a bias within the product takes a slower way than the product alone
        return lambda x: F.linear(x.bfloat16(), weight).float().add_(added)
