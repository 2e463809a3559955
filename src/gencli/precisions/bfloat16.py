"""Weights in bfloat16, sums in float32: float32's range in half the bytes. Knows no model.

Activations are rounded to bfloat16 too, but where the extra `fast` computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli import compiled


class Bfloat16:
    """Two bytes a weight; the weights of checkpoints stored in bfloat16 are not rounded."""

    bytes_per_weight: ClassVar[float] = 2
    loss: ClassVar[float] = 0.02

    def __init__(self, device: str = "cpu", fast: bool = True) -> None:
        self._fast = fast and device == "cpu" and compiled.available()
        if self._fast:
            compiled.compile_meanwhile("bfloat16")

    def hold(self, table: Tensor) -> Tensor:
        return table.bfloat16()

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        weight = weight.to(torch.bfloat16).contiguous()
        bias = bias.float().contiguous() if bias is not None else None
        if self._fast:
            return compiled.product("bfloat16", weight, None, bias)

        def product(x: Tensor) -> Tensor:
            result = F.linear(x.bfloat16(), weight).float()
            # a bias within the product takes a slower way than the product alone
            return result if bias is None else result.add_(bias)

        return product
