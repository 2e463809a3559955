"""Weights in bfloat16, sums in float32: float32's range in half the bytes. Knows no model.

Activations are rounded to bfloat16 too, but for the one row that goes through the extra `fast`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.precisions._fast import FewRows, compile_meanwhile


class Bfloat16:
    """Two bytes a weight; the weights of checkpoints stored in bfloat16 are not rounded."""

    bytes_per_weight: ClassVar[float] = 2
    loss: ClassVar[float] = 0.02

    def __init__(self, device: str = "cpu") -> None:
        self._fast = device == "cpu"
        if self._fast:
            compile_meanwhile("bfloat16")

    def hold(self, table: Tensor) -> Tensor:
        return table.bfloat16()

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        weight = weight.to(torch.bfloat16).contiguous()
        bias = bias.float().contiguous() if bias is not None else None

        def product(x: Tensor) -> Tensor:
            result = F.linear(x.bfloat16(), weight).float()
            # a bias within the product takes a slower way than the product alone
            return result if bias is None else result.add_(bias)

        return FewRows("bfloat16", weight, None, bias, product) if self._fast else product
